"""`sdclient serve`."""

from __future__ import annotations

import click

EPILOG = """\b
Example:
  sdclient serve
  sdclient generate sources output --per-source 4 --url http://127.0.0.1:7861   (in another terminal)
With a password, which other programs of this machine cannot read from an environment variable:
  SDCLIENT_SERVE_AUTH=user:password sdclient serve"""


@click.command(epilog=EPILOG)
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
def serve(host: str, port: int, job_ms: float, api_auth: str | None, with_page: bool) -> None:
    """Run a WebUI-compatible server that needs no GPU and no model. It is NOT Stable Diffusion.

    Its images are the source, varied by classical image processing. It is for trying the whole chain, and
    a fair control for judging what Stable Diffusion adds. Stop it with Ctrl-C.
    """
    if api_auth is not None and ":" not in api_auth:
        raise click.BadParameter("expected USER:PASSWORD, with a colon between", param_hint="--api-auth")
    from ..errors import MissingExtra

    try:
        from ..serve.background import listen, run_until_stopped, url_of
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient serve'", "serve") from error
    from ..serve.words import NOTICE

    with listen(host, port) as bound:
        click.echo(f"sdclient serve: {url_of(bound)}\n{NOTICE}")
        if not bound.getsockname()[0].startswith("127.") and bound.getsockname()[0] != "::1":
            click.echo(
                f"warning: {host} is not a loopback address, so other machines can reach this server"
                + ("" if api_auth else "; it asks for no password (--api-auth)"),
                err=True,
            )
        run_until_stopped(bound, job_ms=job_ms, api_auth=api_auth, with_page=with_page)
