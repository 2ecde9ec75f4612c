"""The command `mask`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sdcore.cli import PATH, FiniteRange, Output, open_page

from ..errors import MissingExtra

if TYPE_CHECKING:
    from ..masks.make import MaskingResult

_EPILOG = """\b
Examples:
  sdclient mask sources masks --boxes labels --sheet masks.png
  sdclient mask sources masks --boxes crops            (the folder that 'sdclient crop' made)
  sdclient mask sources masks --from-masks annotations --label 3
  sdclient mask sources masks --good good-boards --feather 4
  sdclient mask sources masks --draw                   (by hand, on a page in the browser)
then: sdclient generate sources output --plan plan.csv --masks masks"""


@click.command(epilog=_EPILOG)
@click.argument("sources", type=PATH)
@click.argument("masks", type=PATH)
@click.option(
    "--boxes",
    type=PATH,
    help="Folder of box files (YOLO .txt beside classes.txt, VOC .xml), or crops.csv of 'sdclient crop'.",
)
@click.option("--any-class", is_flag=True, help="With --boxes: boxes of other classes than the source's folder too.")
@click.option(
    "--from-masks",
    type=PATH,
    help="Folder of masks of any tool, of the sources' size; what is not black is the defect.",
)
@click.option(
    "--label", metavar="COLOUR|NUMBER", help="With --from-masks: the one colour or number that is the defect."
)
@click.option("--inverted", is_flag=True, help="With --from-masks: black is the defect.")
@click.option(
    "--good", type=PATH, help="A good image of the same place, or a folder of them: the difference is the defect."
)
@click.option("--draw", is_flag=True, help="Draw them by hand on a page in the browser; stop it with Ctrl-C.")
@click.option("--max-shift", type=FiniteRange(min=0), help="With --good: largest shift in px. [default: 10]")
@click.option("--grow", "grow_px", type=click.IntRange(0, 4096), default=2, show_default=True, help="Margin in px.")
@click.option(
    "--feather",
    "feather_px",
    type=click.IntRange(0, 4096),
    default=3,
    show_default=True,
    help="Width in px of the ramp around that.",
)
@click.option("--class", "classes", multiple=True, help="Only sources of this class. Repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace existing masks that differ, even those drawn by hand.")
@click.option("--sheet", type=PATH, help="Also write a contact sheet of the masks' outlines (PNG).")
@click.option("--port", type=click.IntRange(0, 65535), help="With --draw: port on this machine. [default: a free one]")
@click.option("--lang", type=click.Choice(["en", "zh"]), help="With --draw: language of the page. [default: en]")
@click.option("--no-browser", is_flag=True, help="With --draw: do not open the page in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def mask(
    sources: Path,
    masks: Path,
    boxes: Path | None,
    any_class: bool,
    from_masks: Path | None,
    label: str | None,
    inverted: bool,
    good: Path | None,
    draw: bool,
    max_shift: float | None,
    grow_px: int,
    feather_px: int,
    classes: tuple[str, ...],
    overwrite: bool,
    sheet: Path | None,
    port: int | None,
    lang: Literal["en", "zh"] | None,
    no_browser: bool,
    as_json: bool,
) -> None:
    """Make MASKS/<class>/<number>.png, white where a numbered source of SOURCES has its defect.

    Files are looked for by the photographs' names (SOURCES/mapping.csv has them), else by the sources' numbers. What
    is there already stays as it is; sources without a defect get no mask.
    """
    if sum(origin is not None for origin in (boxes, from_masks, good)) + draw != 1:
        raise click.UsageError("give one of --boxes, --from-masks, --good and --draw")
    if any_class and boxes is None:
        raise click.UsageError("--any-class belongs to --boxes")
    if (label is not None or inverted) and from_masks is None:
        raise click.UsageError("--label and --inverted belong to --from-masks")
    if max_shift is not None and good is None:
        raise click.UsageError("--max-shift belongs to --good")
    if not draw and (port is not None or lang is not None or no_browser):
        raise click.UsageError("--port, --lang and --no-browser belong to --draw")
    if draw:
        if overwrite or sheet is not None:
            raise click.UsageError("--overwrite and --sheet do not go with --draw")
        options = {"classes": classes, "grow_px": grow_px, "feather_px": feather_px}
        _draw(sources, masks, port or 0, lang or "en", not no_browser, Output(json=as_json), options)
        return
    from sdcore.progress import progress_bar

    from ..masks.from_difference import MAX_SHIFT_PX, DifferenceMasks
    from ..masks.from_labels import BoxMasks, ExternalMasks
    from ..masks.make import MaskOrigin, make_masks
    from ..sources.source import discover, select_classes

    wanted = select_classes(discover(sources), classes)
    origin: MaskOrigin
    if boxes is not None:
        origin = BoxMasks(boxes, sources, wanted, any_class=any_class)
    elif from_masks is not None:
        origin = ExternalMasks(from_masks, sources, wanted, label=label, inverted=inverted)
    else:
        shift = MAX_SHIFT_PX if max_shift is None else max_shift
        origin = DifferenceMasks(good or Path(), sources, wanted, max_shift_px=shift)
    result = make_masks(
        sources, wanted, masks, origin, grow_px=grow_px, feather_px=feather_px, overwrite=overwrite, track=progress_bar
    )
    legend = {}
    if sheet is not None:
        from ..contact_sheets import write_mask_sheet

        legend = dict(write_mask_sheet(sheet, wanted, masks))
    out = Output(json=as_json)
    out.document(lambda: {**asdict(result), "sheet": str(sheet) if sheet else None})
    _show(out, result, sources, masks)
    for key, name in legend.items():
        out.line(f"{key} on the sheet: {name}")
    if sheet is not None:
        out.line(f"Sheet: {sheet}")
    if not result.usable:
        raise click.ClickException(f"{sources}: no source got a mask; the reasons stand above")


def _draw(
    sources: Path,
    masks: Path,
    port: int,
    language: Literal["en", "zh"],
    open_browser: bool,
    out: Output,
    options: dict[str, Any],
) -> None:

    try:
        from ..review.serving import serve_drawing
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient mask --draw'", "curate") from error
    on_ready = open_page(out, "sdclient mask", open_browser=open_browser)
    drawn = serve_drawing(sources, masks, port=port, language=language, on_ready=on_ready, **options)
    out.document({"drawn": drawn}, one_line=True)
    out.line(f"{drawn} masks drawn; next: sdclient generate {sources} output --plan plan.csv --masks {masks}")


def _show(out: Output, result: MaskingResult, sources: Path, masks: Path) -> None:
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in result.left_out:
        class_name, _, name = item.file.partition("/")
        reasons.setdefault((class_name, item.reason), []).append(name)
    if reasons:
        rows = []
        for (class_name, reason), names in reasons.items():
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            rows.append((class_name, str(len(names)), reason, shown))
        out.table(("class 类别", "without a mask 无掩膜", "reason 原因", "sources 原图"), rows, align="lrll")
    for note in result.notes:
        out.note(note, always=False)
    if result.covering_all:
        some = ", ".join(result.covering_all[:3])
        out.note(f"Warning: nowhere black, so nothing of the source would be kept: {some}", always=False)
    for class_name, count in sorted(Counter(name.split("/")[0] for name in result.made).items()):
        out.line(f"{class_name}: {count} new masks")
    out.line(
        f"{len(result.made)} masks made, {len(result.unchanged)} unchanged, {len(result.left_out)} sources without; "
        f"next: sdclient generate {sources} output --plan plan.csv --masks {masks}"
    )
    if result.kept:
        out.line(f"{len(result.kept)} other masks that were there stayed as they are; --overwrite replaces them")
