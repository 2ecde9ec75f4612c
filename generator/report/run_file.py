"""The recommended strengths as a run file that `sdclient generate --config` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .strengths import LEAST_IMAGES, StrengthLimits

RUN_FILE_NAME = "recommended.toml"


@dataclass(frozen=True)
class SamplingWords:
    """How the pictures were made that the recommendation rests on, as a WebUI calls it."""

    sampler: str
    steps: int
    cfg_scale: float
    native_px: int


def recommended_run_file(
    limits: Mapping[str, StrengthLimits], together: StrengthLimits, words: SamplingWords, *, model: str
) -> str:
    """The text of the run file.

    Args:
        limits: of each class.
        together: of all classes together, for classes that have no range of their own.
        words: fixed in the file, for strengths mean little under other settings.
        model: name of the model, for the comment.
    """
    lines = [
        f"# Denoising strengths for the model {model!r}, as 'generator report' found them.",
        "#   sdclient serve --engine diffusion --model MODEL",
        f"#   sdclient generate SOURCES OUTPUT --plan plan.csv --config {RUN_FILE_NAME}",
        "# With --until-accepted each source's own strength is searched within its class's range.",
        "# Remove the sections of classes that you have no sources of.",
        f"sampler = {_quoted(words.sampler)}",
        f"steps = {words.steps}",
        f"cfg_scale = {words.cfg_scale:g}",
        'prompt = "{class}"',
    ]
    # 'sdclient' takes native sides of multiples of 8 from 64 on; smaller models it asks at the sources' own size.
    if words.native_px >= 64 and words.native_px % 8 == 0:
        lines.append(f"native_px = {words.native_px}")
    if together.is_range:
        lines.append(f"{_range(together)}  # all classes together")
    else:
        lines.append("# No range for all classes together: see the report.")
    for name, found in limits.items():
        lines.append("")
        if found.is_range:
            lines += [f"[class.{_quoted(name)}]", f"{_range(found)}  # from {found.images} images at each strength"]
        else:
            lines.append(f"# {_quoted(name)}: {describe_no_range(found)}")
    return "\n".join(lines) + "\n"


def describe_no_range(limits: StrengthLimits) -> str:
    """Why a class has no range, in words."""
    if limits.images < LEAST_IMAGES:
        return (
            f"undefined, {limits.images} images whose source the classifier calls by its class; {LEAST_IMAGES} needed"
        )
    if limits.high is None:
        return "no range: its class is lost at the least tested strength already"
    if limits.low is None:
        return "no range: too few of its images changed at any tested strength"
    return (
        f"no range: enough images change only from {limits.low:g} on, and enough keep their class only to "
        f"{limits.high:g}"
    )


def _range(limits: StrengthLimits) -> str:
    return f"denoising_strength = {{min = {limits.low:g}, max = {limits.high:g}}}"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
