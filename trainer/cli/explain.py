"""`trainer explain`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGES", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default=Path("explained"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="New or empty folder to write into.",
)
@click.option("--class", "class_name", metavar="NAME", help="Explain this class, in every image.")
@click.option(
    "--normal", default="Normal", show_default=True, metavar="NAME", help="The class of images without a defect."
)
@click.option("--even-normal", is_flag=True, help="Images predicted Normal too: what in them speaks most for a defect.")
@click.option("--limit", type=int, metavar="N", help="The first N images only.")
@click.option("--batch-size", default=32, show_default=True, help="Images a step.")
@click.option("--threads", default=1, show_default=True, help="CPU threads; small images do not gain from more.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--json", "as_json", is_flag=True, help="Print the rows of explain.csv as one JSON document.")
def explain(
    run: Path,
    images: Path,
    output: Path,
    class_name: str | None,
    normal: str,
    even_normal: bool,
    limit: int | None,
    batch_size: int,
    threads: int,
    device: str,
    as_json: bool,
) -> None:
    """Show where the classifier of RUN looked, in every image below IMAGES (or in one image).

    DIR gets overlays/<image>.png (the image, and its heat map with a box around the hottest region), explain.csv
    (boxes in pixels of the upright image) and index.html to look through. The heat is what speaks for a defect
    and against Normal; images predicted Normal get none.

    \b
    Examples:
      trainer explain runs/baseline data/test -o explained
      trainer explain runs/baseline data/test/open --class short --limit 20 --json
    """
    import json

    from ..explain import ANY_DEFECT, ExplainOptions, explanation_as_row
    from ..explain import explain as explain_images
    from ..report.explanations import PAGE_NAME, check_output, write_folder

    check_output(output, images)
    options = ExplainOptions(
        class_name=class_name,
        normal=normal,
        even_normal=even_normal,
        limit=limit,
        batch_size=batch_size,
        device=device,
        threads=threads,
    )
    found = explain_images(run, images, options)
    written = write_folder(output, found)
    if class_name is None and any(row.explained not in ("", ANY_DEFECT) for row in written.rows):
        click.echo(
            f"No class is named {normal!r}, so the predicted class is explained in every image; "
            "name the class without defects with --normal",
            err=True,
        )
    if as_json:
        click.echo(json.dumps([explanation_as_row(row) for row in written.rows], ensure_ascii=False, indent=2))
        return
    boxes = sum(row.box is not None for row in written.rows)
    click.echo(f"{len(written.rows)} images, {boxes} with a box; look at {output / PAGE_NAME}")
    for instead, name in written.legend.items():
        click.echo(f"no font here can write {name}; in the overlays it is {instead!r}")
