"""The server's scripts: which there are, and the arguments of the two always-on ones most asked for."""

from __future__ import annotations

from typing import Any

from ._base import Reply
from .adetailer import ADetailerUnit
from .controlnet import ControlNetUnit


class ScriptsList(Reply):
    """Reply of `/sdapi/v1/scripts`: titles, in lower case, as `script_name` and `alwayson_scripts` may use them."""

    txt2img: tuple[str, ...] | None = None
    img2img: tuple[str, ...] | None = None


class ScriptArg(Reply):
    """One argument of a script."""

    label: str | None = None
    """What its page calls it; not unique."""
    value: Any = None
    """Its default."""
    minimum: Any = None
    maximum: Any = None
    step: Any = None
    choices: tuple[Any, ...] | None = None
    """The values it may have; the server does not check."""


class ScriptInfo(Reply):
    """One script of `/sdapi/v1/script-info`; the same name may come twice, for txt2img and for img2img."""

    name: str | None = None
    is_alwayson: bool | None = None
    """Whether it goes into `alwayson_scripts`; otherwise it is a `script_name`."""
    is_img2img: bool | None = None
    args: tuple[ScriptArg, ...]
    """In the order that `script_args` or `args` wants them; all of a `script_name`'s are needed."""


def alwayson(*units: ControlNetUnit | ADetailerUnit, skip_img2img: bool = False) -> dict[str, Any]:
    """The `alwayson_scripts` of a request out of typed units.

    The server takes as many units of an extension as its settings allow (3 of ControlNet unless changed) and
    drops the others without a word. It refuses a script it does not have with 422.

    Args:
        units: in the order in which they are to work.
        skip_img2img: let ADetailer work on the source image of img2img itself, without generating first.

    Returns:
        JSON to pass as `alwayson_scripts`; add other scripts' entries as `alwayson(...) | {"name": {"args": [...]}}`.

    Example:
        >>> alwayson(ADetailerUnit(ad_model="face_yolov8n.pt"))
        {'ADetailer': {'args': [True, False, {'ad_model': 'face_yolov8n.pt'}]}}
    """
    entries: dict[str, Any] = {}
    if guides := [unit.payload() for unit in units if isinstance(unit, ControlNetUnit)]:
        entries["ControlNet"] = {"args": guides}
    if passes := [unit.payload() for unit in units if isinstance(unit, ADetailerUnit)]:
        entries["ADetailer"] = {"args": [True, skip_img2img, *passes]}
    return entries
