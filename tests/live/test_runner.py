"""The batch runner on two sources, started twice."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from sdclient.batch import BatchRunner, GenerationSettings
from sdclient.errors import UnknownSetting
from sdclient.manifest import Manifest
from sdclient.sources import discover
from tests.support.live import Live, picture

PER_SOURCE = 3


def sampler_of(live: Live) -> str:
    """The runner's default sampler, or the server's first where it lacks that one."""
    default = GenerationSettings().sampler
    try:
        live.webui.dialect.resolve(default, None)
    except UnknownSetting:
        return live.webui.samplers()[0].name
    return default


def test_two_sources_are_walked_and_a_second_start_makes_none(live: Live, tmp_path: Path) -> None:
    sources, output = tmp_path / "sources", tmp_path / "out"
    (sources / "焊盘").mkdir(parents=True)
    picture(live.size_px).save(sources / "焊盘" / "1.png")
    picture(live.size_px).convert("L").resize((90, 60)).save(sources / "焊盘" / "2.png")
    settings = GenerationSettings.checked(
        {"native_px": live.size_px, "steps": 4, "batch_size": 2, "sampler": sampler_of(live)}
    )
    owed = [(source, PER_SOURCE) for source in discover(sources)]

    made = list(BatchRunner(live.webui, sources, output, settings).run(owed))
    assert {record.file for record in made} == {f"焊盘/{n}_{k}.png" for n in (1, 2) for k in (1, 2, 3)}
    for record in made:
        file = output / record.file
        assert hashlib.sha256(file.read_bytes()).hexdigest() == record.sha256
        with Image.open(file) as image, Image.open(sources / record.source) as source:
            assert (image.size, image.mode) == (source.size, source.mode)
            assert image.info["parameters"] == record.infotext

    assert list(BatchRunner(live.webui, sources, output, settings).run(owed)) == []
    with Manifest(output) as manifest:
        assert len(list(manifest.images())) == len(made)
