"""Runs with masks against the embedded server: outside the mask nothing changes, inside it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec
from sdclient.batch.servers import ServerFacts
from sdclient.client import WebUI
from sdclient.errors import MaskError, OutputError
from sdclient.manifest import Manifest
from sdclient.masks.mask import box_of, grow_and_feather, mask_path, read_mask, write_mask
from sdclient.output.artifacts import find_artifacts
from sdclient.output.planned_images import image_keys
from sdclient.sources import Source, discover
from sdclient.sources.source import generation_size
from sdclient.testing import WebUIServer, serve_webui
from sdcore.errors import SettingsError
from tests.support.masked_runs import add_source, board, check_masks, repaint


@pytest.fixture
def server() -> Iterator[WebUIServer]:
    with serve_webui() as server:
        yield server


@pytest.fixture
def webui(server: WebUIServer) -> Iterator[WebUI]:
    with server.client() as client:
        yield client


def outside_and_inside(folder: Path, file: str, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels changed: where the recorded mask is 0, and where it is 255."""
    with Manifest(folder / "out") as manifest:
        record = next(record for record in manifest.images() if record.file == file)
    with Image.open(folder / "sources" / source) as image:
        original = np.asarray(image)
    with Image.open(folder / "out" / file) as image:
        made = np.asarray(image)
    assert made.shape == original.shape
    mask = np.asarray(read_mask(folder / "out" / record.mask, (record.width, record.height)))
    changed = (made != original) if made.ndim == 2 else (made != original).any(axis=2)
    return changed[mask == 0], changed[mask == 255]


@pytest.mark.parametrize("area", ["masked", "whole"])
@pytest.mark.parametrize("fill", ["original", "fill", "latent-noise", "latent-nothing"])
def test_outside_nothing_changes_and_inside_it_does(webui: WebUI, tmp_path: Path, area: str, fill: str) -> None:
    add_source(tmp_path, "pad/1.png", board((97, 61)), (30, 20, 52, 41))
    add_source(tmp_path, "pad/2.png", board((64, 96), "L"), (0, 80, 20, 96))
    # Without the check for noise: the embedded engine leaves the noise that an area was filled with.
    records = repaint(webui, tmp_path, inpaint_area=area, inpaint_fill=fill, check=None)
    assert [record.asked["inpainting_fill"] for record in records] == [
        {"fill": 0, "original": 1, "latent-noise": 2, "latent-nothing": 3}[fill]
    ] * 4
    for name in ("1", "2"):
        for k in (1, 2):
            outside, inside = outside_and_inside(tmp_path, f"pad/{name}_{k}.png", f"pad/{name}.png")
            assert outside.size > 0
            assert not outside.any()
            assert inside.mean() > 0.8
    check_masks(tmp_path / "out")


def test_noise_inside_a_small_mask_is_found(webui: WebUI, tmp_path: Path) -> None:
    """On the whole image it would hide among what is the source itself."""
    add_source(tmp_path, "pad/1.png", board((96, 96)), (40, 40, 60, 60))
    seen: list[str | None] = []

    def check(image: Image.Image, source: Image.Image, changed: tuple[int, int, int, int] | None) -> str | None:
        assert find_artifacts(image, source) is None
        seen.append(find_artifacts(image, source, changed))
        return None

    repaint(webui, tmp_path, inpaint_area="whole", inpaint_fill="latent-noise", native_px=256, check=check)
    assert all(reason is not None and reason.startswith("rainbow noise") for reason in seen)
    seen.clear()
    repaint(webui, tmp_path, per_source=4, inpaint_area="whole", native_px=256, check=check, out="other")
    assert seen == [None] * 4


