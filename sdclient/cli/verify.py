"""`sdclient verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sdcore.cli import Output


@click.command(epilog="Example: sdclient verify output --repair")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Plan damaged images again and move files without a row to .orphans.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(output: Path, repair: bool, as_json: bool) -> None:
    """Read every file of OUTPUT against its manifest: bytes, size, infotext; exit code 1 when one does not fit."""
    from sdcore.progress import progress_bar

    from ..verify import verify as verify_output

    found = verify_output(output, repair=repair, track=progress_bar)
    out = Output(json=as_json)
    out.document(lambda: {**asdict(found), "sound": found.is_sound})
    for finding in (*found.damaged, *found.orphans):
        out.line(f"{finding.file}: {finding.problem}")
    out.line(f"{found.images} images read: {len(found.damaged)} damaged, {len(found.orphans)} files without a row")
    if repair and not found.is_sound:
        out.line("repaired; run the command that made OUTPUT again to make what is missing")
    if not found.is_sound and not repair:
        raise click.exceptions.Exit(1)
