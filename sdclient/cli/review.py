"""`sdclient review`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from sdcore.cli import Output, open_page

EPILOG = """\b
Example:
  sdclient review output
  sdclient review output --masks masks --lang zh"""


@click.command(epilog=EPILOG)
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--sources", type=click.Path(path_type=Path), help="Where the sources are now, if they were moved.")
@click.option(
    "--masks",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for masks: the page then lets you draw on the sources.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="a free one", help="Port on this machine."
)
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the page.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in the browser.")
@click.option("--json", "as_json", is_flag=True, help="The address as JSON, then at the end what was decided.")
def review(
    output: Path,
    sources: Path | None,
    masks: Path | None,
    port: int,
    lang: Literal["en", "zh"],
    no_browser: bool,
    as_json: bool,
) -> None:
    """Go through the images of OUTPUT on a page in the browser, by key: accept, reject, undo.

    The page is served on this machine alone and its address holds a secret. Every key is kept in the manifest, so that
    closing loses nothing and two pages do not overwrite each other. Stop it with Ctrl-C.
    """
    from ..errors import MissingExtra

    try:
        from ..curate.review import serve_review
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient review'", "curate") from error
    out = Output(json=as_json)
    done = serve_review(
        output,
        sources=sources,
        masks=masks,
        port=port,
        language=lang,
        on_ready=open_page(out, "sdclient review", open_browser=not no_browser),
    )
    decided = done.decided
    out.document(
        {
            "accepted": decided.accepted,
            "rejected": decided.rejected,
            "cleared": decided.cleared,
            "masks": done.masks,
        },
        one_line=True,
    )
    total = decided.accepted + decided.rejected
    out.line(f"decided {total}: {decided.accepted} accepted 采用, {decided.rejected} rejected 剔除")
    if decided.cleared:
        out.line(f"{decided.cleared} given back to the filters")
    if masks is not None:
        out.line(f"masks drawn for {done.masks} sources in {masks}")
