"""`sdclient serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdcore.cli import Output

if TYPE_CHECKING:
    from ..serve.engines.diffusion.engine import DiffusionEngine

EPILOG = """\b
Example:
  sdclient serve
  sdclient generate sources output --per-source 4 --url http://127.0.0.1:7861   (in another terminal)
With a password, which other programs of this machine cannot read from an environment variable:
  SDCLIENT_SERVE_AUTH=user:password sdclient serve
With a diffusion model of your own pictures (extra 'diffusion'):
  generator train data/train -o models/pads --minutes 30
  sdclient serve --engine diffusion --model models/pads"""


@click.command(epilog=EPILOG)
@click.option(
    "--engine",
    "engine_name",
    default="classical",
    show_default=True,
    type=click.Choice(["classical", "diffusion"]),
    help="What makes the pixels: image processing, or a model that 'generator train' made.",
)
@click.option(
    "--model", metavar="MODEL", type=click.Path(path_type=Path), help="Folder of the model, for --engine diffusion."
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where the model runs.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the model. Without it: torch's own choice.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7861, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--job-ms",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="What a batch takes at least, in milliseconds, to try a pipeline against a slow server.",
)
@click.option(
    "--image-ms",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="What each image of a batch adds to that, in milliseconds.",
)
@click.option(
    "--api-auth",
    metavar="USER:PASSWORD",
    envvar="SDCLIENT_SERVE_AUTH",
    help="Ask clients for this user and password [env: SDCLIENT_SERVE_AUTH].",
)
@click.option(
    "--with-page",
    is_flag=True,
    help="Answer /internal/* too, as a WebUI that was started without --nowebui: there clients can ask about a "
    "job by its name.",
)
def serve(
    engine_name: str,
    model: Path | None,
    device: str,
    threads: int | None,
    host: str,
    port: int,
    job_ms: float,
    image_ms: float,
    api_auth: str | None,
    with_page: bool,
) -> None:
    """Run a WebUI-compatible server that needs no GPU. It is NOT Stable Diffusion.

    With --engine classical, its images are the source, varied by classical image processing: for trying the whole
    chain, and a fair control for judging what diffusion adds. With --engine diffusion they come from a model of your
    own pictures; a prompt chooses its class by name. Stop it with Ctrl-C.
    """
    if (model is not None) != (engine_name == "diffusion"):
        raise click.BadParameter("--engine diffusion and --model MODEL go together", param_hint="--model")
    if api_auth is not None and ":" not in api_auth:
        raise click.BadParameter("expected USER:PASSWORD, with a colon between", param_hint="--api-auth")
    from sdcore.web import listen, url_of

    from ..errors import MissingExtra

    try:
        from ..serve.background import run_until_stopped
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient serve'", "serve") from error
    from ..serve.words import NOTICE

    engine: DiffusionEngine | None = None
    if model is not None:
        try:
            from ..serve.engines.diffusion.engine import load_engine
        except ModuleNotFoundError as error:
            raise MissingExtra("'sdclient serve --engine diffusion'", "diffusion") from error
        engine = load_engine(model, device=device, threads=threads)
    out = Output()
    with listen(host, port) as bound:
        out.line(f"sdclient serve: {url_of(bound)}\n{NOTICE if engine is None else engine.notice}")
        if not bound.getsockname()[0].startswith("127.") and bound.getsockname()[0] != "::1":
            out.note(
                f"warning: {host} is not a loopback address, so other machines can reach this server"
                + ("" if api_auth else "; it asks for no password (--api-auth)")
            )
        run_until_stopped(
            bound, engine=engine, job_ms=job_ms, image_ms=image_ms, api_auth=api_auth, with_page=with_page
        )