@pytest.mark.parametrize("area", ["masked", "whole"])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((96, 96), (40, 40, 41, 41)),  # a single pixel
        ((33, 200), (0, 0, 3, 200)),  # along a border of an odd strip
        ((700, 500), (640, 460, 700, 500)),  # larger than what is generated, in a corner
        ((96, 96), (0, 0, 96, 96)),  # everything
    ],
)
def test_masks_of_any_place_and_size_are_repainted(
    webui: WebUI, tmp_path: Path, area: str, size: Any, box: Any
) -> None:
    add_source(tmp_path, "pad/1.png", board(size), box)
    repaint(webui, tmp_path, per_source=1, inpaint_area=area, mask_blur=0)
    outside, inside = outside_and_inside(tmp_path, "pad/1_1.png", "pad/1.png")
    assert not outside.any()
    assert inside.any()


@pytest.mark.parametrize("padding", [0, 5, 400])
def test_the_padding_is_sent_in_px_of_the_source(webui: WebUI, tmp_path: Path, padding: int) -> None:
    add_source(tmp_path, "pad/1.png", board((96, 80)), (30, 30, 50, 50))
    (record,) = repaint(webui, tmp_path, per_source=1, inpaint_padding=padding)
    assert record.asked["inpaint_full_res_padding"] == padding
    assert not outside_and_inside(tmp_path, "pad/1_1.png", "pad/1.png")[0].any()


def test_with_the_masked_area_alone_the_source_is_sent_as_large_as_it_is(
    server: WebUIServer, webui: WebUI, tmp_path: Path
) -> None:
    """So that shrinking a large photograph to the model's size loses nothing of it."""
    add_source(tmp_path, "pad/1.png", board((700, 500)), (300, 200, 340, 230))
    (record,) = repaint(webui, tmp_path, per_source=1)
    assert (record.asked["width"], record.asked["height"]) == generation_size(700, 500, native_px=128)
    assert record.asked["inpaint_full_res"] is True
    assert record.asked["mask_blur"] == 0
    outside, inside = outside_and_inside(tmp_path, "pad/1_1.png", "pad/1.png")
    assert not outside.any()
    assert inside.mean() > 0.8


@pytest.mark.parametrize("kind", ["grey 16 bit", "transparent", "turned"])
def test_outside_the_mask_the_sources_8_bit_upright_form_is_kept(webui: WebUI, tmp_path: Path, kind: str) -> None:
    image = board((80, 48))
    if kind == "grey 16 bit":
        deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        add_source(tmp_path, "pad/1.png", deep, (30, 20, 50, 30))
        expected = np.asarray(image.convert("L"))
    elif kind == "transparent":
        clear = image.convert("RGBA")
        clear.putalpha(0)
        clear.paste(image.crop((0, 0, 40, 48)), (0, 0))
        add_source(tmp_path, "pad/1.png", clear, (10, 10, 30, 30))
        expected = np.asarray(image).copy()
        expected[:, 40:] = 255
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter to the right
        add_source(tmp_path, "pad/1.png", image, None)
        image.save(tmp_path / "sources" / "pad" / "1.png", exif=exif)
        mask = Image.new("L", (48, 80))
        mask.paste(255, (10, 10, 20, 40))
        write_mask(tmp_path / "masks" / "pad" / "1.png", mask)
        expected = np.rot90(np.asarray(image), -1)
    (record,) = repaint(webui, tmp_path, per_source=1)
    mask_pixels = np.asarray(read_mask(tmp_path / "out" / record.mask, (record.width, record.height)))
    with Image.open(tmp_path / "out" / record.file) as image:
        made = np.asarray(image)
    assert made.shape == expected.shape
    assert (made[mask_pixels == 0] == expected[mask_pixels == 0]).all()
    assert (made[mask_pixels == 255] != expected[mask_pixels == 255]).any()


def test_the_mask_beside_a_result_has_the_feather_and_holds_every_change(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "漏铜/1.png", board((96, 96)), (40, 40, 60, 60))
    (record,) = repaint(webui, tmp_path, per_source=1, mask_blur=3)
    mask = read_mask(tmp_path / "out" / record.mask, (96, 96))
    assert box_of(mask) == (37, 37, 63, 63)
    assert mask.crop((40, 40, 60, 60)).getextrema() == (255, 255)
    assert 0 < mask.getpixel((38, 50)) < 255  # type: ignore[operator]


