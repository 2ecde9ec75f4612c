"""Self-contained HTML pages: the template environment, thumbnails as data URIs, and the page of image tiles."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from .errors import UnreadableImage
from .files import write_bytes_atomically
from .images.decode import opened_image, to_rgb

THUMBNAIL_SIDE_PX = 160
"""Longest side of a thumbnail; smaller images keep their size."""
_LOSSLESS_UP_TO_PX = 112


@dataclass(frozen=True)
class ImageTile:
    """One file on the page."""

    caption: str
    """The file's name; a long one is wrapped."""
    path: Path | None = None
    """The image file; None when there is no image to show."""
    words: str = ""
    """A short note below the caption."""


@dataclass(frozen=True)
class TileGroup:
    """Tiles that belong together, such as copies of one image."""

    tiles: tuple[ImageTile, ...]
    title: str = ""
    more: int = 0
    """Number of files of the group that are not shown."""


@dataclass(frozen=True)
class PageSection:
    """Groups under one heading."""

    title: str
    chinese: str
    """The Chinese title."""
    words: str
    """What the files are and what to do about them, in a sentence or two."""
    total: int
    """Number of files found, shown or not."""
    groups: tuple[TileGroup, ...]
    more: int = 0
    """Number of groups that are not shown."""
    is_fault: bool = False
    """Whether this must be corrected before training."""


@dataclass(frozen=True)
class _ShownTile:
    tile: ImageTile

    @cached_property
    def uri(self) -> str | None:
        return None if self.tile.path is None else thumbnail_uri(self.tile.path)


def template_environment(*folders: Path, is_markup: bool = True) -> Environment:
    """Templates of these folders, then of sdcore; a page is escaped, plain text (`is_markup=False`) is not."""
    return Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=is_markup,  # noqa: S701 - Markdown has its own escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def thumbnail_uri(path: Path) -> str | None:
    """A thumbnail of an image file as a data URI; None when the file is missing or unreadable."""
    try:
        with opened_image(path, refuse_huge=False) as file:
            image = to_rgb(file)
    except UnreadableImage:
        return None
    image.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    # JPEG artefacts would be visible in images this small.
    kind = "PNG" if max(image.size) <= _LOSSLESS_UP_TO_PX else "JPEG"
    image.save(content, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def render_image_page(title: str, sections: Sequence[PageSection], *, words: str = "") -> str:
    """The page as HTML; sections without files are left out, and the page says so when all are empty."""
    shown = [
        (section, [(group, [_ShownTile(tile) for tile in group.tiles]) for group in section.groups])
        for section in sections
        if section.total
    ]
    template = template_environment().get_template("sheet.html.j2")
    return template.render(title=title, words=words, sections=shown)


def write_image_page(path: Path, title: str, sections: Sequence[PageSection], *, words: str = "") -> None:
    """Write the page atomically.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes_atomically(path, render_image_page(title, sections, words=words).encode("utf-8", "replace"))
