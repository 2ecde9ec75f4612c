"""`trainer counts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..counts import Counts


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the counts too: .png, .svg or .pdf, outside of DIR.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def counts(folder: Path, output: Path | None, as_json: bool) -> None:
    """Count the images of each class, in each split.

    DIR is a DATA folder (train, val, test) or a folder of class folders. Images are counted by their names; none
    is opened: `trainer check` reads them.

    \b
    Examples:
      trainer counts data
      trainer counts photos -o counts.png
    """
    import json

    from ..counts import count_images, counts_as_json
    from ..errors import SettingsError

    if output is not None and output.resolve().is_relative_to(folder.resolve()):
        raise SettingsError(f"{output}: lies in {folder}, where it would count as an image; write it elsewhere")
    found = count_images(folder)
    if as_json:
        click.echo(json.dumps(counts_as_json(found), ensure_ascii=False, indent=2))
    else:
        _show(found)
    if output is not None:
        from ..report.counts_figure import draw_counts

        drawn = draw_counts(output, found, title=folder.resolve().name)
        click.echo(f"drawn: {output}", err=as_json)
        if drawn.numbered:
            listed = ", ".join(f"{place} {label}" for place, label in enumerate(found.images, start=1))
            click.echo(
                f"No font on this machine has all letters of the class names, so they are drawn as numbers: {listed}. "
                "Install a font such as Noto Sans CJK SC, or write an .svg",
                err=True,
            )


def _show(found: Counts) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..counts import notes_on

    console = Console(highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("class 类别")
    for part in found.parts:
        table.add_column(part, justify="right", no_wrap=True)
        table.add_column("share", justify="right", no_wrap=True)
    several = len(found.parts) > 1
    if several:
        table.add_column("sum", justify="right", no_wrap=True)
    for label, row in found.images.items():
        cells = [cell for part in found.parts for cell in (str(row[part]), _percent(found.share(label, part)))]
        table.add_row(escape(label), *cells, *([str(found.of_class(label))] if several else []))
    table.add_section()
    cells = [cell for part in found.parts for cell in (str(found.of_part(part)), "")]
    table.add_row("all classes", *cells, *([str(found.total)] if several else []))
    cells = [cell for part in found.parts for cell in (_times(found.ratio(part)), "")]
    table.add_row("largest / smallest", *cells, *([""] if several else []))
    console.print(table)
    for note in notes_on(found):
        console.print(f"[bold]Note:[/bold] {escape(note)}.")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}"
