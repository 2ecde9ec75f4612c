"""How the embedded server names itself wherever a picture's origin is told; light to import."""

from __future__ import annotations

from sdcore import __version__

ENGINE = "classical, not Stable Diffusion"
"""What made the pixels; in every reply's `extra_generation_params[ENGINE_KEY]` and in every infotext."""

NOT_STABLE_DIFFUSION = "not-stable-diffusion"
"""How the names of all this server's models end; by it a client knows the server."""

MODEL_NAME = f"classical-engine-{NOT_STABLE_DIFFUSION}"
"""The one "checkpoint" the server lists with its classical engine."""

NOTICE = (
    "This is NOT Stable Diffusion: images are the source (for txt2img a texture out of the seed), varied by "
    "classical image processing; prompts, samplers and steps do not change them."
)
"""One sentence for people."""

VERSION = f"sdclient-{__version__}"
"""Stands where a WebUI gives its own version."""
