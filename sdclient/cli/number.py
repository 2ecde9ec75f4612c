"""`sdclient number`."""

from __future__ import annotations

from pathlib import Path

import click

from sdcore.cli import Output

EPILOG = """\b
Example:
  sdclient number photos sources
copies photos/dirt/IMG_0007.JPG to sources/dirt/1.JPG, and so on. Run it again when photos were added."""


@click.command(epilog=EPILOG)
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
def number(src: Path, dest: Path) -> None:
    """Copy SRC/<class>/* to DEST/<class>/1.png, 2.jpg, ... in natural order.

    SRC is only read. DEST/mapping.csv tells the old names. Unreadable files are listed and left out.
    """
    from sdcore.progress import progress_bar

    from ..numbering import MAPPING_NAME
    from ..numbering import number as number_photos

    result = number_photos(src, dest, track=progress_bar)
    output = Output()
    for item in result.left_out:
        output.note(f"left out: {item.file}: {item.reason}")
    if not result.usable:
        raise click.ClickException(f"{src}: no usable photograph; the list above says why")
    output.line(
        f"{len(result.copied)} copied, {len(result.unchanged)} unchanged, {len(result.left_out)} left out; "
        f"old names are in {dest / MAPPING_NAME}"
    )
