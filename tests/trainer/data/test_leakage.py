"""The guard against leakage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFile, PngImagePlugin

from sdclient.manifest import Manifest
from sdclient.output.store import encode_png
from sdcore.errors import DataError
from trainer.cli import cli
from trainer.config import TrainingJob, make_config
from trainer.data.fingerprints import fingerprint_files
from trainer.data.leakage import refuse_shared_pixels
from trainer.data.training_set import build_training_set
from trainer.errors import GeneratedSetError, LeakageError
from trainer.messages import text
from trainer.report.collect import collect_generated_set
from trainer.training.train import train

MakeGenerated = Callable[..., Path]


def job_on(data: Path, **sets: Any) -> TrainingJob:
    """A job on a DATA folder; where its run would go is not looked at."""
    return TrainingJob(data, Path("run"), **sets)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_generated(path: Path, source_sha256: str, *, seed: int = 0) -> Path:
    """An image of noise that names its source as the batch runner does."""
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    lineage = {"class": "dirt", "source_sha256": source_sha256, "key": "k", "engine": "classical stand-in"}
    path.write_bytes(encode_png(Image.fromarray(pixels), infotext="", lineage=lineage))
    return path


def save_anew(path: Path, target: Path) -> Path:
    """The same pixels in another file: no text, other bytes, perhaps another format."""
    with Image.open(path) as image:
        pixels = Image.fromarray(np.asarray(image.convert("RGB")))
    pixels.save(target, **({"compress_level": 1} if target.suffix == ".png" else {}))
    assert sha256_of(target) != sha256_of(path)
    return target


def nudge(path: Path, target: Path) -> Path:
    """An image that looks the same and has other pixels."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(target)
    return target


def remember_sources(output: Path, sources: Path) -> None:
    with Manifest(output, create=True) as manifest:
        manifest.set_run({"sources": str(sources)})


def strip_text(output: Path, pixels_of: Path | None = None) -> None:
    """Write the first image of a set anew, without its text, and record it so."""
    with Manifest(output, create=True) as manifest:
        record = next(manifest.images())
        path = output / record.file
        path.write_bytes(save_anew(pixels_of or path, output / "anew.png").read_bytes())
        (output / "anew.png").unlink()
        manifest.forget([record.file])
        manifest.add([replace(record, sha256=sha256_of(path))])


# Pixels in two parts


def test_the_same_pixels_in_two_parts_are_refused_whatever_the_format(data: Path) -> None:
    save_anew(data / "train" / "dirt" / "1.png", data / "test" / "dirt" / "99.bmp")
    with pytest.raises(LeakageError, match=r"1\.png = .*99\.bmp: the same pixels .*1 such image"):
        build_training_set(job_on(data))


def test_many_copies_are_counted_and_the_first_three_named(data: Path) -> None:
    for number in range(1, 6):
        save_anew(data / "train" / "dirt" / f"{number}.png", data / "val" / "dirt" / f"9{number}.bmp")
    with pytest.raises(LeakageError, match=r"3\.png = \S+93\.bmp; \.\.\.: the same pixels .*\(5 such") as found:
        build_training_set(job_on(data))
    assert "94.bmp" not in str(found.value)


def test_a_single_colour_in_two_parts_is_counted_reported_and_refused_when_strict(data: Path) -> None:
    for part in ("train", "val"):
        Image.new("RGB", (32, 32), "black").save(data / part / "Normal" / "flat.png")
    arm = build_training_set(job_on(data))
    assert arm.summary["single_coloured_across_parts"] == 2
    assert arm.summary["warnings"] == list(arm.warnings)
    assert [one for one in arm.warnings if text(one).startswith("2 single-coloured pictures have a twin")]
    with pytest.raises(LeakageError, match=r"2 single-coloured images have a copy .*leave out --strict"):
        build_training_set(job_on(data, strict=True))


def test_clean_data_is_quiet_and_strict_takes_it(data: Path) -> None:
    arm = build_training_set(job_on(data, strict=True))
    assert (arm.warnings, arm.near) == ((), ())
    assert arm.summary["look_alikes_across_parts"] == arm.summary["single_coloured_across_parts"] == 0


