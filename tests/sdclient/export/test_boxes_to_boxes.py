"""From a person's boxes to a detector's data set: number, mask, generate, curate, export, and read back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli
from sdclient.manifest import Curation, ImageRecord, Manifest, read_exported
from sdclient.manifest.tables import MAPPING_NAME
from sdclient.testing import WebUIServer, webui_server as webui_server
from sdcore.annotations.folder import AnnotationFolder

WIDTH, HEIGHT = 96, 80
BOXES = {
    "漏铜": {"IMG_20.png": ["0 0.5 0.5 0.25 0.3"], "b.png": ["0 0.2 0.3 0.2 0.2", "0 0.75 0.7 0.3 0.25"]},
    "dirt": {"x 1.png": ["1 0.05 0.5 0.1 0.4"]},
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photographs with YOLO boxes beside them, two classes; one has two boxes, one a box at the picture's edge."""
    folder, labels = tmp_path / "photos", tmp_path / "labels"
    labels.mkdir()
    (labels / "classes.txt").write_text("漏铜\ndirt\n", encoding="utf-8")
    rng = np.random.default_rng(5)
    for class_name, names in BOXES.items():
        for name, lines in names.items():
            pixels = rng.integers(70, 150, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            (folder / class_name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / class_name / name)
            (labels / f"{Path(name).stem}.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder


def sdclient(*words: object) -> str:
    found = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture
def chain(photos: Path, tmp_path: Path, webui_server: WebUIServer) -> tuple[Path, Path]:
    """(sources, output) after number, mask, generate --masks and curate, by the commands a person types."""
    sources, masks, output = tmp_path / "sources", tmp_path / "masks", tmp_path / "output"
    sdclient("number", photos, sources)
    sdclient("mask", sources, masks, "--boxes", tmp_path / "labels", "--feather", 3)
    options = ("--url", webui_server.url, "--per-source", 2, "--native-size", 64, "--denoising-strength", 0.6)
    sdclient("generate", sources, output, "--masks", masks, *options)
    sdclient("curate", output, "--workers", 1)
    return sources, output


def test_every_pixel_that_changed_lies_in_a_box_of_the_export(chain: tuple[Path, Path], tmp_path: Path) -> None:
    sources, output = chain
    detection = tmp_path / "detection"
    sdclient("export", output, detection, "--labels", "yolo")
    with Manifest(output) as manifest:
        accepted = Curation(manifest).accepted_files()
        records = {record.file: record for record in manifest.images() if record.file in accepted}
    rows = read_exported(detection)
    assert rows
    drawn = drawn_boxes(sources)
    assert {row.output_file for row in rows} == set(records)
    files = AnnotationFolder(detection / "labels" / "train")
    for row in rows:
        boxes = files.boxes_of(detection / row.file, None, WIDTH, HEIGHT)
        changed = difference(sources, detection / row.file, records[row.output_file])
        assert changed.any()
        assert {box.class_name for box in boxes} == {row.class_name}
        inside = np.zeros_like(changed)
        for box in boxes:
            left, top, right, bottom = (round(edge) for edge in (box.left, box.top, box.right, box.bottom))
            inside[top:bottom, left:right] = True
        assert not (changed & ~inside).any()
        # What a person drew comes back, a box each.
        assert len(boxes) == len(drawn[row.source])
        for x, y in drawn[row.source]:
            assert sum(box.left < x < box.right and box.top < y < box.bottom for box in boxes) == 1
    assert files.unused() == ()


def drawn_boxes(sources: Path) -> dict[str, list[tuple[float, float]]]:
    """Source -> the centres, in px, of the boxes that were drawn on its photograph."""
    with (sources / MAPPING_NAME).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        f"{row['class']}/{row['new_name']}": [
            (float(line.split()[1]) * WIDTH, float(line.split()[2]) * HEIGHT)
            for line in BOXES[row["class"]][row["old_name"]]
        ]
        for row in rows
    }


def difference(sources: Path, made: Path, record: ImageRecord) -> np.ndarray:
    """(H, W) whether a pixel of an image differs from its source."""
    with Image.open(made) as image, Image.open(sources / record.source) as source:
        return (np.asarray(image.convert("RGB")) != np.asarray(source.convert("RGB"))).any(axis=2)
