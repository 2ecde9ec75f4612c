"""`sdclient generate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..batch import BatchRunner
    from ..sources import Source

_INTERRUPTED = 130
_EPILOG = """\b
Examples:
  sdclient generate sources output --plan plan.csv
  sdclient generate sources output --per-source 8 --denoising-strength 0.3 --url http://gpu-pc:7860
Run the same command again after an interruption: only what is missing is made."""


@click.command(epilog=_EPILOG)
@click.argument("sources", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--url", help="The WebUI's address; default SDCLIENT_URL, else http://127.0.0.1:7860.")
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="plan.csv of 'sdclient plan'.")
@click.option("--per-source", type=click.IntRange(min=1), help="Instead of a plan: N images of every source.")
@click.option("--denoising-strength", type=float, default=0.25, show_default=True, help="0.2-0.3 keeps a defect.")
@click.option("--sampler", default="DPM++ SDE Karras", show_default=True, help="With or without its schedule.")
@click.option("--scheduler", help="Noise schedule, if the sampler's name does not hold it.")
@click.option("--steps", type=int, default=20, show_default=True, help="About strength times as many run.")
@click.option("--cfg-scale", type=float, default=7.0, show_default=True, help="How strictly the prompt is followed.")
@click.option("--prompt", default="", help="What the pictures show.")
@click.option("--negative-prompt", default="", help="What they do not show.")
@click.option("--seed", type=int, default=0, show_default=True, help="Run seed; every image's own follows from it.")
@click.option("--batch-size", type=int, default=4, show_default=True, help="Images of a source made at once.")
@click.option(
    "--native-size",
    "native_px",
    type=int,
    help="Side in px the model was trained on; default by its name (512, 768 or 1024). Results return to the "
    "source's size.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary instead of words.")
def generate(
    sources: Path,
    output: Path,
    url: str | None,
    plan_file: Path | None,
    per_source: int | None,
    as_json: bool,
    **settings: object,
) -> None:
    """Make images from every numbered source image, N each, into OUTPUT.

    Writes OUTPUT/<class>/<source number>_<k>.png and OUTPUT/manifest.sqlite, which says of each image where it came
    from. Name and password of the WebUI go into the environment variable SDCLIENT_AUTH (name:password).
    """
    if (plan_file is None) == (per_source is None):
        raise click.UsageError("give either --plan plan.csv or --per-source N")
    from ..batch import BatchRunner, GenerationSettings
    from ..client import WebUI
    from ..plan_csv import match_plan, read_plan
    from ..sources import discover

    checked = GenerationSettings.checked(settings)
    found = discover(sources)
    owed = match_plan(read_plan(plan_file), found) if plan_file else [(source, per_source or 0) for source in found]
    with WebUI(url) as webui:
        runner = BatchRunner(webui, sources, output, checked)
        _warn_of_oversized([source for source, _ in owed], runner.server.native_px)
        summary = _make_all(runner, owed, output)
    click.echo(json.dumps(summary, ensure_ascii=False) if as_json else _in_words(summary))


def _warn_of_oversized(sources: list[Source], native_px: int) -> None:
    from ..sources import oversized, oversized_warning

    warning = oversized_warning(oversized(sources, native_px), native_px)
    if warning:
        click.echo(f"Warning: {warning}", err=True)


def _make_all(runner: BatchRunner, owed: list[tuple[Source, int]], output: Path) -> dict[str, Any]:
    """Run with a progress bar; gives the summary."""
    from tqdm import tqdm

    planned = made = 0
    engines: set[str] = set()
    bar: tqdm[Any] | None = None

    def start(all_images: int, missing: int) -> None:
        nonlocal planned, bar
        planned = all_images
        bar = tqdm(total=missing, unit="image", desc="generate", smoothing=0.1, dynamic_ncols=True)

    try:
        for record in runner.run(owed, on_start=start):
            made += 1
            engines.add(record.engine)
            if bar is not None:
                bar.update()
    except KeyboardInterrupt:
        click.echo(f"\nStopped; what was made is kept in {output}. Run the same command again to go on.", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    finally:
        if bar is not None:
            bar.close()
    return {
        "output": str(output),
        "planned": planned,
        "already_there": planned - made,
        "made": made,
        "engines": sorted(engines),
    }


def _in_words(summary: dict[str, Any]) -> str:
    if summary["planned"] == 0:
        return "The plan owes no images; nothing to do."
    made_with = "".join(f"\nEngine: {engine}" for engine in summary["engines"])
    return (
        f"{summary['made']} images made, {summary['already_there']} were there already, "
        f"{summary['planned']} planned, in {summary['output']}{made_with}"
    )
