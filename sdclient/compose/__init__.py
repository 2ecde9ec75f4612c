"""Transplants: a defect cut out by its mask and put on a good picture, or elsewhere on its own; no WebUI is needed."""

from __future__ import annotations

from .plan import ComposeSettings, share_evenly
from .run import ComposeOptions, Composer, ComposeStart

__all__ = ["ComposeOptions", "ComposeSettings", "ComposeStart", "Composer", "share_evenly"]
