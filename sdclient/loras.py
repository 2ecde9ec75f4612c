"""LoRAs in prompts (`<lora:name:weight>`): looked up before the request, and checked in the reply.

A WebUI silently leaves out a LoRA that it does not have. It lists those it has. "Lora hashes" in the infotext names
those an image was made with, unless the option `lora_add_hashes_to_infotext` is off, or the server was started with
`--no-hashing` (AUTOMATIC1111/stable-diffusion-webui, extensions-builtin/Lora/extra_networks_lora.py, networks.py).
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .errors import NotFound, SettingSubstituted, UnknownSetting
from .infotext import parse_infotext

if TYPE_CHECKING:
    from .models.generation import GenerationInfo
    from .models.server import Lora

HASH_OPTION = "lora_add_hashes_to_infotext"
HASH_LABEL = "Lora hashes"

_TAG = re.compile(r"<(?:lora|lyco):([^:>]+)(?::[^>]*)?>")
_NAME = re.compile(r"[^:<>,]+")
_SHOWN = 8


def lora_tag(text: str) -> str:
    """The tag for a prompt, from "name" or "name:weight"; the default weight is 1.

    Raises:
        ValueError: the text has another form.
    """
    name, colon, weight = text.strip().partition(":")
    try:
        value = float(weight) if colon else 1.0
    except ValueError:
        value = math.nan
    if not _NAME.fullmatch(name) or not math.isfinite(value):
        raise ValueError("expected NAME or NAME:WEIGHT, as defects:0.8")
    return f"<lora:{name}:{value:g}>"


def with_loras(prompt: str, loras: Iterable[str]) -> str:
    """The prompt followed by the tags that it does not hold yet."""
    missing = [tag for tag in map(lora_tag, loras) if tag not in prompt]
    return " ".join(part for part in (prompt, *missing) if part)


def loras_in(prompt: str) -> list[str]:
    """Names of the LoRAs in a prompt, each once."""
    return list(dict.fromkeys(name.strip() for name in _TAG.findall(prompt)))


def find_loras(
    names: Sequence[str], listed: Callable[[], Iterable[Lora]], refresh: Callable[[], object], *, server: str
) -> dict[str, str]:
    """Find LoRAs in a server's list; if one is missing, the server searches its folders once more.

    Args:
        names: as in prompts; without any, the server is not asked.
        listed: asks the server for its list.
        refresh: makes the server search its folders again.

    Returns:
        Name -> hash of the weights, for files that hold it.

    Raises:
        UnknownSetting: the server does not list one; the message gives similar names.
    """
    if not names:
        return {}
    try:
        found = _by_name(listed())
        if any(name not in found for name in names):
            refresh()
            found = _by_name(listed())
    except NotFound as error:
        raise UnknownSetting(
            f"{server}: lists no LoRAs, so it is not known whether it has {', '.join(map(repr, names))}; update it",
            field="prompt",
        ) from error
    for name in names:
        if name not in found:
            raise UnknownSetting(f"{server}: no LoRA {name!r}; {_near(name, found)}", field="prompt")
    hashes = {name: str(found[name].metadata.get("sshs_model_hash") or "") for name in names}
    return {name: value for name, value in hashes.items() if value}


def verify_loras(prompt: str, info: GenerationInfo) -> None:
    """Compare the LoRAs that the server reports as used with those in the prompt.

    Raises:
        SettingSubstituted: the image was made without one of them.
    """
    hashes = info.extra_generation_params.get(HASH_LABEL)
    if hashes is None and info.infotexts:
        hashes = parse_infotext(info.infotexts[-1]).settings.get(HASH_LABEL)
    used = {entry.partition(":")[0].strip() for entry in str(hashes or "").split(",")}
    for name in loras_in(prompt):
        if name.replace(",", "").strip() not in used:
            raise SettingSubstituted(
                f"LoRA {name!r}", "on", None, "see whether the server lists it and its log says why it was left out"
            )


def _by_name(loras: Iterable[Lora]) -> Mapping[str, Lora]:
    """LoRAs by each name that prompts may use: the file's name, or an alias that only one file has."""
    listed = list(loras)
    aliases = Counter(lora.alias.casefold() for lora in listed if lora.alias)
    found = {lora.alias: lora for lora in listed if lora.alias and aliases[lora.alias.casefold()] == 1}
    return {**found, **{lora.name: lora for lora in listed}}


def _near(name: str, known: Mapping[str, Lora]) -> str:
    if not known:
        return "it has none; copy the file into its folder models/Lora"
    near = difflib.get_close_matches(name.casefold(), [one.casefold() for one in known], n=3, cutoff=0.6)
    spelled = [one for one in known if one.casefold() in near]
    if spelled:
        return f"did you mean {' or '.join(map(repr, spelled))}? Otherwise copy the file into its folder models/Lora"
    shown = sorted(known)[:_SHOWN]
    return (
        f"it has {', '.join(shown)}{', ...' if len(known) > len(shown) else ''}; "
        "copy the file into its folder models/Lora, or give one of these"
    )
