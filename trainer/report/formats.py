"""Which kind of file a report is, by its name or by what was asked for; pure."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from ..errors import SettingsError

Format = Literal["html", "md", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ENDINGS: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json"}


def choose_format(path: Path, asked: Format | None = None) -> Format:
    """The kind that was asked for, or the one that the file's ending says.

    Raises:
        SettingsError: the two contradict each other, or neither says anything.
    """
    found = _ENDINGS.get(path.suffix.lower())
    if asked is None:
        if found is None:
            raise SettingsError(
                f"{path}: found the ending {path.suffix or 'none'}; expected {', '.join(_ENDINGS)}, or --format with "
                f"one of {', '.join(FORMATS)}"
            )
        return found
    if found is not None and found != asked:
        raise SettingsError(
            f"{path}: its ending says {found}, but --format says {asked}; name the file .{asked}, or leave out --format"
        )
    return asked
