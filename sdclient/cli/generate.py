"""The command `generate`, and the servers that it works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdcore.cli import PATH, FiniteRange, Output

from . import _run_view

if TYPE_CHECKING:
    from ..batch.dispatcher import ServerPool
    from ..batch.servers import Server
    from ..client.webui import WebUI
    from ..masks.mask import Unmasked
    from ..sources.source import Source

_STRENGTH = "denoising_strength"
_EPILOG = """\b
Examples:
  sdclient generate sources output --plan plan.csv
  sdclient generate sources output --per-source 8 --denoising-strength 0.3 --url http://gpu-pc:7860
  sdclient generate sources output --plan plan.csv --masks masks
  sdclient generate sources output --plan plan.csv --ray auto
  sdclient generate sources output --plan plan.csv --until-accepted --strength-range 0.15:0.45
Run the same command again after an interruption: only what is missing is made."""


@click.command(epilog=_EPILOG)
@click.argument("sources", type=PATH)
@click.argument("output", type=PATH)
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="The WebUI's address; default SDCLIENT_URL, else http://127.0.0.1:7860. Repeat it to share the work.",
)
@click.option(
    "--servers",
    "servers_file",
    type=PATH,
    help="servers.toml instead of --url: [[server]] tables with url, name, weight, user, password.",
)
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="Work with the WebUIs on the nodes of a Ray cluster: auto, or the head's HOST:PORT. --url is then where each "
    "node has its own; default the SDCLIENT_URL of 'ray start' there.",
)
@click.option("--plan", "plan_file", type=PATH, help="plan.csv of 'sdclient plan'.")
@click.option("--per-source", type=click.IntRange(min=1), help="Instead of a plan: N images of every source.")
@click.option("--denoising-strength", type=float, default=0.25, show_default=True, help="0.2-0.3 keeps a defect.")
@click.option("--sampler", default="DPM++ SDE Karras", show_default=True, help="With or without its schedule.")
@click.option("--scheduler", help="Noise schedule, if the sampler's name does not hold it.")
@click.option("--steps", type=int, default=20, show_default=True, help="Steps; about strength times as many run.")
@click.option("--cfg-scale", type=float, default=7.0, show_default=True, help="How strictly the prompt is followed.")
@click.option("--prompt", default="", help="What the images show.")
@click.option("--negative-prompt", default="", help="What they do not show.")
@click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="NAME[:WEIGHT]",
    help="A LoRA that every server lists, as defects:0.8; see 'generator lora'. Repeatable.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run; it decides every image's seed.")
@click.option("--batch-size", type=int, default=4, show_default=True, help="Images of a source made at once.")
@click.option(
    "--native-size",
    "native_px",
    type=int,
    help="Side in px the model was trained on; default by its name (512, 768 or 1024). Results return to the "
    "source's size.",
)
@click.option(
    "--masks",
    type=PATH,
    help="Folder of 'sdclient mask': repaint inside the masks alone (white), keep every pixel where they are black.",
)
@click.option(
    "--unmasked",
    type=click.Choice(["refuse", "skip", "allow"]),
    default="refuse",
    show_default=True,
    help="Sources without a mask: stop before anything is made, make none of their images, or make whole ones.",
)
@click.option(
    "--inpaint-fill",
    type=click.Choice(["original", "fill", "latent-noise", "latent-nothing"]),
    default="original",
    show_default=True,
    help="What the masked area starts from; all but original need a strength of about 0.6 and more.",
)
@click.option(
    "--inpaint-area",
    type=click.Choice(["masked", "whole"]),
    default="masked",
    show_default=True,
    help="Enlarge the masked area to the model's size, which small defects need, or generate the whole image.",
)
@click.option(
    "--inpaint-padding", type=int, default=32, show_default=True, help="Context around the mask, in px of the source."
)
@click.option(
    "--mask-blur", type=int, default=2, show_default=True, help="Least width of a mask's soft edge, px of the source."
)
@click.option(
    "--config",
    type=PATH,
    help="run.toml: settings by class and by source, ranges drawn by seed. Options given here take precedence.",
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
@click.option("--max-in-flight", type=click.IntRange(min=1), default=3, show_default=True, help="Requests at a server.")
@click.option(
    "--tries", type=click.IntRange(min=1), default=3, show_default=True, help="Tries before an image is given up."
)
@click.option(
    "--patience",
    "patience_minutes",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Minutes to go on without an image while servers are away.",
)
@click.option("--durable", is_flag=True, help="Wait for the disk after each image: a power failure then loses nothing.")
@click.option("--allow-mixed", is_flag=True, help="Take servers with different models.")
@click.option(
    "--until-accepted",
    is_flag=True,
    help="Judge each image by the filters of 'sdclient curate', and make images until the planned number is accepted. "
    "Too alike raises a source's strength, unreal lowers it.",
)
@click.option(
    "--strength-range",
    metavar="LOW:HIGH",
    help="With --until-accepted: where strengths may go, from --denoising-strength on if given, else from the middle. "
    "A class whose strength is a range in --config keeps to that.  [default: 0.15:0.45]",
)
@click.option(
    "--budget",
    type=FiniteRange(min=1),
    help="With --until-accepted: images of a class to make at most, for each planned one.  [default: 6]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON summary instead of words.")
def generate(
    sources: Path,
    output: Path,
    urls: tuple[str, ...],
    servers_file: Path | None,
    ray_address: str | None,
    plan_file: Path | None,
    per_source: int | None,
    max_in_flight: int,
    tries: int,
    patience_minutes: float,
    durable: bool,
    allow_mixed: bool,
    masks: Path | None,
    unmasked: Unmasked,
    config: Path | None,
    assignments: tuple[str, ...],
    dry_run: bool,
    until_accepted: bool,
    strength_range: str | None,
    budget: float | None,
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
    if ray_address is not None and servers_file is not None:
        raise click.UsageError("--servers names servers of this machine; with --ray, give --url")
    if ray_address is not None and dry_run:
        raise click.UsageError("--dry-run times one server; give its --url without --ray")
    if masks is None and unmasked != "refuse":
        raise click.UsageError("--unmasked belongs to --masks")
    if not until_accepted and (strength_range is not None or budget is not None):
        raise click.UsageError("--strength-range and --budget need --until-accepted")
    from ..batch.estimate import describe_dry_run, format_dry_run
    from ..batch.run_file import RunSpec, load_run_file
    from ..batch.runner import BatchRunner
    from ..batch.settings import GenerateOptions, GenerationSettings, parse_assignment
    from ..masks.mask import apply_masks
    from ..output.artifacts import find_artifacts
    from ..plan import assign_plan, read_plan
    from ..sources.source import discover

    out = Output(json=as_json)
    context = click.get_current_context()
    given = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    GenerationSettings.checked(given)
    spec = load_run_file(config) if config is not None else RunSpec.from_settings(GenerationSettings())
    assigned = [parse_assignment(text) for text in assignments]
    spec = spec.with_overrides(given).with_overrides(assigned)
    strengths = strength_range or _run_view.STRENGTH_RANGE
    if until_accepted and config is None and _STRENGTH not in {*given, *dict(assigned)}:
        spec = spec.with_overrides({_STRENGTH: strengths})
    found = discover(sources)
    spec.check_against(found)
    owed: Sequence[tuple[Source, int]] = [(source, per_source or 0) for source in found]
    if plan_file is not None:
        owed = assign_plan(read_plan(plan_file), found)
    with open_servers(urls, servers_file, ray_address) as servers:
        options = GenerateOptions(
            max_in_flight=max_in_flight,
            tries=tries,
            patience_s=60 * patience_minutes,
            durable=durable,
            allow_mixed=allow_mixed,
            masks=masks,
            unmasked=unmasked,
            # With --until-accepted the filters judge every image instead.
            check=None if until_accepted else find_artifacts,
        )
        runner = BatchRunner(servers.pool, sources, output, spec, options)
        files = loop = None
        if masks is not None and (dry_run or until_accepted):  # a plain run finds its masks itself
            files, owed = apply_masks(masks, owed, unmasked=unmasked)
        if servers.first is not None and dry_run:
            _run_view.warn_of_sources(spec, owed, runner.check(found).native_px, files)
            summary = describe_dry_run(servers.first, spec, owed, output)
            out.document(summary)
            out.line(format_dry_run(summary, servers.first.url))
            return
        if until_accepted:
            if files is not None:
                _run_view.warn_of_masks(files)
            loop, summary = _run_view.run_until_accepted(
                runner, spec, owed, output, servers=servers.count, strengths=strengths, budget=budget
            )
        else:
            summary = _run_view.run_and_show(runner, servers.count, spec, owed, output)
    if loop is not None:
        _run_view.show_until_accepted(out, loop, summary)
        return
    out.document(summary)
    _run_view.show_summary(out, summary, runner)
    if summary["failed"]:
        raise click.exceptions.Exit(1)


_SEVERAL = 2
"""Assumed number of servers in a cluster, where servers come and go: they are always shown in a table."""


@dataclass(frozen=True)
class ServerSelection:
    """The servers of a run."""

    pool: Sequence[Server] | ServerPool
    count: int
    first: WebUI | None
    """None in a cluster, whose WebUIs are out of reach from this machine."""


@contextmanager
def open_servers(urls: Sequence[str], servers_file: Path | None, ray: str | None) -> Iterator[ServerSelection]:
    """Open the servers; they are closed at the end of the block. `ray` is the address of a Ray cluster.

    Raises:
        SettingsError: an address that cannot be used, or no such cluster.
        MissingExtra: Ray is not installed.
    """
    with ExitStack() as opened:
        if ray is not None:
            from ..cluster.nodes import connected_for_command

            opened.enter_context(connected_for_command(ray))
            from ..client.transport import auth_from_environment
            from ..cluster.server_pool import RayServerPool

            pool = RayServerPool(urls, auth=auth_from_environment(), tell=Output().note)
            yield ServerSelection(pool, _SEVERAL, None)
            return
        from ..batch.servers import Server, load_servers
        from ..client.webui import WebUI

        if servers_file is not None:
            servers = load_servers(servers_file)
        else:
            servers = [Server(webui.url, webui) for webui in (WebUI(url) for url in urls or (None,))]
        for server in servers:
            opened.enter_context(server.webui)
        yield ServerSelection(servers, len(servers), servers[0].webui)
