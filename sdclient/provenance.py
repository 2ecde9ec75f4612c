"""Which settings made an image: its infotext, read from an image file and written back into one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from PIL import Image

from sdcore.files import write_bytes_atomically

from ._images import ImageInput, decode, image_format, to_bytes
from ._metadata import embed_text
from .errors import OutputError, SettingsError
from .infotext import Infotext, parse_infotext, read_infotext

InfotextSource: TypeAlias = Infotext | str | Path | bytes | Image.Image
"""Infotext (a str is the text itself), or an image that carries it: a path, a file's bytes or a PIL image."""

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def load_infotext(source: InfotextSource) -> Infotext:
    """The infotext of an image, or of the text itself, parsed.

    Raises:
        SettingsError: the image carries none, or the text holds no settings ("Steps: 20, Sampler: ...").
        BadImage: the image cannot be read.
    """
    if isinstance(source, Infotext):
        infotext, name = source, "the infotext"
    elif isinstance(source, str):
        infotext, name = parse_infotext(source), "the infotext"
    else:
        name = str(source) if isinstance(source, Path) else "the image"
        image = source if isinstance(source, Image.Image) else decode(to_bytes(source), name)
        text = read_infotext(image)
        if not text:
            raise SettingsError(
                f"{name}: carries no infotext; expected an image as a WebUI saved it, not one that was edited since"
            )
        infotext = parse_infotext(text)
    if not infotext.settings:
        hint = "; give a file as pathlib.Path" if isinstance(source, str) else ""
        raise SettingsError(f'{name}: holds no settings, only words; expected a line "Steps: 20, Sampler: ..."{hint}')
    return infotext


def embed_infotext(image: ImageInput, text: str | Infotext) -> bytes:
    """The image as a file's bytes that carry the infotext as a WebUI writes it.

    A PNG, JPEG or WebP file keeps its format and its very pixels, and loses only an infotext it had; a PIL image
    becomes PNG.

    Raises:
        SettingsError: the text holds a NUL or a lone surrogate, which no such file can.
        BadImage: the image cannot be read, is of another format, or a JPEG and the text too long for one.
    """
    text = str(text)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise SettingsError("the infotext holds a NUL character or a lone surrogate; take it out")
    return embed_text(to_bytes(image), text)


def write_infotext(image: ImageInput, text: str | Infotext, path: Path | str | None = None) -> Path:
    """Write the image with the infotext in it, in one step; the format stays (a PIL image becomes PNG).

    Args:
        image: a PIL image, a path, or an image file's bytes.
        text: the infotext.
        path: where to; None changes the image's own file, for which `image` must be a path.

    Returns:
        Where the file is.

    Raises:
        SettingsError: no path to write to, one named for another format, or a text that no image file can hold.
        BadImage: as `embed_infotext`.
        OutputError: the file cannot be written.
    """
    if path is None:
        if not isinstance(image, Path | str):
            raise SettingsError("write_infotext: path is missing; only an image given as a path has a file of its own")
        path = image
    path = Path(path)
    content = embed_infotext(image, text)
    kind = image_format(content)
    if path != image and _FORMATS.get(path.suffix.lower(), kind) != kind:
        raise SettingsError(f"{path}: its name says another format than the image's own, {kind}; name it accordingly")
    try:
        write_bytes_atomically(path, content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path
