"""`trainer split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..split import SplitResult


@click.command()
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("dest", metavar="DEST", type=click.Path(path_type=Path))
@click.option("--val", default=0.15, show_default=True, help="Share of each class for validation.")
@click.option("--test", default=0.25, show_default=True, help="Share of each class for testing.")
@click.option("--seed", default=0, show_default=True, help="Which split of the many possible.")
@click.option(
    "--group-by",
    metavar="PATTERN",
    help="Regular expression searched in each file name; what its first parentheses match names the image's group.",
)
@click.option(
    "--groups",
    metavar="CSV",
    type=click.Path(path_type=Path),
    help="Table with the columns file (relative to SRC) and group.",
)
@click.option("--group-column", metavar="NAME", help="Column of --groups that names the group.  [default: group]")
@click.option(
    "--link", is_flag=True, help="Hard links instead of copies: no space, but SRC and DEST share each file's content."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def split(
    source: Path,
    dest: Path,
    val: float,
    test: float,
    seed: int,
    group_by: str | None,
    groups: Path | None,
    group_column: str | None,
    link: bool,
    as_json: bool,
) -> None:
    """Copy SRC/<class>/* into DEST/train, DEST/val and DEST/test, by class and by group.

    Images of one board or one photograph belong together: name their group, and no group is torn apart. Files
    with identical pixels are one group always. The same names, bytes, shares and seed give the same split, which
    DEST/split.csv records.

    \b
    Examples:
      trainer split photos data --val 0.15 --test 0.25 --seed 0
      trainer split photos data --group-by "^(board[0-9]+)_"
    """
    import json

    from ..split import split as divide

    if group_by is not None and groups is not None:
        raise click.UsageError("--group-by and --groups are both given; use one of them")
    if group_column is not None and groups is None:
        raise click.UsageError("--group-column names a column of --groups; give --groups too")
    result = divide(
        source,
        dest,
        val_share=val,
        test_share=test,
        seed=seed,
        group_pattern=group_by,
        groups_csv=groups,
        group_column=group_column or "group",
        link=link,
        progress=True,
    )
    if as_json:
        click.echo(json.dumps({"classes": result.counts(), "copied": result.copied}, ensure_ascii=False, indent=2))
    else:
        _show(result, "linked" if link else "copied")
    for one, other in result.contradictions:
        click.echo(f"Warning: {one} and {other} are the same picture in two classes; one label is wrong", err=True)


def _show(result: SplitResult, done: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..dataset import PARTS

    counts = result.counts()
    table = Table("class")
    for part in (*PARTS, "all"):
        table.add_column(part, justify="right")
    for label, row in counts.items():
        table.add_row(escape(label), *(str(row[part]) for part in PARTS), str(sum(row.values())))
    totals = [sum(row[part] for row in counts.values()) for part in PARTS]
    table.add_section()
    table.add_row("all classes", *map(str, totals), str(sum(totals)))
    Console(highlight=False).print(table)
    if result.copied:
        click.echo(f"{result.copied} images {done} to {result.dest}")
    else:
        click.echo(f"{result.dest} holds this split already; nothing changed")
