"""The commands `number`, `crop` and `plan`, which prepare sources."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import PATH, FiniteRange, Output

if TYPE_CHECKING:
    from ..plan import Plan, PlanRow

_NUMBER_EPILOG = """\b
Example:
  sdclient number photos sources
copies photos/dirt/IMG_0007.JPG to sources/dirt/1.JPG, and so on. Run it again when photos were added."""


@click.command(epilog=_NUMBER_EPILOG)
@click.argument("src", type=PATH)
@click.argument("dest", type=PATH)
def number(src: Path, dest: Path) -> None:
    """Copy SRC/<class>/* to DEST/<class>/1.png, 2.jpg, ... in natural order.

    SRC is only read. DEST/mapping.csv has the old names. Unreadable files are listed and left out.
    """
    from sdcore.progress import progress_bar

    from ..manifest.tables import MAPPING_NAME
    from ..sources.numbering import number_images as number_photos

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


_CROP_EPILOG = """\b
Examples:
  sdclient crop photos crops --boxes labels
  sdclient crop photos crops --tile 512 --overlap 0.25
then: sdclient number crops sources
Boxes are the better choice for defects: a tile keeps its photo's class even where it shows nothing of the defect."""


@click.command(epilog=_CROP_EPILOG)
@click.argument("photos", type=PATH)
@click.argument("dest", type=PATH)
@click.option(
    "--boxes",
    type=PATH,
    help="Folder of box files named like the photos: .txt (YOLO, beside classes.txt) or .xml (Pascal VOC).",
)
@click.option("--margin", type=FiniteRange(min=0), help="Context on each side, in box lengths. [default: 0.5]")
@click.option("--size", "size_px", type=click.IntRange(min=1), help="Least side of a crop in px. [default: 256]")
@click.option("--tile", "tile_px", type=click.IntRange(min=1), help="Instead of boxes: cut tiles of this side in px.")
@click.option(
    "--overlap",
    type=FiniteRange(0, 1, max_open=True),
    help="Share of a tile's side that neighbours have in common at least. [default: 0.2]",
)
def crop(
    photos: Path,
    dest: Path,
    boxes: Path | None,
    margin: float | None,
    size_px: int | None,
    tile_px: int | None,
    overlap: float | None,
) -> None:
    """Cut large PHOTOS into sources, around boxes or into tiles, as DEST/<class>/<photo>_<n>.png.

    PHOTOS is only read. DEST/crops.csv has the place of each crop in its photo. Crops around boxes take the class of
    their box; tiles take the class folder of their photo.
    """
    if (boxes is None) == (tile_px is None):
        raise click.UsageError("give either --boxes FOLDER or --tile SIDE")
    if boxes is None and (margin, size_px) != (None, None):
        raise click.UsageError("--margin and --size belong to --boxes")
    if tile_px is None and overlap is not None:
        raise click.UsageError("--overlap belongs to --tile")
    from sdcore.progress import progress_bar

    from ..manifest.tables import CROPS_NAME
    from ..sources.crop import crop_boxes, crop_tiles

    if boxes is not None:
        margin = 0.5 if margin is None else margin
        result = crop_boxes(photos, dest, boxes, margin=margin, size_px=size_px or 256, track=progress_bar)
    else:
        overlap = 0.2 if overlap is None else overlap
        result = crop_tiles(photos, dest, tile_px=tile_px or 512, overlap=overlap, track=progress_bar)
    output = Output()
    for item in result.left_out:
        output.note(f"left out: {item.file}: {item.reason}")
    unused = result.unused_box_files
    if unused:
        belong = "1 box file belongs" if len(unused) == 1 else f"{len(unused)} box files belong"
        output.note(f"{belong} to no photo: {', '.join(unused[:3])}{', ...' if len(unused) > 3 else ''}")
    if not (result.made or result.unchanged):
        raise click.ClickException(f"{photos}: no crop was made; no photo could be read, or no box file holds a box")
    for class_name, count in sorted(Counter(name.split("/")[0] for name in result.made).items()):
        output.line(f"{class_name}: {count} new crops")
    output.line(
        f"{len(result.made)} crops made, {len(result.unchanged)} unchanged; {dest / CROPS_NAME} has their places; "
        f"next: sdclient number {dest} sources"
    )


_PLAN_EPILOG = """\b
Examples:
  sdclient plan sources --target 300
  sdclient plan sources --target 300 --min-share 0.2 --max-per-source 8
  sdclient plan sources --per-source 4 --exclude Normal --exclude dirt -o four-each.csv"""


@click.command(epilog=_PLAN_EPILOG)
@click.argument("sources", type=PATH)
@click.option("--target", type=click.IntRange(min=1), help="Fill every class below it to exactly this many images.")
@click.option("--per-source", type=click.IntRange(min=1), help="Instead of a target: exactly N images of every source.")
@click.option("--max-per-source", type=click.IntRange(min=1), help="At most N images of one source.")
@click.option(
    "--min-share",
    type=FiniteRange(0, 1, max_open=True),
    help="Raise the target until generated / (original + generated) of the planned classes is at least this.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="CLASS",
    help="Leave a class out; give it again for more. Default: Normal, unless you name others. '' leaves out none.",
)
@click.option(
    "--native-size",
    "native_px",
    type=click.IntRange(min=64),
    default=512,
    show_default=True,
    help="Side in px the model was trained on (SDXL 1024); larger sources are warned of.",
)
@click.option("-o", "--output", type=PATH, default="plan.csv", show_default=True, help="The file to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def plan(
    sources: Path,
    target: int | None,
    per_source: int | None,
    max_per_source: int | None,
    min_share: float | None,
    exclude: tuple[str, ...],
    native_px: int,
    output: Path,
    as_json: bool,
) -> None:
    """Decide how many images each numbered source in SOURCES owes, and write plan.csv.

    A plan that owes nothing is written too, as a file with its head alone.
    """
    if per_source is not None and (target, max_per_source, min_share) != (None, None, None):
        raise click.UsageError("--per-source stands alone: leave out --target, --max-per-source and --min-share")
    if target is None and per_source is None and min_share is None:
        raise click.UsageError("give --target N, --per-source N or --min-share S")
    from ..plan import make_plan, write_plan
    from ..sources.source import discover, names_by_class, oversized, oversized_warning

    found = discover(sources)
    made = make_plan(
        names_by_class(found),
        target=target,
        exclude=[name for name in exclude if name] if exclude else None,
        per_source=per_source,
        max_per_source=max_per_source,
        min_share=min_share,
    )
    write_plan(output, made)
    out = Output(json=as_json)
    out.document(lambda: _document(made, output))
    _show(out, made)
    for line in _notes(made, min_share):
        out.line(line)
    out.line(f"written to {output}")
    warning = oversized_warning(oversized(found, native_px), native_px)
    if warning:
        out.note(f"Warning: {warning}")


def _notes(made: Plan, min_share: float | None) -> list[str]:
    notes = []
    if made.target is not None and made.target != made.target_asked:
        asked = made.target_asked or 0
        notes.append(f"the target is {made.target} (from {asked}) for a generated share of {min_share}")
    if not made.counts:
        notes.append(f"no planned class is below {made.target} images; there is nothing to generate")
    notes += [
        f"{row.class_name} stays {row.short_of_target} below the target: {row.total} of {made.target} images"
        for row in made.short_rows
    ]
    return notes


def _show(out: Output, made: Plan) -> None:
    totals = [("all 全部", *_cells(made.all_classes))]
    if not all(row.planned for row in made.rows):
        totals.insert(0, ("planned classes 计划内", *_cells(made.planned_classes)))
    # Two lines a head, so that 80 columns leave room for the names of the classes.
    heads = ("class\n类别", "original\n原始", "to generate\n待生成", "total\n合计", "generated share\n生成占比")
    out.table(heads, [(row.class_name, *_cells(row)) for row in made.rows], totals=totals)


def _cells(row: PlanRow) -> tuple[str, str, str, str]:
    share = row.generated_share
    return (
        str(row.original),
        str(row.to_generate) if row.planned else "not planned",
        str(row.total),
        "undefined" if share is None else f"{share:.2%}",
    )


def _document(made: Plan, output: Path) -> dict[str, Any]:
    return {
        "target": made.target,
        "target_asked": made.target_asked,
        "classes": [_row(row) for row in made.rows],
        "planned": _row(made.planned_classes),
        "all": _row(made.all_classes),
        "plan": str(output),
    }


def _row(row: PlanRow) -> dict[str, Any]:
    names = ("original", "to_generate", "total", "generated_share", "planned", "short_of_target")
    return {"class": row.class_name, **{name: getattr(row, name) for name in names}}
