"""Boxes around defects, from YOLO `.txt` files beside a `classes.txt`, or Pascal VOC `.xml` files."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import AnnotationError

_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"com{digit}" for digit in "123456789"), *(f"lpt{digit}" for digit in "123456789")}
)
_ILLEGAL = frozenset('<>:"/\\|?*')


@dataclass(frozen=True)
class Box:
    """A defect's place in the upright image, in pixels; right and bottom are exclusive edges."""

    class_name: str
    left: float
    top: float
    right: float
    bottom: float


def is_class_name(name: str) -> bool:
    """Whether a class can have this name: class names become folder names, on Windows too."""
    reserved = name.split(".")[0].casefold() in _RESERVED
    return not (
        not name or name[0] == "." or name[-1] in ". " or reserved or any(c in _ILLEGAL or c < " " for c in name)
    )


def _check_class_name(name: str, path: Path, line: int) -> None:
    if not is_class_name(name):
        raise AnnotationError(
            f"{path}: line {line}: class name {name!r} cannot be the name of a folder; "
            'expected one without < > : " / \\ | ? * and no dot at either end'
        )
