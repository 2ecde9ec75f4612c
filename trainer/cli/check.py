"""The commands `check` and `counts`, which look at image folders and change no image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdcore.cli import PATH, Output

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..data.check import CheckResult
    from ..data.dataset import Counts

_SHOWN_BAD = 20
_SHOWN_PER_KIND = 3


@click.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.option(
    "--sheet",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page of thumbnails of all findings, such as check.html; one file that loads nothing else.",
)
@click.option(
    "--near",
    metavar="BITS",
    default=4,
    type=click.IntRange(0, 16),
    help="Bits of 64 that may differ between the perceptual hashes of look-alikes; more finds more, also wrong ones.",
)
@click.option("--no-near", is_flag=True, help="Do not look for look-alikes.")
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(0, 64),
    help="Processes that read images; with 0, an image that crashes its decoder ends the check.  "
    "[default: one a core, at most 8; 0 below 500 files]",
)
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with every file and finding.")
@click.pass_context
def check(
    ctx: click.Context,
    folder: Path,
    sheet: Path | None,
    near: int,
    no_near: bool,
    workers: int | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Find what is wrong with the images below DIR; no image is changed.

    DIR is a DATA folder (train, val, test), a folder of class folders, or any other. Every file is read completely.

    Errors are files that cannot be trained on, or that training would skip: broken, truncated and empty
    images, decompression bombs, files that are not images or are not named like one, and files that operating
    systems leave behind (.DS_Store, Thumbs.db and the like). DIR/check_error.txt lists them, one a line with the
    reason, and the exit code is 1; if there are none, the check_error.txt of an earlier check is removed.

    Warnings are images that can be trained on but should be looked at, the worst first: the same image in two
    splits or in two classes, look-alikes across splits, copies and look-alikes within one, blank images, sizes and
    looks far from their class, names that do not match the content (a JPEG called .png), 16 bits, CMYK, palettes,
    transparency, several frames, EXIF turns, and classes out of balance.

    \b
    Examples:
      trainer check photos
      trainer check data --sheet check.html
    """
    from ..data.check import REPORT_NAME, check_as_json, check_folder, write_check_sheet, write_report

    result = check_folder(folder, near_bits=None if no_near else near, workers=workers, progress=True)
    out = Output(json=as_json)
    out.document(lambda: check_as_json(result))
    for entry in result.bad[:_SHOWN_BAD]:
        out.line(f"{entry.file}: {entry.reason}")
    if len(result.bad) > _SHOWN_BAD:
        out.line(f"... and {len(result.bad) - _SHOWN_BAD} more")
    _show_findings(out, result)
    had_report = (folder / REPORT_NAME).is_file()
    report = write_report(result)
    out.line(
        f"{result.good} good pictures, {len(result.bad)} bad files"
        + (f": see {report}" if report else "")
        + f"; {_counted(len(result.findings), 'warning')}"
    )
    if had_report and report is None:
        out.line(f"removed {folder / REPORT_NAME}, which an earlier check wrote")
    if sheet is not None:
        write_check_sheet(sheet, result)
        out.line(f"sheet: {sheet}", always=True)
    elif result.bad or result.findings:
        out.line("to see them: --sheet check.html")
    if result.bad or (strict and result.findings):
        ctx.exit(1)


def _show_findings(out: Output, result: CheckResult) -> None:
    from ..data.check import files_by_kind
    from ..data.findings import KINDS

    totals = files_by_kind(result.findings)
    for kind, head in KINDS.items():
        found = result.of_kind(kind)
        if not found:
            continue
        groups = f" in {_counted(len(found), 'group')}" if any(len(one.files) > 1 for one in found) else ""
        number = f"{_counted(totals[kind], 'file')}{groups}" if found[0].files else str(len(found))
        out.line(f"\n{head.title} {head.chinese}: {number}")
        for one in found[:_SHOWN_PER_KIND]:
            names = ", ".join(one.files[:3]) + (", ..." if len(one.files) > 3 else "")
            out.line(f"  {names}: {one.words}" if names else f"  {one.words}")
        if len(found) > _SHOWN_PER_KIND:
            out.line(f"  ... and {len(found) - _SHOWN_PER_KIND} more")
    if totals:
        out.line()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw the counts: .png, .svg or .pdf, outside DIR.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def counts(folder: Path, output: Path | None, as_json: bool) -> None:
    """Count the images of each class, in each split.

    DIR is a DATA folder (train, val, test) or a folder of class folders. Images are counted by name, not opened;
    `trainer check` reads them.

    \b
    Examples:
      trainer counts data
      trainer counts photos -o counts.png
    """
    from ..data.dataset import count_images, counts_as_json

    if output is not None and output.resolve().is_relative_to(folder.resolve()):
        raise SettingsError(f"{output}: lies in {folder}, where it would count as an image; write it elsewhere")
    found = count_images(folder)
    out = Output(json=as_json)
    out.document(lambda: counts_as_json(found))
    _show_counts(out, found)
    if output is not None:
        from ..report.standalone_figures import draw_counts

        drawn = draw_counts(output, found, title=folder.resolve().name)
        out.line(f"drawn: {output}", always=True)
        if drawn.numbered:
            listed = ", ".join(f"{place} {label}" for place, label in enumerate(found.images, start=1))
            out.note(
                f"No font on this machine has all characters of the class names, so numbers are drawn: {listed}. "
                "Install a font such as Noto Sans CJK SC, or write an .svg"
            )


def _show_counts(out: Output, found: Counts) -> None:
    from ..data.dataset import balance_notes

    several = len(found.parts) > 1
    heads = ["class 类别", *(head for part in found.parts for head in (part, "share")), *(["sum"] if several else [])]
    rows = []
    for label, row in found.images.items():
        cells = [cell for part in found.parts for cell in (str(row[part]), _percent(found.share(label, part)))]
        rows.append([label, *cells, *([str(found.of_class(label))] if several else [])])
    sums = [cell for part in found.parts for cell in (str(found.of_part(part)), "")]
    ratios = [cell for part in found.parts for cell in (_times(found.ratio(part)), "")]
    totals = [["all classes", *sums, *([str(found.total)] if several else [])]]
    totals.append(["largest / smallest", *ratios, *([""] if several else [])])
    out.table(heads, rows, totals=totals)
    for note in balance_notes(found):
        out.line(f"Note: {note}.")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}"
