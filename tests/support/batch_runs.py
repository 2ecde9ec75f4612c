"""A run of the batch runner on a fake WebUI, and what it left."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings
from sdclient.cli import cli
from sdclient.client import WebUI
from sdclient.manifest import ImageRecord, Manifest
from sdclient.sources import discover
from tests.support.fake_webui import FakeWebUI

PLANNED = {f"{source}_{k}.png" for source in ("焊盘/2", "焊盘/10", "dirt/1") for k in (1, 2, 3)}


def settings(**changes: Any) -> GenerationSettings:
    return GenerationSettings.checked({"native_px": 64, "batch_size": 2, **changes})


def run(
    webui: WebUI, sources: Path, output: Path, *, per_source: int = 3, patience_s: float = 60.0, **changes: Any
) -> list[ImageRecord]:
    runner = BatchRunner(webui, sources, output, settings(**changes), GenerateOptions(patience_s=patience_s))
    return list(runner.run([(source, per_source) for source in discover(sources)]))


def image_hashes(output: Path) -> dict[str, str]:
    """Every file below the output's class folders, with its sha256."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.glob("*/*"))
        if path.is_file()
    }


def recorded(output: Path) -> dict[str, str]:
    with Manifest(output) as manifest:
        return {record.file: record.sha256 for record in manifest.images()}


def invoke(fake: FakeWebUI, *arguments: str) -> Any:
    return CliRunner().invoke(cli, ["generate", *arguments, "--native-size", "64", "--url", fake.url])
