"""The command `compose`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import INTERRUPTED, PATH, FiniteRange, NumberPair, Output

from ..errors import MissingExtra
from ._run_view import show_counts, summary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..compose.run import Composer, ComposeStart
    from ..sources.source import Source

_EPILOG = """\b
Examples:
  sdclient mask sources masks --boxes labels
  sdclient compose sources sources/Normal transplants --masks masks --per-class 100 --sheet sheet.png
  sdclient compose sources sources/Normal transplants --masks masks --plan plan.csv --right-angles --scale 1:1
Then, as for images of 'sdclient generate': sdclient curate, review, export; trainer train data --generated transplants.
Run the same command again after an interruption: only what is missing is made."""


@click.command(epilog=_EPILOG)
@click.argument("defects", type=PATH)
@click.argument("good", type=PATH)
@click.argument("output", type=PATH)
@click.option(
    "--masks",
    required=True,
    type=PATH,
    help="MASKS/<class>/<number>.png for every source that gives images: the defect white.",
)
@click.option("--per-class", type=click.IntRange(min=1), help="N images of each class, shared out over its sources.")
@click.option("--plan", "plan_file", type=PATH, help="Instead: plan.csv of 'sdclient plan'.")
@click.option(
    "--onto",
    type=click.Choice(["good", "own", "both"]),
    default="good",
    show_default=True,
    help="Put defects on a good image, elsewhere on their own image, or both in turn. With 'own', GOOD is not read.",
)
@click.option(
    "--allowed",
    type=PATH,
    help="Masks named like the images in GOOD: defects go where they are white. Without a mask, the texture decides.",
)
@click.option(
    "--rotate", "rotation_degrees", type=FiniteRange(0, 180), default=180.0, show_default=True, help="At most."
)
@click.option("--right-angles", is_flag=True, help="Quarter turns alone: for boards whose traces run straight.")
@click.option(
    "--scale", type=NumberPair(float), default="0.9:1.1", show_default=True, help="Smallest and largest scale."
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror some of them.")
@click.option("--copies", type=NumberPair(int), default="1:1", show_default=True, help="Copies on one image.")
@click.option(
    "--tone",
    type=click.Choice(["full", "mean", "none"]),
    default="full",
    show_default=True,
    help="Match the new place in level and contrast (full), in level alone (mean), or not at all (none).",
)
@click.option(
    "--blend",
    type=click.Choice(["auto", "feather", "clone", "mixed"]),
    default="auto",
    show_default=True,
    help="Blend by a soft edge, by seamless cloning, or for each defect by what shows least (auto).",
)
@click.option(
    "--match-limit",
    type=FiniteRange(min=0, min_open=True),
    help="Highest mismatch of the surroundings. [default: 0.3; none where --allowed has a mask]",
)
@click.option(
    "--tighten/--no-tighten",
    default=True,
    show_default=True,
    help="Shrink masks that are plain boxes to the part that differs from its surroundings.",
)
@click.option("--grow", "grow_px", type=click.IntRange(0, 500), default=2, show_default=True, help="Grow masks by, px.")
@click.option(
    "--feather", "feather_px", type=click.IntRange(0, 500), default=3, show_default=True, help="Soft edge, px."
)
@click.option("--refine-url", help="A WebUI that repaints each seam after the transplant.")
@click.option("--refine-strength", type=float, default=0.15, show_default=True, help="Its denoising strength.")
@click.option("--refine-prompt", default="", help="What the images show.")
@click.option("--refine-sampler", default="DPM++ SDE Karras", show_default=True, help="With or without its schedule.")
@click.option(
    "--refine-steps", type=int, default=20, show_default=True, help="Steps; about strength times as many run."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run; it decides every draw.")
@click.option("--tries", type=click.IntRange(min=1), default=20, show_default=True, help="Good images to try for each.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes. [default: one for each core, at most 8]")
@click.option("--durable", is_flag=True, help="Wait for the disk after each image: a power failure then loses nothing.")
@click.option(
    "--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Write a contact sheet (.png) at the end."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary instead of words.")
def compose(
    defects: Path,
    good: Path,
    output: Path,
    masks: Path,
    per_class: int | None,
    plan_file: Path | None,
    allowed: Path | None,
    refine_url: str | None,
    refine_strength: float,
    refine_prompt: str,
    refine_sampler: str,
    refine_steps: int,
    tries: int,
    workers: int | None,
    durable: bool,
    sheet: Path | None,
    as_json: bool,
    **settings: object,
) -> None:
    """Put the defects of numbered sources on good images: cut by their masks, turned, toned and blended in.

    DEFECTS is a folder as 'sdclient number' makes it (its Normal class gives nothing), GOOD one of images without
    defects. Writes OUTPUT/<class>/<source number>_<k>.png, OUTPUT/_masks with the changed area of each, and
    OUTPUT/manifest.sqlite with both parents. No WebUI is needed. A defect goes only where the surface around it fits;
    an image that finds no place is marked as failed and the run goes on; then the exit code is 1.
    """
    if (plan_file is None) == (per_class is None):
        raise click.UsageError("give either --per-class N or --plan plan.csv")
    from ..plan import assign_plan, read_plan
    from ..sources.source import discover

    try:
        from ..compose.plan import ComposeSettings, share_evenly
        from ..compose.run import ComposeOptions, Composer
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient compose'", "curate") from error
    out = Output(json=as_json)
    found = discover(defects)
    owed = assign_plan(read_plan(plan_file), found) if plan_file is not None else share_evenly(found, per_class or 0)
    with ExitStack() as opened:
        refiner = None
        if refine_url is not None:
            from ..batch.settings import GenerationSettings
            from ..client.webui import WebUI
            from ..compose.refine import SeamRefiner

            given = {"denoising_strength": refine_strength, "prompt": refine_prompt, "sampler": refine_sampler}
            refine_settings = GenerationSettings.checked({**given, "steps": refine_steps})
            refiner = SeamRefiner(opened.enter_context(WebUI(refine_url)), refine_settings)
        workers = workers or min(8, os.cpu_count() or 1)
        options = ComposeOptions(allowed=allowed, refiner=refiner, tries=tries, workers=workers, durable=durable)
        composer = Composer(defects, masks, good, output, ComposeSettings.checked(settings), options)
        summary = _make_all(out, composer, owed, output)
    if sheet is not None and summary["planned"]:
        summary["sheet"] = _write_sheet(out, sheet, output)
    out.document(summary)
    _show(out, summary)
    if summary["failed"]:
        raise click.exceptions.Exit(1)


def _make_all(out: Output, composer: Composer, owed: list[tuple[Source, int]], output: Path) -> dict[str, Any]:
    """Run with a bar; gives the summary."""
    from tqdm import tqdm

    from sdcore.progress import progress_bar

    begun: list[ComposeStart] = []
    made = 0
    progress: tqdm[Any] | None = None

    def start(run: ComposeStart) -> None:
        nonlocal progress
        begun.append(run)
        progress = tqdm(total=run.missing, unit="image", desc="compose", dynamic_ncols=True)

    try:
        for _ in composer.run(
            owed, on_start=start, on_settled=lambda: progress and progress.update(), track=progress_bar
        ):
            made += 1
    except KeyboardInterrupt:
        out.note(f"\nStopped; what was made is kept in {output}. Run the same command again to go on.")
        raise click.exceptions.Exit(INTERRUPTED) from None
    finally:
        if progress is not None:
            progress.close()
    run, failed_now = begun[0], len(composer.failed)
    summary = summary_of(output, planned=run.planned, missing=run.missing, made=made, failed_now=failed_now)
    return {**summary, "good_images": run.good, "with_allowed_area": run.allowed}


def _write_sheet(out: Output, sheet: Path, output: Path) -> str:
    from ..contact_sheets import write_transplant_sheet

    for key, label in write_transplant_sheet(sheet, output).items():
        out.note(f"{key} on the sheet: {label}")
    return str(sheet)


def _show(out: Output, summary: Mapping[str, Any]) -> None:
    if summary["planned"] == 0:
        out.line("The plan owes no images; nothing to do.")
        return
    show_counts(
        out,
        summary,
        "Those find no place: give more good images, --allowed, a higher --match-limit or other rotations, in a "
        f"new output folder; or more --tries here, after 'sdclient retry {summary['output']}'",
    )
    if "sheet" in summary:
        out.line(f"Sheet: {summary['sheet']}")
