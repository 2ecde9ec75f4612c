"""`trainer check`."""

from __future__ import annotations

from pathlib import Path

import click

_SHOWN = 20


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def check(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Find the files below DIR that cannot be trained on; nothing is changed.

    Every file is read to its end. Broken and empty pictures, files that are no pictures, and what operating
    systems leave behind (.DS_Store, Thumbs.db and their kin) go to DIR/check_error.txt, one a line with its
    reason. Exit code 1 when there is any; otherwise the check_error.txt of an earlier check is removed.

    \b
    Example:
      trainer check photos
    """
    import json

    from ..check import REPORT_NAME, check_folder, write_report

    result = check_folder(folder, progress=True)
    if as_json:
        bad = [{"file": entry.file, "reason": entry.reason} for entry in result.bad]
        click.echo(json.dumps({"good": result.good, "bad": bad}, ensure_ascii=False, indent=2))
    else:
        for entry in result.bad[:_SHOWN]:
            click.echo(f"{entry.file}: {entry.reason}")
        if len(result.bad) > _SHOWN:
            click.echo(f"... and {len(result.bad) - _SHOWN} more")
    was_there = (folder / REPORT_NAME).is_file()
    report = write_report(result)
    if not as_json:
        click.echo(f"{result.good} good pictures, {len(result.bad)} bad files" + (f": see {report}" if report else ""))
        if was_there and report is None:
            click.echo(f"removed {folder / REPORT_NAME}, it was of an earlier check")
    if result.bad:
        ctx.exit(1)
