"""The seam gone over by a WebUI: only the seam changes, and the record says who did what."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from sdclient.batch import GenerationSettings
from sdclient.compose import share_evenly
from sdclient.compose.refine import TRIES, SeamRefiner
from sdclient.errors import OutputError, ServerUnreachable
from sdclient.manifest import ImageRecord, Manifest
from sdclient.masks.mask import box_of, read_mask
from sdclient.output.upkeep import verify
from sdclient.sources import discover
from sdclient.testing import WebUIServer, serve_webui
from tests.support.compose_material import Material

HOW = GenerationSettings(denoising_strength=0.15, native_px=64, sampler="DPM++ SDE Karras", steps=4)
ENGINES = "transplant (classical, no generator); seam refined by classical, not Stable Diffusion"


@pytest.fixture
def server() -> Iterator[WebUIServer]:
    with serve_webui() as server:
        yield server


def make(material: Material, server: WebUIServer, per_class: int = 1, **changes: object) -> dict[str, ImageRecord]:
    with server.client() as webui:
        composer = material.composer(refiner=SeamRefiner(webui, HOW.model_copy(update=changes)))
        list(composer.run(share_evenly(discover(material.defects), per_class)))
    with Manifest(material.output) as manifest:
        return {record.file: record for record in manifest.images()}


def test_only_the_seam_changes_and_both_engines_are_named(material: Material, server: WebUIServer) -> None:
    plain = material.composer(output=material.root / "plain")
    list(plain.run(share_evenly(discover(material.defects), 1)))
    for file, record in make(material, server).items():
        before = np.asarray(Image.open(material.root / "plain" / file)).astype(int)
        after = np.asarray(Image.open(material.output / file)).astype(int)
        base = np.asarray(Image.open(material.good / record.other_parents[0].source))
        first = np.asarray(read_mask(material.root / "plain" / "_masks" / file, (record.width, record.height)))
        mask = read_mask(material.output / record.mask, (record.width, record.height))
        changed = (before != after).any(axis=2)
        assert changed.any()
        assert np.array_equal(after[np.asarray(mask) == 0], base[np.asarray(mask) == 0])
        assert (np.asarray(mask) >= first).all()
        middle = tuple(np.argwhere(first == 255).mean(axis=0).round().astype(int))
        assert (before[middle] == after[middle]).all()
        assert record.engine == ENGINES
        assert record.server == server.url
        assert record.model.startswith("classical-engine-not-stable-diffusion")
        assert record.asked["refine"]["denoising_strength"] == 0.15
        assert record.used["box"] == list(box_of(mask))
        with Image.open(material.output / file) as image:
            assert json.loads(image.text["sdclient"])["engine"] == ENGINES  # type: ignore[attr-defined]
            assert "Denoising strength: 0.15" in image.text["parameters"]  # type: ignore[attr-defined]
    assert verify(material.output).is_sound


def test_the_server_gets_the_seam_as_its_mask(material: Material, server: WebUIServer) -> None:
    make(material, server)
    body = server.jobs[0].body
    assert body["denoising_strength"] == 0.15
    assert body["inpainting_fill"] == 1
    assert body["mask_blur"] == 0
    assert body["mask"]


def test_other_words_for_the_server_are_other_parameters(material: Material, server: WebUIServer) -> None:
    make(material, server)
    with pytest.raises(OutputError, match=r"other parameters \(refine was"):
        make(material, server, denoising_strength=0.3)


def test_a_failing_server_is_asked_again_and_then_the_image_is_given_up(
    material: Material, server: WebUIServer
) -> None:
    server.faults.nan()
    assert len(make(material, server)) == 2
    server.faults.nan(times=TRIES)
    made = make(material, server, per_class=2)
    assert len(made) == 3
    with Manifest(material.output) as manifest:
        failed = [state for state in manifest.states() if state.status == "failed"]
    assert len(failed) == 1
    assert failed[0].reason.startswith("seam not refined: ")


def test_a_missing_server_is_reported_before_the_first_image(material: Material) -> None:
    from sdclient.client import RetryPolicy, WebUI

    with WebUI("http://127.0.0.1:9", retries=RetryPolicy(attempts=1)) as webui, pytest.raises(ServerUnreachable):
        SeamRefiner(webui, HOW)
    assert not material.output.exists()