def test_a_feather_of_its_own_is_kept(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((96, 96)), (40, 40, 60, 60))
    soft = Image.new("L", (96, 96))
    soft.paste(90, (30, 30, 70, 70))
    soft.paste(255, (40, 40, 60, 60))
    write_mask(tmp_path / "masks" / "pad" / "1.png", soft)
    (record,) = repaint(webui, tmp_path, per_source=1)
    assert read_mask(tmp_path / "out" / record.mask, (96, 96)).tobytes() != soft.tobytes()  # 10 px of 90 are no ramp
    feathered = grow_and_feather(soft, grow_px=0, feather_px=3)
    write_mask(tmp_path / "masks" / "pad" / "1.png", feathered)
    (record,) = repaint(webui, tmp_path, per_source=1, out="other")
    assert read_mask(tmp_path / "other" / record.mask, (96, 96)).tobytes() == feathered.tobytes()


def test_a_second_run_requests_nothing(server: WebUIServer, webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    assert len(repaint(webui, tmp_path)) == 2
    assert len(server.jobs) == 1
    assert repaint(webui, tmp_path) == []
    assert len(server.jobs) == 1


def test_another_mask_is_another_image(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    repaint(webui, tmp_path)
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 41))
    with pytest.raises(OutputError, match=r"pad/1_1\.png: was made from another picture, or with another mask"):
        repaint(webui, tmp_path)


@pytest.mark.parametrize("change", [{"inpaint_fill": "fill"}, {"mask_blur": 3}, {"inpaint_padding": 31}])
def test_other_inpainting_parameters_are_refused(webui: WebUI, tmp_path: Path, change: dict[str, Any]) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    repaint(webui, tmp_path)
    (name,) = change
    with pytest.raises(OutputError, match=f"other parameters.*{name} was"):
        repaint(webui, tmp_path, **change)


def test_an_output_without_masks_does_not_go_on_with_them(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    repaint(webui, tmp_path, masks=None)
    with pytest.raises(OutputError, match="inpaint_area was None, now 'masked'"):
        repaint(webui, tmp_path)


def test_without_masks_keys_and_run_are_what_they_were_before_there_were_any() -> None:
    """The texts below were written by the version before masks; outputs made by it must go on."""
    server = ServerFacts("model", 512, {("DPM++ SDE Karras", None): "DPM++ SDE Karras"})
    spec = RunSpec.from_settings(GenerationSettings())
    parameters = spec.parameters_for(Source("pad", 1, Path("1.png")), 1, 7)
    former = {
        "denoising_strength": 0.25,
        "sampler": "DPM++ SDE Karras",
        "steps": 20,
        "cfg_scale": 7.0,
        "prompt": "",
        "negative_prompt": "",
        "native_px": 512,
        "model": "model",
        "seed": 0,
    }
    assert server.identity(parameters, 0) == former
    assert server.describe_run(spec) == former
    key = image_keys("ab", server.identity(parameters, 0))(7)
    assert key == "b8544019d994efeb6d9b555e9e1fff39daf71e390ed5b83c8af03a7a72640eaf"
    masked = spec.parameters_for(Source("pad", 1, Path("1.png")), 1, 7, mask_sha256="cd")
    assert server.identity(masked, 0) == {
        **former,
        "inpaint_fill": "original",
        "inpaint_area": "masked",
        "inpaint_padding": 32,
        "mask_blur": 2,
        "mask_sha256": "cd",
    }


def test_settings_of_inpainting_without_masks_are_refused(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), None)
    with pytest.raises(SettingsError, match="mask_blur is 5, but the run has no masks; add --masks DIR"):
        repaint(webui, tmp_path, masks=None, mask_blur=5)
    spec = RunSpec.from_mapping({"class": {"pad": {"inpaint_fill": "fill"}}}, origin="run.toml")
    with pytest.raises(SettingsError, match=r'run\.toml: \[class\."pad"\]: inpaint_fill is \'fill\''):
        spec.refuse_inpainting()


