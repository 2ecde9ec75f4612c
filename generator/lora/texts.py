"""Captions as the UNet is told them: what the text encoders make of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from ..errors import SettingsError
from .base import Base

_TOKENS = 75
"""Of a caption; with the marks of its ends 77."""


@dataclass(frozen=True)
class Encoded:
    """Captions, encoded."""

    context: torch.Tensor
    """(N, 77, D): what the UNet attends to."""
    pooled: torch.Tensor | None
    """(N, P): a caption in one vector; SDXL alone."""

    def pick(self, rows: Sequence[int]) -> Encoded:
        """Some of the captions, in the order given; one may come more than once."""
        index = torch.tensor(list(rows), device=self.context.device)
        return Encoded(self.context[index], None if self.pooled is None else self.pooled[index])


def check_lengths(base: Base, captions: Iterable[str]) -> None:
    """Refuse captions whose end the text encoder would not see.

    Raises:
        SettingsError: names the first.
    """
    for caption in captions:
        tokens = max(len(tokenizer(caption).input_ids) - 2 for tokenizer in base.tokenizers)
        if tokens > _TOKENS:
            raise SettingsError(f"caption {caption!r}: {tokens} tokens; at most {_TOKENS} are read, make it shorter")


def encode_texts(base: Base, captions: Sequence[str], *, clip_skip: int) -> Encoded:
    """Run the text encoders, on the device they are on; with gradients where those are on.

    SD 1.x and 2.x take the last layer, or an earlier one by `clip_skip`, through the last normalisation; SDXL takes
    both encoders' layer before the last, side by side, and the second one's pooled vector.
    """
    states: list[torch.Tensor] = []
    pooled: torch.Tensor | None = None
    for tokenizer, encoder in zip(base.tokenizers, base.text_encoders, strict=True):
        tokens = tokenizer(list(captions), padding="max_length", max_length=_TOKENS + 2, truncation=True)
        ids = torch.tensor(tokens.input_ids, device=next(encoder.parameters()).device)
        answer = encoder(ids, output_hidden_states=True)
        if base.family.is_sdxl:
            states.append(answer.hidden_states[-2])
            pooled = answer[0]
        elif clip_skip == 1:
            states.append(answer.last_hidden_state)
        else:
            states.append(encoder.text_model.final_layer_norm(answer.hidden_states[-clip_skip]))
    return Encoded(torch.cat(states, dim=-1), pooled)
