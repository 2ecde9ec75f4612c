"""The command `split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import PATH, Output

if TYPE_CHECKING:
    from ..data.split import CopyMode, FoldsResult, SplitResult


def amount(text: str) -> float:
    """A share such as 0.15 as `float`, a whole number of images without a point as `int`."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise click.BadParameter(
            f"found {text!r}; expected a share such as 0.15, or a whole number of images of each class such as 20"
        ) from None


@click.command()
@click.argument("source", metavar="SRC", type=PATH)
@click.argument("dest", metavar="DEST", type=PATH)
@click.option(
    "--val",
    type=amount,
    default="0.15",
    help="For validation: a share of each class (0.15), or images of each class (20; 1 is one image). 0: no val.",
)
@click.option(
    "--test", type=amount, help="The same for testing; with --folds each image is tested once instead.  [default: 0.25]"
)
@click.option(
    "--folds",
    metavar="K",
    type=int,
    help="Make DEST/fold-0 to DEST/fold-(K-1), each with train, val and test, every image in the test of one of them.",
)
@click.option("--seed", default=0, help="Seed of the split.")
@click.option(
    "--group-by",
    metavar="PATTERN",
    help="Regular expression searched in file names (of numbered sources: in the original names); its first "
    "parentheses match the name of the group.",
)
@click.option("--groups", metavar="CSV", type=PATH, help="Table with the columns file (relative to SRC) and group.")
@click.option("--group-column", metavar="NAME", help="Column of --groups that names the group.  [default: group]")
@click.option(
    "--crops",
    metavar="CSV",
    type=PATH,
    help="The crops.csv of 'sdclient crop' if it is not in SRC: crops of one photograph are one group.",
)
@click.option(
    "--link/--copy",
    "link",
    default=None,
    help="--link: hard links, which need no space; SRC and DEST then share each file's content: editing one edits "
    "both. --copy: copy every file.  [default: copies; with --folds one copy of each image in DEST, hard-linked into "
    "all folds]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def split(
    source: Path,
    dest: Path,
    val: float,
    test: float | None,
    folds: int | None,
    seed: int,
    group_by: str | None,
    groups: Path | None,
    group_column: str | None,
    crops: Path | None,
    link: bool | None,
    as_json: bool,
) -> None:
    """Copy SRC/<class>/* into DEST/train, DEST/val and DEST/test, by class and by group.

    Images of one board or one photograph belong together: name their group with --group-by or --groups, and no group
    is split. Without them, a crops.csv ('sdclient crop') and a mapping.csv ('sdclient number') in SRC make all crops
    of one photograph one group; otherwise each image is its own group. Files with identical pixels are always
    one group, except images of a single colour. Because groups stay whole, shares and counts may be met only nearly;
    the table shows what was requested.

    Generated images are refused: val and test must be real. Split the real ones, then 'trainer train DATA
    --generated OUTPUT'.

    The same names, bytes, amounts, groups and seed give the same split on every machine; DEST/split.csv (with
    --folds DEST/folds.csv too) records it. DEST appears when it is complete, or not at all.

    \b
    Examples:
      trainer split photos data --val 0.15 --test 0.25 --seed 0
      trainer split photos data --val 20 --test 30
      trainer split photos data --group-by "^(board[0-9]+)_"
      trainer split photos folds --folds 5
    """
    from ..data.source_images import GroupBy

    if group_by is not None and groups is not None:
        raise click.UsageError("--group-by and --groups are both given; use one of them")
    if group_column is not None and groups is None:
        raise click.UsageError("--group-column names a column of --groups; give --groups too")
    if crops is not None and (group_by is not None or groups is not None):
        raise click.UsageError("--crops groups by photograph; leave out --group-by and --groups")
    if folds is not None and test is not None:
        raise click.UsageError("--test has no meaning with --folds: each image is tested once; leave it out")
    by = GroupBy(group_by, groups, group_column or "group", crops)
    result: SplitResult | FoldsResult
    mode: CopyMode
    if folds is None:
        from ..data.split import split as divide

        test, mode = 0.25 if test is None else test, "link" if link else "copy"
        result = divide(source, dest, val_share=val, test_share=test, seed=seed, group_by=by, mode=mode, progress=True)
        document: dict[str, Any] = {"classes": result.counts(), "asked": result.wanted}
    else:
        from ..data.split import split_folds

        mode = "share" if link is None else "link" if link else "copy"
        result = split_folds(source, dest, folds=folds, val_share=val, seed=seed, group_by=by, mode=mode, progress=True)
        document = {
            "folds": [{"path": fold.path.as_posix(), "classes": fold.counts()} for fold in result.folds],
            "asked_val": result.wanted_val,
        }
    placed = result.placed
    document |= {"groups": result.grouping, "notes": list(result.notes)}
    document |= {"copied": placed.copied, "linked": placed.linked}
    out = Output(json=as_json)
    out.document(document)
    _show(out, result)
    for one, other in result.contradictions:
        out.note(f"Warning: {one} and {other} are the same image in two classes; one label is wrong")


def _show(out: Output, result: SplitResult | FoldsResult) -> None:
    from ..data.split import SplitResult

    if isinstance(result, SplitResult):
        _show_parts(out, result)
    else:
        _show_folds(out, result)
    out.line(f"groups: {result.grouping}")
    for note in result.notes:
        out.line(f"note: {note}")
    placed = result.placed
    made = [f"{placed.copied} images copied"] if placed.copied else []
    made += [f"{placed.linked} {'files' if made else 'images'} linked"] if placed.linked else []
    done = f"{', '.join(made)} to {result.dest}" if made else f"{result.dest} holds this split already; nothing changed"
    out.line(done)


def _show_parts(out: Output, result: SplitResult) -> None:
    from ..data.dataset import PARTS

    counts = result.counts()
    rows = []
    for label, row in counts.items():
        asked = result.wanted[label]
        cells = [str(row[part]) if row[part] == asked[part] else f"{row[part]} (of {asked[part]})" for part in PARTS]
        rows.append([label, *cells, str(sum(row.values()))])
    totals = [sum(row[part] for row in counts.values()) for part in PARTS]
    out.table(["class", *PARTS, "all"], rows, totals=[["all classes", *map(str, totals), str(sum(totals))]])
    if counts != result.wanted:
        out.line("(of n): n images were asked for; groups stay whole, so this is as near as they allow")


def _show_folds(out: Output, result: FoldsResult) -> None:
    from ..data.dataset import PARTS

    counts = [fold.counts() for fold in result.folds]
    rows = []
    for label, asked in result.wanted_val.items():
        spans = {part: _span([one[label][part] for one in counts]) for part in PARTS}
        if spans["val"] != str(asked):
            spans["val"] += f" (of {asked})"
        rows.append([label, *spans.values(), str(sum(counts[0][label].values()))])
    totals = [_span([sum(row[part] for row in one.values()) for one in counts]) for part in PARTS]
    images = sum(sum(row.values()) for row in counts[0].values())
    out.table(["class", *PARTS, "all"], rows, totals=[["all classes", *totals, str(images)]])
    out.line(
        f"images in each of the {len(counts)} folds, fewest-most; every image is a test image of one fold; "
        "groups stay whole, so val may miss the n images asked for: (of n)"
    )


def _span(numbers: list[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)}-{max(numbers)}"
