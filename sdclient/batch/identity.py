"""Which image is which: seeds and keys, the same on every server, in every order, after every restart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

MOST_IMAGES_PER_SOURCE = 10**6
_BASES = 2**32 - MOST_IMAGES_PER_SOURCE


def seed_base(run_seed: int, class_name: str, source_number: int) -> int:
    """Seed of a source's first image, in [0, 2^32 - 10^6), so that a million more fit below 2^32.

    Consecutive images of a source have consecutive seeds, as the images of one batch do.
    """
    text = json.dumps([run_seed, class_name, source_number], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % _BASES


def image_key(source_sha256: str, parameters: Mapping[str, Any], seed: int) -> str:
    """Identity of an image: sha256 over the source's bytes, all parameters that change pixels, and the seed.

    Never over the result: the same request gives bytes that differ by a level from time to time.
    """
    return image_keys(source_sha256, parameters)(seed)


def image_keys(source_sha256: str, parameters: Mapping[str, Any]) -> Callable[[int], str]:
    """`image_key` for many seeds: what comes before the seed is written out and hashed once."""
    text = json.dumps([source_sha256, dict(parameters)], ensure_ascii=False, sort_keys=True)
    before_seed = hashlib.sha256(f"{text[:-1]}, ".encode())

    def key(seed: int) -> str:
        digest = before_seed.copy()
        digest.update(b"%d]" % seed)
        return digest.hexdigest()

    return key