def test_a_missing_mask_is_named_before_any_request(server: WebUIServer, webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    add_source(tmp_path, "pad/2.png", board((64, 64)), None)
    add_source(tmp_path, "pad/3.png", board((64, 64)), None)
    with pytest.raises(MaskError, match=r"2\.png: no such mask, nor those of 1 more source.*--unmasked skip"):
        repaint(webui, tmp_path)
    assert server.jobs == ()
    assert not (tmp_path / "out").exists()


def test_sources_without_a_mask_can_be_skipped_or_made_whole(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    add_source(tmp_path, "pad/2.png", board((64, 64)), None)
    assert {r.file for r in repaint(webui, tmp_path, unmasked="skip")} == {"pad/1_1.png", "pad/1_2.png"}
    rest = repaint(webui, tmp_path, unmasked="allow")
    assert {(r.file, r.mask) for r in rest} == {("pad/2_1.png", ""), ("pad/2_2.png", "")}
    assert "inpaint_full_res_padding" in rest[0].asked  # the API's own default
    assert "mask_sha256" not in rest[0].asked


@pytest.mark.parametrize("unmasked", ["skip", "allow"])
def test_a_folder_without_any_mask_is_the_wrong_one(webui: WebUI, tmp_path: Path, unmasked: str) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), None)
    with pytest.raises(MaskError, match=r"no such folder; expected masks as masks/<class>/1\.png"):
        repaint(webui, tmp_path, unmasked=unmasked)
    (tmp_path / "masks").mkdir()
    with pytest.raises(MaskError, match="no such mask, nor any of the other sources; check the folder"):
        repaint(webui, tmp_path, unmasked=unmasked)


@pytest.mark.parametrize("level", [0, 127])
def test_a_mask_that_covers_nothing_is_refused(webui: WebUI, tmp_path: Path, level: int) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), None)
    write_mask(tmp_path / "masks" / "pad" / "1.png", Image.new("L", (64, 64), level))
    with pytest.raises(MaskError, match=r"1\.png: covers nothing"):
        repaint(webui, tmp_path)


def test_a_mask_that_changes_meanwhile_stops_the_run(webui: WebUI, tmp_path: Path) -> None:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    add_source(tmp_path, "pad/2.png", board((64, 64)), (20, 20, 40, 40))
    runner = BatchRunner(
        webui,
        tmp_path / "sources",
        tmp_path / "out",
        GenerationSettings.checked({"native_px": 64, "steps": 4}),
        GenerateOptions(masks=tmp_path / "masks"),
    )

    def change(_: object) -> None:
        write_mask(mask_path(tmp_path / "masks", discover(tmp_path / "sources")[1]), Image.new("L", (64, 64), 255))

    with pytest.raises(MaskError, match=r"2\.png: changed during the run"):
        list(runner.run([(source, 1) for source in discover(tmp_path / "sources")], on_start=change))


def test_a_class_and_a_source_can_have_inpainting_of_their_own(webui: WebUI, tmp_path: Path) -> None:
    for name in ("pad/1.png", "pad/2.png", "dirt/1.png"):
        add_source(tmp_path, name, board((64, 64)), (20, 20, 40, 40))
    values = {
        "native_px": 64,
        "steps": 4,
        "class": {"pad": {"inpaint_fill": "latent-noise", "denoising_strength": 0.7}},
        "source": {"pad/2.png": {"inpaint_area": "whole", "mask_blur": 0}},
    }
    spec = RunSpec.from_mapping(values, origin="run.toml")
    runner = BatchRunner(webui, tmp_path / "sources", tmp_path / "out", spec, GenerateOptions(masks=tmp_path / "masks"))
    made = {r.file: r.asked for r in runner.run([(source, 1) for source in discover(tmp_path / "sources")])}
    assert {file: (asked["inpainting_fill"], asked["inpaint_full_res"]) for file, asked in made.items()} == {
        "pad/1_1.png": (2, True),
        "pad/2_1.png": (2, False),
        "dirt/1_1.png": (1, True),
    }
    hard = read_mask(tmp_path / "out" / "_masks" / "pad" / "2_1.png", (64, 64))
    assert sorted(json.loads(json.dumps(hard.getcolors()))) == [[400, 255], [3696, 0]]
