"""Transplants: cuts a defect out by its mask and puts it on a good image, or elsewhere on its own; needs no WebUI."""

from .plan import ComposeSettings, share_evenly
from .run import ComposeOptions, Composer, ComposeStart

__all__ = ["ComposeOptions", "ComposeSettings", "ComposeStart", "Composer", "share_evenly"]
