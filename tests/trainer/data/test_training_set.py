"""What an arm trains on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from sdclient.manifest import MANIFEST_NAME
from trainer.config import TrainingJob
from trainer.data.provenance import read_generated
from trainer.data.training_set import build_training_set
from trainer.errors import GeneratedSetError, LeakageError

MakeGenerated = Callable[..., Path]


def job_on(data: Path, **sets: Any) -> TrainingJob:
    """A job on a DATA folder; where its run would go is not looked at."""
    return TrainingJob(data, Path("run"), **sets)


def train_sources(data: Path, label: str, *numbers: int) -> list[tuple[str, Path]]:
    return [(label, data / "train" / label / f"{number}.png") for number in numbers]


def test_real_images_alone(data: Path) -> None:
    arm = build_training_set(job_on(data))
    assert arm.classes == ("Normal", "dirt", "划痕")
    assert Counter(image.label for image in arm.train) == {"Normal": 8, "dirt": 8, "划痕": 8}
    assert {image.origin for image in arm.train} == {"real"}
    assert arm.summary["train"]["dirt"] == {"real": 8, "generated": 0, "repeated": 0}
    assert arm.summary["val"] == arm.summary["test"] == {"Normal": 3, "dirt": 3, "划痕": 3}
    assert arm.summary["generated_sets"] == []


def test_generated_images_join_training_only(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated([*train_sources(data, "dirt", 1, 2), *train_sources(data, "划痕", 3)], count=3)
    arm = build_training_set(job_on(data, generated=[output]))
    joined = [image for image in arm.train if image.origin == "generated"]
    assert Counter(image.label for image in joined) == {"dirt": 6, "划痕": 3}
    assert all(image.path.is_relative_to(output) for image in joined)
    assert not any(image.path.is_relative_to(output) for image in arm.val)
    assert arm.summary["train"]["dirt"] == {"real": 8, "generated": 6, "repeated": 0}
    assert arm.summary["generated_sets"] == [
        {
            "path": output.as_posix(),
            "engine": "classical stand-in, not Stable Diffusion",
            "model": "classical stand-in",
            "count": 9,
            "recorded": 9,
            "curated": False,
            "undecided": 0,
            "classes": {"dirt": 6, "划痕": 3},
            "asked": {"denoising_strength": 0.25},
        }
    ]


def test_the_control_arm_repeats_the_very_sources(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated(train_sources(data, "dirt", 1, 2), count=3)
    augmented, control = (
        build_training_set(job_on(data, generated=[output])),
        build_training_set(job_on(data, control_for=[output])),
    )
    assert len(control.train) == len(augmented.train)
    repeated = [image for image in control.train if image.origin == "repeated"]
    assert Counter(image.path for image in repeated) == {
        data / "train" / "dirt" / "1.png": 3,
        data / "train" / "dirt" / "2.png": 3,
    }
    assert control.summary["train"]["dirt"] == {"real": 8, "generated": 0, "repeated": 6}
    assert not any(image.path.is_relative_to(output) for image in control.train)


def test_arms_of_other_images_have_other_fingerprints(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated(train_sources(data, "dirt", 1), count=1)
    fingerprints = [
        build_training_set(job_on(data)).summary["fingerprint"],
        build_training_set(job_on(data, generated=[output])).summary["fingerprint"],
        build_training_set(job_on(data, control_for=[output])).summary["fingerprint"],
    ]
    assert len(set(fingerprints)) == 3
    assert build_training_set(job_on(data)).summary["fingerprint"] == fingerprints[0]
    shutil.copy(data / "val" / "dirt" / "9.png", data / "val" / "dirt" / "10.png")
    assert build_training_set(job_on(data)).summary["fingerprint"] != fingerprints[0]


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("role", ["generated", "control_for"])
def test_an_image_made_from_a_held_out_one_is_refused(
    data: Path, make_generated: MakeGenerated, part: str, role: str
) -> None:
    held_out = data / part / "dirt" / ("9.png" if part == "val" else "12.png")
    # The same bytes lie in train too, under another name: the bytes decide, not the place.
    shutil.copy(held_out, data / "train" / "dirt" / "77.png")
    output = make_generated([*train_sources(data, "dirt", 1), *train_sources(data, "dirt", 77)])
    with pytest.raises(LeakageError, match=rf"{held_out.name}, which is held out .*2 of 4 images"):
        build_training_set(job_on(data, **{role: [output]}))


def test_an_image_that_itself_lies_in_test_is_refused(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated(train_sources(data, "dirt", 1), count=1)
    with Image.open(output / "dirt" / "1_1.png") as image:
        image.load()
    shutil.copy(output / "dirt" / "1_1.png", data / "test" / "dirt" / "99.png")
    with pytest.raises(LeakageError, match=r"99\.png: a generated image"):
        build_training_set(job_on(data, generated=[output]))


@pytest.mark.parametrize("chunk", ["add_text", "add_itxt", "zipped"])
def test_a_generated_image_among_held_out_ones_is_refused_without_any_set(data: Path, chunk: str) -> None:
    path = data / "val" / "dirt" / "10.png"
    info = PngImagePlugin.PngInfo()
    if chunk == "zipped":
        info.add_text("sdclient", "{}" * 200, zip=True)
    else:
        getattr(info, chunk)("sdclient", "{}")
    with Image.open(path) as image:
        image.load()
    image.save(path, "PNG", pnginfo=info)
    with pytest.raises(LeakageError, match=r"10\.png: a generated image"):
        build_training_set(job_on(data))


def test_other_text_in_a_held_out_image_is_no_mark(data: Path) -> None:
    path = data / "val" / "dirt" / "10.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "sdclient")
    with Image.open(path) as image:
        image.load()
    image.save(path, "PNG", pnginfo=info)
    assert len(build_training_set(job_on(data)).val) == 9


def test_a_generated_class_that_training_lacks_is_refused(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated([("rust", data / "train" / "dirt" / "1.png")])
    with pytest.raises(GeneratedSetError, match="class 'rust' is not in"):
        build_training_set(job_on(data, generated=[output]))


def test_a_control_needs_its_sources_in_train(data: Path, tmp_path: Path, make_generated: MakeGenerated) -> None:
    elsewhere = tmp_path / "5.png"
    Image.new("RGB", (32, 32), "red").save(elsewhere)
    output = make_generated([("dirt", elsewhere)])
    assert len(build_training_set(job_on(data, generated=[output])).train) == 26
    with pytest.raises(GeneratedSetError, match=r"5_1\.png: its source .* is not in"):
        build_training_set(job_on(data, control_for=[output]))


def test_a_generated_file_that_is_missing_or_changed_is_refused(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated(train_sources(data, "dirt", 1, 2))
    with (output / "dirt" / "1_2.png").open("ab") as file:
        file.write(b"x")
    with pytest.raises(GeneratedSetError, match=r"1_2\.png: the file differs"):
        read_generated(output)
    (output / "dirt" / "1_2.png").unlink()
    with pytest.raises(GeneratedSetError, match=r"1_2\.png: the file is recorded, but not there"):
        read_generated(output)


def test_a_folder_without_a_usable_manifest_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(GeneratedSetError, match=f"no {MANIFEST_NAME}"):
        read_generated(data)
    (tmp_path / MANIFEST_NAME).write_bytes(b"this is not a database, only words" * 50)
    with pytest.raises(GeneratedSetError, match="manifest"):
        read_generated(tmp_path)


def test_an_empty_manifest_is_refused(make_generated: MakeGenerated) -> None:
    output = make_generated([])
    with pytest.raises(GeneratedSetError, match="records no image"):
        read_generated(output)
