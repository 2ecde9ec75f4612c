"""`sdclient status` and `sdclient retry`."""

from __future__ import annotations

from pathlib import Path

import click

from sdcore.cli import Output


@click.command(epilog="Example: sdclient status output")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(output: Path, as_json: bool) -> None:
    """Show how far OUTPUT is, by class, and why images were given up; also while a run is at work."""
    from ..manifest_progress import STATUSES
    from ..status import read_status

    found = read_status(output)
    out = Output(json=as_json)
    failures = [{"class": name, "reason": why, "images": n} for (name, why), n in sorted(found.failures.items())]
    out.document(
        {
            "classes": found.by_class,
            "all": {name: found.total(name) for name in STATUSES},
            "failures": failures,
            "complete": found.is_complete,
        }
    )
    out.table(
        ("class 类别", "done 完成", "running 进行中", "planned 待生成", "failed 失败"),
        [(name, *(str(counts[one]) for one in STATUSES)) for name, counts in found.by_class.items()],
        totals=[("all 全部", *(str(found.total(one)) for one in STATUSES))],
    )
    for (name, why), images in sorted(found.failures.items()):
        out.line(f"failed: {name}: {images} x {why}")
    if found.failures:
        out.line(f"'sdclient retry {output}' plans the failed ones again")


@click.command(epilog="Example: sdclient retry output, then the same command as before again")
@click.argument("output", type=click.Path(path_type=Path))
def retry(output: Path) -> None:
    """Plan the images of OUTPUT that were given up once more."""
    from ..status import retry_failed

    out = Output()
    images = retry_failed(output)
    if images:
        out.line(f"{images} failed images are planned again; run the command that made OUTPUT again to make them")
    else:
        out.line("no image has failed; nothing to do")