def test_copies_within_one_part_and_no_files_at_all_are_no_leak(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        image = Image.new("L", (8, 8))
        image.putpixel((1, 1), 255)
        image.save(path)
    fingerprints = {one.path: one for one in fingerprint_files(paths)}
    assert refuse_shared_pixels({"train": paths, "val": []}, fingerprints) == 0
    assert refuse_shared_pixels({}, {}) == 0
    with pytest.raises(LeakageError, match="the same pixels"):
        refuse_shared_pixels({"train": paths[:1], "val": paths[1:]}, fingerprints)


# Generated images in val or test


@pytest.mark.parametrize("role", ["generated", "control_for"])
@pytest.mark.parametrize("name", ["99.png", "99.bmp"])
def test_a_generated_image_that_lost_its_text_is_known_by_its_pixels(
    data: Path, make_generated: MakeGenerated, role: str, name: str
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")])
    save_anew(output / "dirt" / "1_2.png", data / "test" / "dirt" / name)
    assert len(build_training_set(job_on(data)).train) == 24  # nothing in the file itself tells
    words = rf"{name}: a generated image \(its pixels are those of \S+1_2\.png\): 1 of 19 .*move them out"
    with pytest.raises(LeakageError, match=words):
        build_training_set(job_on(data, **{role: [output]}))


def test_a_generated_image_without_a_text_chunk_is_known_by_its_bytes_even_undecodable(
    data: Path, make_generated: MakeGenerated
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1)
    with Manifest(output, create=True) as manifest:
        record = next(manifest.images())
        (output / record.file).write_bytes(b"no image")
        manifest.forget([record.file])
        manifest.add([replace(record, sha256=sha256_of(output / record.file))])
    assert len(build_training_set(job_on(data, generated=[output])).train) == 25  # decoding it for training refuses it
    shutil.copy(output / "dirt" / "1_1.png", data / "test" / "dirt" / "99.png")
    with pytest.raises(LeakageError, match=r"99\.png: a generated image \(its bytes are those of \S+1_1\.png\)"):
        build_training_set(job_on(data, generated=[output]))


def test_a_manifest_below_data_records_bytes_without_a_text_chunk(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1, name="data/output")
    strip_text(output)
    shutil.copy(output / "dirt" / "1_1.png", data / "val" / "dirt" / "90.png")
    with pytest.raises(LeakageError, match=r"90\.png: a generated image \(a manifest or an export records its bytes\)"):
        build_training_set(job_on(data))
    (data / "val" / "dirt" / "90.png").rename(data / "train" / "dirt" / "90.png")
    assert build_training_set(job_on(data)).summary["train"]["dirt"] == {"real": 8, "generated": 1, "repeated": 0}


# Descent from val or test


def test_a_source_saved_anew_into_test_is_known_by_its_pixels(
    data: Path, tmp_path: Path, make_generated: MakeGenerated
) -> None:
    sources = tmp_path / "sources"
    (sources / "dirt").mkdir(parents=True)
    source = save_anew(data / "test" / "dirt" / "12.png", sources / "dirt" / "1.png")
    output = make_generated([("dirt", source)])
    remember_sources(output, sources)
    with pytest.raises(LeakageError, match=r"1_1\.png: made from \S+12\.png.*held out .*\(2 of 2 images"):
        build_training_set(job_on(data, generated=[output]))


def test_a_source_that_was_itself_generated_from_a_test_image_is_refused(
    data: Path, tmp_path: Path, make_generated: MakeGenerated
) -> None:
    sources = tmp_path / "sources"
    (sources / "dirt").mkdir(parents=True)
    source = write_generated(sources / "dirt" / "1.png", sha256_of(data / "val" / "dirt" / "9.png"))
    output = make_generated([("dirt", source)])
    remember_sources(output, sources)
    with pytest.raises(LeakageError, match=r"1_1\.png: made from \S+val\S+9\.png"):
        build_training_set(job_on(data, control_for=[output]))


@pytest.mark.parametrize("change", ["gone", "changed", "unknown"])
def test_a_source_that_cannot_be_opened_is_reported(
    data: Path, tmp_path: Path, make_generated: MakeGenerated, change: str
) -> None:
    sources = tmp_path / "sources"
    (sources / "dirt").mkdir(parents=True)
    source = save_anew(data / "test" / "dirt" / "12.png", sources / "dirt" / "1.png")
    output = make_generated([("dirt", source), ("dirt", data / "train" / "dirt" / "2.png")])
    if change != "unknown":
        remember_sources(output, sources)
    if change == "gone":
        source.unlink()
    elif change == "changed":
        nudge(source, source)
    (words,) = map(text, build_training_set(job_on(data, generated=[output])).warnings)
    assert words.startswith("1 source(s) of generated images: neither in ")


def test_a_blank_source_that_test_has_too_is_no_leak(data: Path, make_generated: MakeGenerated) -> None:
    for part in ("train", "test"):
        Image.new("RGB", (32, 32), "black").save(data / part / "Normal" / "77.png")
    output = make_generated([("Normal", data / "train" / "Normal" / "77.png")])
    assert len(build_training_set(job_on(data, generated=[output])).train) == 27
    (data / "train" / "Normal" / "77.png").unlink()
    with pytest.raises(LeakageError, match=r"made from \S+77\.png"):
        build_training_set(job_on(data, generated=[output]))


# Generated images that lie in train


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_train_image_whose_chunk_names_a_held_out_source_is_refused(data: Path, part: str) -> None:
    source = data / part / "dirt" / ("9.png" if part == "val" else "12.png")
    write_generated(data / "train" / "dirt" / "99.png", sha256_of(source))
    with pytest.raises(LeakageError, match=rf"99\.png: generated \(it carries .*\) from \S+{source.name}, .*1 such"):
        build_training_set(job_on(data))


def test_a_train_image_whose_chunk_names_a_train_source_counts_as_generated(data: Path) -> None:
    before = build_training_set(job_on(data)).summary
    path = write_generated(data / "train" / "dirt" / "99.png", sha256_of(data / "train" / "dirt" / "1.png"))
    arm = build_training_set(job_on(data))
    assert [image.origin for image in arm.train if image.path == path] == ["generated"]
    assert arm.summary["train"]["dirt"] == {"real": 8, "generated": 1, "repeated": 0}
    assert arm.summary["train"]["Normal"] == before["train"]["Normal"]
    assert arm.summary["generated_sets"] == [
        {
            "path": (data / "train").as_posix(),
            "engine": "classical stand-in",
            "model": "",
            "count": 1,
            "classes": {"dirt": 1},
            "asked": {},
        }
    ]
    (words,) = map(text, arm.warnings)
    assert words.startswith(f"1 of 25 images in {data / 'train'} were generated, the first is {path}: they count as")


def test_a_train_image_from_an_unknown_source_is_allowed_and_reported(data: Path) -> None:
    write_generated(data / "train" / "dirt" / "99.png", "ab" * 32)
    (words,) = map(text, build_training_set(job_on(data)).warnings)
    assert "were generated (1 of them from sources that are not there)" in words


def test_a_train_image_whose_chunk_names_no_source_is_refused(data: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("sdclient", "{}")
    Image.new("RGB", (32, 32), "red").save(data / "train" / "dirt" / "99.png", pnginfo=chunks)
    with pytest.raises(LeakageError, match=r"99\.png: generated, .* names no source \(1 such"):
        build_training_set(job_on(data))


def test_a_copy_of_a_generated_image_in_train_counts_as_generated_without_its_text(
    data: Path, make_generated: MakeGenerated
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")])
    copy = save_anew(output / "dirt" / "1_1.png", data / "train" / "dirt" / "99.bmp")
    arm = build_training_set(job_on(data, control_for=[output]))
    assert [image.path for image in arm.train if image.origin == "generated"] == [copy]
    assert arm.summary["generated_sets"][0]["engine"] == "not recorded"


def test_a_source_stays_real_where_a_generated_image_has_the_same_pixels(
    data: Path, make_generated: MakeGenerated
) -> None:
    source = data / "train" / "dirt" / "1.png"
    output = make_generated([("dirt", source)], count=1)
    strip_text(output, pixels_of=source)
    assert build_training_set(job_on(data, generated=[output])).summary["train"]["dirt"] == {
        "real": 8,
        "generated": 1,
        "repeated": 0,
    }


def test_a_generated_image_that_lies_in_train_does_not_join_once_more(
    data: Path, make_generated: MakeGenerated
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")])
    shutil.copy(output / "dirt" / "1_1.png", data / "train" / "dirt" / "90.png")
    with pytest.raises(GeneratedSetError, match=r"1_1\.png: lies in training already, as \S+90\.png \(1 such image"):
        build_training_set(job_on(data, generated=[output]))
    # The control repeats its source, not the image.
    assert build_training_set(job_on(data, control_for=[output])).summary["train"]["dirt"] == {
        "real": 8,
        "generated": 1,
        "repeated": 2,
    }


def test_a_report_names_the_engine_of_generated_images_in_train(data: Path) -> None:
    write_generated(data / "train" / "dirt" / "99.png", sha256_of(data / "train" / "dirt" / "1.png"))
    shown = collect_generated_set(build_training_set(job_on(data)).summary["generated_sets"][0])
    assert (shown.images, shown.engines, shown.samples) == (1, ("classical stand-in",), ())


# Look-alikes across parts


def test_look_alikes_across_parts_are_reported_shown_and_refused_when_strict(data: Path, tmp_path: Path) -> None:
    nudge(data / "train" / "dirt" / "1.png", data / "val" / "dirt" / "90.png")
    nudge(data / "train" / "dirt" / "2.png", data / "train" / "dirt" / "90.png")  # within one part: no matter
    arm = build_training_set(job_on(data), near_sheet=tmp_path / "a" / "near.html")
    assert [one.files for one in arm.near] == [("val/dirt/90.png", "train/dirt/1.png")]
    assert arm.summary["look_alikes_across_parts"] == 1
    (words,) = map(text, arm.warnings)
    assert words.startswith("1 of 19 validation and test pictures look like one that is trained on, the first is val/")
    page = (tmp_path / "a" / "near.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert 'lang="zh">跨集近似</span><b>1</b>' in page
    with pytest.raises(LeakageError, match=r"val/dirt/90\.png looks like train/dirt/1\.png: 1 of 19 .*trainer check"):
        build_training_set(job_on(data, strict=True))
    with pytest.raises(LeakageError, match=r"; see \S+near\.html, "):
        build_training_set(job_on(data, strict=True), near_sheet=tmp_path / "a" / "near.html")


def test_a_generated_image_that_looks_like_a_test_image_is_a_look_alike(
    data: Path, tmp_path: Path, make_generated: MakeGenerated
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1)
    nudge(output / "dirt" / "1_1.png", data / "test" / "dirt" / "90.png")
    arm = build_training_set(job_on(data, generated=[output]), near_sheet=tmp_path / "near.html")
    assert [one.files for one in arm.near] == [("test/dirt/90.png", "../output/dirt/1_1.png")]
    assert (tmp_path / "near.html").read_text(encoding="utf-8").count("data:image/png;base64,") == 2
    # The control arm does not train on it.
    assert build_training_set(job_on(data, control_for=[output])).near == ()


def test_a_generated_set_on_another_drive_is_named_in_full(
    data: Path, make_generated: MakeGenerated, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1)
    nudge(output / "dirt" / "1_1.png", data / "test" / "dirt" / "90.png")
    real = os.path.relpath

    def relpath(path: Path, start: Path) -> str:
        if not Path(path).is_relative_to(start):
            raise ValueError("path is on mount 'D:', start on mount 'C:'")
        return real(path, start)

    monkeypatch.setattr("trainer.data.leakage.os.path.relpath", relpath)
    (found,) = build_training_set(job_on(data, generated=[output])).near
    assert found.files == ("test/dirt/90.png", (output / "dirt" / "1_1.png").resolve().as_posix())


def test_no_sheet_is_written_when_nothing_looks_alike(data: Path, tmp_path: Path) -> None:
    build_training_set(job_on(data), near_sheet=tmp_path / "near.html")
    assert not (tmp_path / "near.html").exists()


# Files that cannot be read


def test_a_held_out_file_that_cannot_be_decoded_is_reported(data: Path) -> None:
    (data / "test" / "dirt" / "12.png").write_bytes(b"\x89PNG\r\n")
    (words,) = map(text, build_training_set(job_on(data)).warnings)
    assert words.startswith("1 of 18 validation and test pictures cannot be decoded")
    # Its bytes are compared all the same.
    shutil.copy(data / "test" / "dirt" / "12.png", data / "train" / "dirt" / "12.png")
    write_generated(data / "train" / "dirt" / "99.png", sha256_of(data / "test" / "dirt" / "12.png"))
    with pytest.raises(LeakageError, match=r"99\.png: generated"):
        build_training_set(job_on(data))


def test_a_link_to_nothing_is_an_error_in_words(data: Path) -> None:
    link = data / "test" / "dirt" / "99.png"
    try:
        link.symlink_to(data / "nowhere.png")
    except OSError:
        pytest.skip("this user may not make links")
    with pytest.raises(DataError, match=r"99\.png: cannot be read: No such file"):
        build_training_set(job_on(data))


def test_every_image_is_decoded_once(
    data: Path, make_generated: MakeGenerated, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")])
    read: list[bytes] = []
    real = ImageFile.ImageFile.load

    def load(image: ImageFile.ImageFile) -> object:
        if image.tile:
            read.append(image.fp.getvalue())
        return real(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    build_training_set(job_on(data, generated=[output], control_for=[output]))
    assert sorted(read) == sorted(path.read_bytes() for path in [*data.rglob("*.png"), *output.rglob("*.png")])


TINY = ["--epochs", "1", "--imgsz", "32", "--batch-size", "16", "--device", "cpu"]


@pytest.fixture
def look_alikes(data: Path) -> Path:
    """DATA with one test image that differs from a training one in a single pixel."""
    with Image.open(data / "train" / "dirt" / "1.png") as image:
        pixels = np.asarray(image).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(data / "test" / "dirt" / "90.png")
    return data


def test_look_alikes_are_a_warning_on_stderr_and_a_page_in_the_run(look_alikes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = CliRunner().invoke(cli, ["train", str(look_alikes), "-o", str(run), *TINY, "--json"])
    assert done.exit_code == 0, done.output
    assert f"warning: {look_alikes}: 1 of 19 validation and test pictures look like one" in done.stderr
    assert len(json.loads(done.stdout)) == 1
    assert "test/dirt/90.png" in (run / "near_duplicates.html").read_text(encoding="utf-8")
    summary = json.loads((run / "data.json").read_text(encoding="utf-8"))
    assert summary["look_alikes_across_parts"] == 1
    assert len(summary["warnings"]) == 1

    # Replaced by a run without look-alikes, the page is gone.
    (look_alikes / "test" / "dirt" / "90.png").unlink()
    config = make_config(epochs=1, imgsz=32, batch_size=16, device="cpu")
    train(TrainingJob(look_alikes, run, config, strict=True, overwrite=True), progress=False)
    assert not (run / "near_duplicates.html").exists()


def test_strict_refuses_look_alikes_and_leaves_the_page_alone(look_alikes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = CliRunner().invoke(cli, ["train", str(look_alikes), "-o", str(run), *TINY, "--strict"])
    assert done.exit_code == 1
    assert f"see {run / 'near_duplicates.html'}, then" in done.stderr.splitlines()[-1]
    assert [path.name for path in run.iterdir()] == ["near_duplicates.html"]


def test_strict_writes_nothing_into_a_run_that_is_there(look_alikes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}", encoding="utf-8")
    done = CliRunner().invoke(cli, ["train", str(look_alikes), "-o", str(tmp_path / "run"), *TINY, "--strict"])
    assert done.exit_code == 1
    assert "--sheet check.html" in done.stderr.splitlines()[-1]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
