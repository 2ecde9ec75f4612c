"""`sdclient status` and `sdclient retry`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(epilog="Example: sdclient status output")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(output: Path, as_json: bool) -> None:
    """Show how far OUTPUT is, by class, and why images were given up; also while a run is at work."""
    from ..manifest_progress import STATUSES
    from ..status import read_status

    found = read_status(output)
    if as_json:
        failures = [{"class": name, "reason": why, "images": n} for (name, why), n in sorted(found.failures.items())]
        click.echo(
            json.dumps(
                {
                    "classes": found.by_class,
                    "all": {name: found.total(name) for name in STATUSES},
                    "failures": failures,
                    "complete": found.is_complete,
                },
                ensure_ascii=False,
            )
        )
        return
    from rich.table import Table

    from ._console import console

    table = Table("class 类别", "done 完成", "running 进行中", "planned 待生成", "failed 失败")
    for name, counts in found.by_class.items():
        table.add_row(name, *(str(counts[one]) for one in STATUSES))
    table.add_section()
    table.add_row("all 全部", *(str(found.total(one)) for one in STATUSES))
    console().print(table)
    for (name, why), images in sorted(found.failures.items()):
        click.echo(f"failed: {name}: {images} x {why}")
    if found.failures:
        click.echo(f"'sdclient retry {output}' plans the failed ones again")


@click.command(epilog="Example: sdclient retry output, then the same command as before again")
@click.argument("output", type=click.Path(path_type=Path))
def retry(output: Path) -> None:
    """Plan the images of OUTPUT that were given up once more."""
    from ..status import retry_failed

    images = retry_failed(output)
    if images:
        click.echo(f"{images} failed images are planned again; run the command that made OUTPUT again to make them")
    else:
        click.echo("no image has failed; nothing to do")
