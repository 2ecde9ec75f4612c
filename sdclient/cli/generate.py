"""`sdclient generate`."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..batch import BatchRunner, RunSpec
    from ..client import WebUI
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
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="The WebUI's address; default SDCLIENT_URL, else http://127.0.0.1:7860. Repeat it to share the work.",
)
@click.option(
    "--servers",
    "servers_file",
    type=click.Path(path_type=Path),
    help="servers.toml instead of --url: [[server]] tables with url, name, weight, user, password.",
)
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
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="run.toml: settings by class and by source, ranges drawn by seed. Options given here win over it.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting as a value, a list or a range: --set denoising_strength=0.2:0.3. Repeatable.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the whole configuration, the time and the disk it takes; one image is made to time it, and thrown away.",
)
@click.option("--max-in-flight", type=click.IntRange(min=1), default=2, show_default=True, help="Requests at a server.")
@click.option("--tries", type=click.IntRange(min=1), default=3, show_default=True, help="Then an image is given up.")
@click.option(
    "--patience",
    "patience_minutes",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Minutes to go on without an image while servers are away.",
)
@click.option("--durable", is_flag=True, help="Wait for the disk at each image: even a loss of power undoes nothing.")
@click.option("--allow-mixed", is_flag=True, help="Take servers with different models.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary instead of words.")
def generate(
    sources: Path,
    output: Path,
    urls: tuple[str, ...],
    servers_file: Path | None,
    plan_file: Path | None,
    per_source: int | None,
    max_in_flight: int,
    tries: int,
    patience_minutes: float,
    durable: bool,
    allow_mixed: bool,
    config: Path | None,
    assignments: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **settings: object,
) -> None:
    """Make images from every numbered source image, N each, into OUTPUT.

    Writes OUTPUT/<class>/<source number>_<k>.png and OUTPUT/manifest.sqlite, which says of each image where it came
    from. An image that fails again and again is marked as failed and the run goes on; then the exit code is 1. Name and
    password of the WebUI go into the environment variable SDCLIENT_AUTH (name:password).
    """
    if (plan_file is None) == (per_source is None):
        raise click.UsageError("give either --plan plan.csv or --per-source N")
    if urls and servers_file is not None:
        raise click.UsageError("give either --url or --servers")
    from ..batch import BatchRunner, GenerationSettings, RunSpec, Server, load_run_file, load_servers
    from ..batch.setting_values import parse_assignment
    from ..client import WebUI
    from ..plan_csv import match_plan, read_plan
    from ..sources import discover

    context = click.get_current_context()
    given = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    GenerationSettings.checked(given)
    spec = load_run_file(config) if config is not None else RunSpec.from_settings(GenerationSettings())
    spec = spec.with_overrides(given).with_overrides(parse_assignment(text) for text in assignments)
    found = discover(sources)
    spec.check_against(found)
    owed = match_plan(read_plan(plan_file), found) if plan_file else [(source, per_source or 0) for source in found]
    with ExitStack() as opened:
        if servers_file is not None:
            servers = load_servers(servers_file)
        else:
            servers = [Server(webui.url, webui) for webui in (WebUI(url) for url in urls or (None,))]
        for server in servers:
            opened.enter_context(server.webui)
        runner = BatchRunner(
            servers,
            sources,
            output,
            spec,
            max_in_flight=max_in_flight,
            tries=tries,
            patience_s=60 * patience_minutes,
            durable=durable,
            allow_mixed=allow_mixed,
        )
        native_px = spec.settings_for(found[0])["native_px"] or runner.check(found).native_px
        _warn_of_oversized([source for source, _ in owed], int(str(native_px)))
        if dry_run:
            click.echo(_dry_run(servers[0].webui, spec, owed, output, as_json))
            return
        summary = _make_all(runner, owed, output)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    else:
        _tell(summary, runner)
    if summary["failed"]:
        raise click.exceptions.Exit(1)


def _dry_run(webui: WebUI, spec: RunSpec, owed: list[tuple[Source, int]], output: Path, as_json: bool) -> str:
    """What a run would do, in words or as JSON."""
    from dataclasses import asdict

    from ..batch import GenerationSettings
    from ..batch.estimate import disk_free, dry_run
    from ..probe import timed_probe

    summary: dict[str, Any] = {"configuration": spec.as_dict()}
    if owed:
        source = owed[0][0]
        plain = asdict(spec.parameters_for(source, 1, 0))
        settings = GenerationSettings.checked({**plain, "batch_size": spec.batch_size})
        place = next(folder for folder in (output, *output.resolve().parents) if folder.is_dir())
        found = dry_run(
            owed,
            seconds_per_image=timed_probe(webui, source, settings),
            bytes_per_image=sum(one.path.stat().st_size for one, _ in owed) / len(owed),
            disk_free_bytes=disk_free(place),
        )
        summary |= {**asdict(found), "fits_on_disk": found.fits_on_disk}
    if as_json:
        return json.dumps(summary, ensure_ascii=False)
    lines = [json.dumps(summary["configuration"], ensure_ascii=False, indent=2)]
    lines += [f"{name}: {images} images" for name, images in summary.get("images_by_class", {}).items()]
    if "estimate" in summary:
        estimate = summary["estimate"]
        lines.append(
            f"{estimate['images']} images, about {estimate['time_s'] / 60:.1f} minutes at {webui.url} alone, "
            f"{estimate['disk_bytes'] / 2**20:.1f} MiB of {summary['disk_free_bytes'] / 2**20:.0f} MiB free"
        )
    return "\n".join(lines)


def _warn_of_oversized(sources: list[Source], native_px: int) -> None:
    from ..sources import oversized, oversized_warning

    warning = oversized_warning(oversized(sources, native_px), native_px)
    if warning:
        click.echo(f"Warning: {warning}", err=True)


def _make_all(runner: BatchRunner, owed: list[tuple[Source, int]], output: Path) -> dict[str, Any]:
    """Run with a progress bar; gives the summary."""
    from tqdm import tqdm

    planned = missing = made = 0
    engines: set[str] = set()
    bar: tqdm[Any] | None = None

    def start(all_images: int, still_missing: int) -> None:
        nonlocal planned, missing, bar
        planned, missing = all_images, still_missing
        bar = tqdm(total=still_missing, unit="image", desc="generate", smoothing=0.1, dynamic_ncols=True)

    def interrupted(*_: object) -> None:
        """The first Ctrl-C finishes the jobs in hand; the second interrupts ours at the servers."""
        if runner.stopped.is_set():
            threading.Thread(target=runner.interrupt_jobs, daemon=True).start()
        runner.stop()

    former = signal.signal(signal.SIGINT, interrupted)
    try:
        for record in runner.run(owed, on_start=start):
            made += 1
            engines.add(record.engine)
            if bar is not None:
                bar.update()
    finally:
        signal.signal(signal.SIGINT, former)
        if bar is not None:
            bar.close()
    if runner.stopped.is_set():
        click.echo(
            f"Stopped; what was made is kept in {output}, {missing - made} images or fewer are left. "
            "Run the same command again to go on.",
            err=True,
        )
        raise click.exceptions.Exit(_INTERRUPTED)
    failures = _failures(output)
    failed_before = len(failures) - len(runner.failed)
    return {
        "output": str(output),
        "planned": planned,
        "already_there": planned - missing - failed_before,
        "made": made,
        "failed": len(failures),
        "failures": [
            {"class": name, "reason": reason, "images": count}
            for (name, reason), count in sorted(Counter(failures).items())
        ],
        "engines": sorted(engines),
    }


def _failures(output: Path) -> list[tuple[str, str]]:
    """(class, reason) of every image that was given up, in this run or before."""
    from ..manifest import FAILED, Manifest

    with Manifest(output) as manifest:
        return [(state.class_name, state.reason) for state in manifest.states() if state.status == FAILED]


def _tell(summary: dict[str, Any], runner: BatchRunner) -> None:
    """The summary in words, with a table of the servers where there are several and one of what failed."""
    if summary["planned"] == 0:
        click.echo("The plan owes no images; nothing to do.")
        return
    from rich.table import Table

    from ._console import console

    statuses = runner.statuses()
    if len(statuses) > 1:
        table = Table("server 服务器", "state 状态", "images 图片", "images/s", "errors 错误")
        for one in statuses:
            table.add_row(one.name, one.state, str(one.made), f"{one.images_per_s:.2f}", str(one.errors))
        console().print(table)
    if summary["failures"]:
        table = Table("class 类别", "failed 失败", "reason 原因")
        for row in summary["failures"]:
            table.add_row(row["class"], str(row["images"]), row["reason"])
        console().print(table)
    click.echo(
        f"{summary['made']} images made, {summary['already_there']} were there already, "
        f"{summary['planned']} planned, {summary['failed']} failed, in {summary['output']}"
    )
    for engine in summary["engines"]:
        click.echo(f"Engine: {engine}")
