"""`sdclient crop`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from sdcore.cli import FiniteRange, Output

EPILOG = """\b
Examples:
  sdclient crop photos crops --boxes labels
  sdclient crop photos crops --tile 512 --overlap 0.25
then: sdclient number crops sources
Boxes are the better choice for defects: a tile keeps its photo's class even where it shows nothing of the defect."""


@click.command(epilog=EPILOG)
@click.argument("photos", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option(
    "--boxes",
    type=click.Path(path_type=Path),
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

    PHOTOS is only read. DEST/crops.csv tells where in which photo each crop lies. Crops around boxes take the class of
    their box; tiles take the class folder of their photo.
    """
    if (boxes is None) == (tile_px is None):
        raise click.UsageError("give either --boxes FOLDER or --tile SIDE")
    if boxes is None and (margin, size_px) != (None, None):
        raise click.UsageError("--margin and --size belong to --boxes")
    if tile_px is None and overlap is not None:
        raise click.UsageError("--overlap belongs to --tile")
    from sdcore.progress import progress_bar

    from ..crop import crop_boxes, crop_tiles
    from ..crops_csv import CROPS_NAME

    if boxes is not None:
        result = crop_boxes(
            photos,
            dest,
            boxes,
            margin=0.5 if margin is None else margin,
            size_px=256 if size_px is None else size_px,
            track=progress_bar,
        )
    else:
        result = crop_tiles(
            photos, dest, tile_px=tile_px or 512, overlap=0.2 if overlap is None else overlap, track=progress_bar
        )
    output = Output()
    for item in result.left_out:
        output.note(f"left out: {item.file}: {item.reason}")
    unused = result.unused_box_files
    if unused:
        belong = "1 box file belongs" if len(unused) == 1 else f"{len(unused)} box files belong"
        output.note(f"{belong} to no photo: {', '.join(unused[:3])}{', ...' if len(unused) > 3 else ''}")
    if not (result.made or result.unchanged):
        raise click.ClickException(f"{photos}: no crop came of it; no photo could be read, or no box file holds a box")
    for class_name, count in sorted(Counter(name.split("/")[0] for name in result.made).items()):
        output.line(f"{class_name}: {count} new crops")
    output.line(
        f"{len(result.made)} crops made, {len(result.unchanged)} unchanged; {dest / CROPS_NAME} tells their places; "
        f"next: sdclient number {dest} sources"
    )
