"""The experiment on DeepPCB: its file is one of nine arms, and no model that saw other images may make its sets."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import deeppcb_experiment as script
import pytest
from PIL import Image
from steps import StepFailed

from sdcore.annotations.folder import AnnotationFolder
from trainer.experiment.config import read_experiment
from trainer.experiment.plan import plan_arms


def lay_out(folder: Path) -> None:
    """Two training images and a test image, with a table as `deeppcb.lay_out` writes it."""
    rows = []
    for split, name, level in (("train", "short", 10), ("train", "Normal", 20), ("test", "Normal", 20)):
        file = f"{split}/{name}/{level}.png"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (96, 96), level).save(folder / file)
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        rows.append((file, name, split, f"g-{split}", file, digest))
    with (folder / "split.csv").open("w", encoding="utf-8-sig", newline="") as file_of_rows:
        csv.writer(file_of_rows).writerows([("file", "class", "split", "group", "source", "sha256"), *rows])


def model_of(folder: Path, *digests: str) -> Path:
    folder.mkdir()
    record = {"data": {"learned_from": [{"sha256": digest} for digest in digests]}}
    (folder / "generator.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_the_file_declares_nine_arms_and_controls_of_equal_counts() -> None:
    config = read_experiment(script.EXPERIMENT)
    assert len(config.arm) == 9
    arms = plan_arms(config)
    assert {arm.shares_control for arm in arms} == {"", "diffusion low"}
    assert sum(arm.kind == "classical" for arm in arms) == 4


def test_pictures_shrink_to_the_models_size_and_the_table_follows(tmp_path: Path) -> None:
    lay_out(tmp_path / "crops")
    for _ in range(2):
        script.shrink(tmp_path / "crops", tmp_path / "data")
    with (tmp_path / "data" / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["g-train", "g-train", "g-test"]
    for row in rows:
        path = tmp_path / "data" / row["file"]
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with Image.open(path) as image:
            assert image.size == (64, 64)


def test_a_model_that_saw_a_held_out_image_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path)
    with (tmp_path / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        digests = {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    script.refuse_other_model(model_of(tmp_path / "good", digests["train/short/10.png"]), tmp_path)
    with pytest.raises(StepFailed, match="1 of its 2 training images are not of"):
        script.refuse_other_model(model_of(tmp_path / "bad", digests["train/short/10.png"], "f" * 64), tmp_path)
    with pytest.raises(StepFailed, match="train a model first"):
        script.refuse_other_model(tmp_path / "none", tmp_path)


def test_boxes_are_written_as_yolo_reads_them(tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    table.write_text("file,class,bx1,by1,bx2,by2\nshort/a.png,short,24,36,72,60\nNormal/b.png,Normal,,,,\n", "utf-8")
    script.write_boxes(table, tmp_path / "labels")
    (box,) = AnnotationFolder(tmp_path / "labels").boxes_of(tmp_path / "photos" / "short" / "a.png", "short", 96, 96)
    assert (box.class_name, box.left, box.top, box.right, box.bottom) == pytest.approx(("short", 24, 36, 72, 60))
