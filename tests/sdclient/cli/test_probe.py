"""`sdclient probe` against the embedded server."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageChops, ImageDraw

from sdclient import probe as probing
from sdclient.cli import cli
from sdclient.errors import ServerUnreachable
from sdclient.masks.mask import write_mask
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.serve.classical_engine import ClassicalEngine


class TooSmallIsNoise:
    """Does what a model does: rainbow noise at a size it was not trained for, and no memory for a large one."""

    name = "classical engine with faults, not Stable Diffusion"

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        if source.width > 256:
            raise RuntimeError("CUDA out of memory")
        if source.width < 128:
            side = source.width // 8
            noise = Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3))
            return Image.blend(source, noise.resize(source.size), 0.6)
        return ClassicalEngine().vary(source, strength=strength, seed=seed)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for class_name in ("scratch", "焊盘 氧化"):
        folder = tmp_path / "sources" / class_name
        folder.mkdir(parents=True)
        for number in (1, 2, 10):
            image = Image.new("L" if class_name == "scratch" else "RGB", (48, 48), 120)
            ImageDraw.Draw(image).ellipse((10, 10 + number, 30, 30), fill=200)
            image.save(folder / f"{number}.png")
    return tmp_path / "sources"


def probe(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["probe", *map(str, arguments)])


def test_one_sheet_shows_every_source_and_setting_and_a_table_sums_up(sources: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "探针.png"
    with running_server() as server:
        result = probe(
            sources, sheet, "--url", server.url, "--sizes", "64,128", "--strengths", "0.2,0.3", "--samplers", "Euler a"
        )
    assert result.exit_code == 0, result.output
    assert "16/16" in result.stderr
    rows = [line for line in result.stdout.splitlines() if "Euler a" in line and "│" in line]
    assert [[cell.strip() for cell in row.strip("│").split("│")][1:6] for row in rows] == [
        ["64", "0.2", "Euler a", "0.00", "0 of 4"],
        ["64", "0.3", "Euler a", "0.00", "0 of 4"],
        ["128", "0.2", "Euler a", "0.00", "0 of 4"],
        ["128", "0.3", "Euler a", "0.00", "0 of 4"],
    ]
    assert 'denoising-strength 0.2 --sampler "Euler a"' in result.stdout
    assert "look at the sheet" in result.stdout
    with Image.open(sheet) as image:
        assert image.format == "PNG"
        assert image.width > 5 * 192
        assert image.height > 4 * 192


def test_noise_at_a_size_too_small_is_found_and_another_suggested(sources: Path, tmp_path: Path) -> None:
    with running_server(EmbeddedServerOptions(engine=TooSmallIsNoise())) as server:
        result = probe(sources, tmp_path / "probe", "--url", server.url, "--sizes", "64,128,320", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    by_size = {entry["setting"]["native_px"]: entry for entry in found["settings"]}
    assert len(found["settings"]) == 9
    assert by_size[64]["spoiled"] == 4
    assert by_size[64]["mean_noise_score"] > 0.5
    assert by_size[64]["reasons"][0].startswith("rainbow noise (score ")
    assert by_size[128]["spoiled"] == 0
    assert by_size[320]["mean_noise_score"] is None
    assert "out of memory" in by_size[320]["reasons"][0]
    assert found["suggested"] == {"native_px": 128, "denoising_strength": 0.25, "sampler": "DPM++ SDE Karras"}


def test_means_in_the_json_are_the_means_of_its_images(sources: Path, tmp_path: Path) -> None:
    with running_server(EmbeddedServerOptions(engine=TooSmallIsNoise())) as server:
        result = probe(sources, tmp_path / "p.png", "--url", server.url, "--sizes", "64", "--json")
    found = json.loads(result.stdout)
    for entry in found["settings"]:
        of_setting = [image for image in found["images"] if image["setting"] == entry["setting"]]
        scores = [image["noise_score"] for image in of_setting]
        assert len(scores) == 4
        assert entry["mean_noise_score"] == pytest.approx(sum(scores) / 4)
        assert entry["seconds_per_image"] == pytest.approx(sum(image["seconds"] for image in of_setting) / 4)


def test_a_folder_gets_the_sheet_and_each_image_in_its_sources_form(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running_server() as server:
        result = probe(sources, out, "--url", server.url, "--sizes", "64", "--strengths", "0.2,0.3")
    assert result.exit_code == 0, result.output
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    images = [f"{name}/{n}_{k}.png" for name in ("scratch", "焊盘 氧化") for n in (1, 2) for k in (1, 2)]
    assert files == sorted(["contact_sheet.png", *images])
    with Image.open(out / "scratch" / "1_1.png") as image:
        assert (image.size, image.mode) == ((48, 48), "L")
    assert (out / "scratch/1_1.png").read_bytes() != (out / "scratch/1_2.png").read_bytes()


def test_an_existing_sheet_or_folder_is_not_overwritten(sources: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "probe.png"
    sheet.write_bytes(b"mine")
    assert probe(sources, sheet, "--url", "http://127.0.0.1:1").exit_code == 1
    assert sheet.read_bytes() == b"mine"
    result = probe(sources, sources, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "not overwritten" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--sizes", "512,big"], 2, "'big' in '512,big'"),
        (["--sizes", ""], 2, "expected values parted by commas"),
        (["--samplers", "Euler,,DDIM"], 2, "an empty value"),
        (["--per-class", "0"], 2, "per-class"),
        (["--sizes", "500"], 1, "500"),
        (["--strengths", "nan"], 1, "denoising-strength"),
        (["--strengths", "2"], 1, "denoising-strength"),
    ],
)
def test_values_that_cannot_be_used_are_reported_before_anything_is_asked_of_a_server(
    sources: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    result = probe(sources, tmp_path / "p.png", "--url", "http://127.0.0.1:1", *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "p.png").exists()


def test_an_unknown_sampler_is_reported_before_anything_is_generated(sources: Path, tmp_path: Path) -> None:
    with running_server() as server:
        result = probe(sources, tmp_path / "p.png", "--url", server.url, "--samplers", "Euler,Nope")
    assert result.exit_code == 1
    assert "Nope" in result.stderr
    assert not (tmp_path / "p.png").exists()


def test_no_server_is_one_line(sources: Path, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = probe(sources, tmp_path / "p.png", "--url", url)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "nothing answers there" in result.stderr


@pytest.mark.parametrize(
    ("trouble", "code"), [(KeyboardInterrupt(), 130), (ServerUnreachable("the server is gone"), 1)]
)
def test_what_was_made_before_the_end_is_drawn(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: BaseException, code: int
) -> None:
    whole = probing.run_probe

    def broken_off(*arguments: object, **options: object) -> Iterator[probing.Sample]:
        yield from islice(whole(*arguments, **options), 4)  # type: ignore[arg-type]
        raise trouble

    monkeypatch.setattr(probing, "run_probe", broken_off)
    with running_server() as server:
        result = probe(sources, tmp_path / "out", "--url", server.url, "--sizes", "64", "--strengths", "0.1,0.2,0.3")
    assert result.exit_code == code
    assert "Traceback" not in result.output
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert files == ["contact_sheet.png", *(f"scratch/{name}.png" for name in ("1_1", "1_2", "1_3", "2_1"))]


def test_with_masks_sources_are_repainted_inside_them(sources: Path, tmp_path: Path) -> None:
    mask = Image.new("L", (48, 48))
    mask.paste(255, (12, 12, 28, 28))
    write_mask(tmp_path / "masks" / "scratch" / "2.png", mask)
    out = tmp_path / "out"
    with running_server() as server:
        result = probe(
            sources, out, "--masks", tmp_path / "masks", "--url", server.url, "--sizes", "64,128", "--strengths", "0.5"
        )
    assert result.exit_code == 0, result.output
    with Image.open(sources / "scratch" / "2.png") as image:
        original = image.convert("L")
    made = sorted(path.relative_to(out).as_posix() for path in out.glob("*/*.png"))
    assert made == ["scratch/2_1.png", "scratch/2_2.png"]
    for name in made:
        with Image.open(out / name) as image:
            left, top, right, bottom = ImageChops.difference(image.convert("L"), original).getbbox() or (0, 0, 0, 0)
        assert min(left, top) >= 9
        assert max(right, bottom) <= 31


def test_a_folder_without_masks_is_reported(sources: Path, tmp_path: Path) -> None:
    result = probe(sources, tmp_path / "out.png", "--masks", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "no such folder; expected masks as nowhere/<class>/1.png" in result.stderr
