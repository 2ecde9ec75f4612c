"""Pictures in groups -> one HTML page of thumbnails with nothing outside it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sdcore.files import write_bytes_atomically

from .collect import embed_image


@dataclass(frozen=True)
class Tile:
    """One file on the page."""

    caption: str
    """Its name; long ones are broken."""
    path: Path | None = None
    """Where its picture is; None where there cannot be one."""
    words: str = ""
    """What is to be said of it, in a few words."""


@dataclass(frozen=True)
class Group:
    """Tiles that belong together, such as copies of one picture."""

    tiles: tuple[Tile, ...]
    title: str = ""
    more: int = 0
    """Files of the group that are not shown."""


@dataclass(frozen=True)
class Section:
    """Groups under one heading."""

    title: str
    chinese: str
    """The title's Chinese term."""
    words: str
    """What these are and what to do, in a sentence or two."""
    total: int
    """Files found, shown or not."""
    groups: tuple[Group, ...]
    more: int = 0
    """Groups that are not shown."""
    is_fault: bool = False
    """Whether this must be put right before training."""


@dataclass(frozen=True)
class _ShownTile:
    tile: Tile
    uri: str | None


def render_sheet(title: str, sections: Sequence[Section], *, words: str = "") -> str:
    """The page as HTML text; sections without files are left out, and said to be empty when all are.

    Args:
        title: heading of the page.
        sections: in the order in which they are to be read.
        words: a sentence below the heading.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [
        (section, [(group, [_show(tile) for tile in group.tiles]) for group in section.groups])
        for section in sections
        if section.total
    ]
    return environment.get_template("sheet.html.j2").render(title=title, words=words, sections=shown)


def write_sheet(path: Path, title: str, sections: Sequence[Section], *, words: str = "") -> None:
    """Write the page atomically.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes_atomically(path, render_sheet(title, sections, words=words).encode("utf-8", "replace"))


def _show(tile: Tile) -> _ShownTile:
    if tile.path is None:
        return _ShownTile(tile, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata and mere size; the page says what is wrong
        return _ShownTile(tile, embed_image(tile.path))
