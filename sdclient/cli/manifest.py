"""`sdclient manifest`."""

from __future__ import annotations

from pathlib import Path

import click

from sdcore.cli import Output


@click.command(epilog="Example: sdclient manifest output --csv -o images.csv")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--csv", "kind", flag_value="csv", help="A table that opens in a spreadsheet.")
@click.option("--jsonl", "kind", flag_value="jsonl", default="jsonl", help="One JSON object a line (the default).")
@click.option(
    "-o", "target", type=click.Path(path_type=Path, dir_okay=False), help="File to write; default the screen."
)
def manifest(output: Path, kind: str, target: Path | None) -> None:
    """Export the record of every image of OUTPUT that is done."""
    from sdcore.files import open_atomically

    from ..manifest_export import export_csv, export_jsonl

    export = export_csv if kind == "csv" else export_jsonl
    out = Output()
    if target is None:
        with out.rows() as stream:
            export(output, stream)
        return
    with open_atomically(target, encoding="utf-8-sig" if kind == "csv" else "utf-8") as stream:
        count = export(output, stream)
    out.line(f"{count} images written to {target}")
