"""Boxes beside exported images, read back as a trainer of detectors reads them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli
from sdclient.errors import ExportError
from sdclient.export import Labels, export, run as run_module
from sdclient.export.selection import changed_boxes
from sdclient.manifest import Manifest, Parent, read_exported
from sdcore.annotations import Box
from sdcore.annotations.folder import AnnotationFolder
from sdcore.errors import AnnotationError, MissingExtra
from tests.support.export_output import HEIGHT, WIDTH, MakeOutput, Output, sha256_of, tree

YOLO = Labels("yolo")


@pytest.fixture
def masked(make_output: MakeOutput) -> Output:
    """A two-area image, one with a feather, one of another class, and one of the class without defects."""
    output = make_output()
    output.add("漏铜", 1, areas=[(5, 5, 12, 10), (25, 18, 36, 27)])
    output.add("漏铜", 2, areas=[(10, 10, 20, 20)], feather=3)
    output.add("dirt", 1, areas=[(0, 0, 6, HEIGHT)])
    output.add("Normal", 1)
    return output


def boxes_of(detection: Path, labels: Path, images: Path) -> dict[str, list[Box]]:
    """Output file -> its boxes, by our own reader of box files."""
    files = AnnotationFolder(labels)
    found = {}
    for row in read_exported(detection):
        found[row.output_file] = files.boxes_of(images / Path(row.file).name, None, WIDTH, HEIGHT)
    assert files.unused() == ()
    return found


def assert_covered(boxes: list[Box], changed: np.ndarray) -> None:
    """Every changed pixel lies in a box, and every edge of a box touches one."""
    rows, columns = np.nonzero(changed)
    inside = np.zeros(len(rows), dtype=bool)
    for box in boxes:
        left, top, right, bottom = (round(edge) for edge in (box.left, box.top, box.right, box.bottom))
        assert np.allclose((left, top, right, bottom), (box.left, box.top, box.right, box.bottom), atol=1e-4)
        here = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
        inside |= here
        assert columns[here].min() == left
        assert columns[here].max() == right - 1
        assert rows[here].min() == top
        assert rows[here].max() == bottom - 1
    assert inside.all()


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_boxes_hold_every_changed_pixel_and_no_more(masked: Output, tmp_path: Path, kind: str) -> None:
    detection = tmp_path / "检测"
    result = export(masked.root, detection, labels=Labels(kind), uncurated=True)  # type: ignore[arg-type]
    assert len(result.copied) == 4
    folders = ("labels/train", "images/train") if kind == "yolo" else ("Annotations", "JPEGImages")
    boxes = boxes_of(detection, *(detection / folder for folder in folders))
    assert [len(boxes[file]) for file in ("漏铜/1_1.png", "漏铜/2_1.png", "dirt/1_1.png", "Normal/1_1.png")] == [
        2,
        1,
        1,
        0,
    ]
    for file, changed in masked.changed.items():
        if file.startswith("Normal"):
            continue
        assert {box.class_name for box in boxes[file]} == {file.split("/")[0]}
        assert_covered(boxes[file], changed)
    for row in read_exported(detection):
        assert sha256_of(detection / row.file) == row.sha256
        assert sha256_of(detection / row.label_file) == row.label_sha256


def test_the_soft_edge_counts_since_it_changes_too(masked: Output, tmp_path: Path) -> None:
    export(masked.root, tmp_path / "d", labels=YOLO, uncurated=True)
    (box,) = boxes_of(tmp_path / "d", tmp_path / "d" / "labels" / "train", tmp_path / "d" / "images" / "train")[
        "漏铜/2_1.png"
    ]
    edges = [round(edge) for edge in (box.left, box.top, box.right, box.bottom)]
    assert edges == [7, 7, 23, 23]  # 10 to 20, and 3 px of feather around


_READ_BY_YOLOV5 = """
import json, sys, warnings
warnings.simplefilter("ignore")
from sdcore.optional_imports import import_torchvision
import_torchvision()
from yolov5.utils.dataloaders import LoadImagesAndLabels
from yolov5.utils import general
general.check_font = lambda *_, **__: None  # would download one
data = general.check_dataset(sys.argv[1])
found = LoadImagesAndLabels(data["train"], img_size=64)
rows = {name: labels.tolist() for name, labels in zip(found.im_files, found.labels)}
print(json.dumps({"names": list(data["names"].values()), "rows": rows}), file=sys.stderr)
"""


def test_yolov5_itself_reads_the_data_set(masked: Output, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    detection = tmp_path / "detection"
    export(masked.root, detection, labels=YOLO, uncurated=True)
    # As the user must: real images to judge by.
    (detection / "images" / "val").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(detection / "images" / "val" / "1.png")
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [sys.executable, "-c", _READ_BY_YOLOV5, str(detection / "data.yaml")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["names"] == ["dirt", "漏铜"]
    ours = boxes_of(detection, detection / "labels" / "train", detection / "images" / "train")
    for row in read_exported(detection):
        read = told["rows"].pop(str((detection / row.file).resolve()))
        assert len(read) == len(ours[row.output_file])
        for (number, x, y, width, height), box in zip(read, ours[row.output_file], strict=True):
            assert told["names"][int(number)] == box.class_name
            assert (x * WIDTH, y * HEIGHT) == pytest.approx(
                ((box.left + box.right) / 2, (box.top + box.bottom) / 2), abs=1e-3
            )
            assert (width * WIDTH, height * HEIGHT) == pytest.approx(
                (box.right - box.left, box.bottom - box.top), abs=1e-3
            )
    assert told["rows"] == {}


def test_a_defect_on_a_good_image_is_found_against_the_good_one(make_output: MakeOutput, tmp_path: Path) -> None:
    output = make_output()
    good = output.source("Normal", 5)
    other = (Parent("Normal/5.png", sha256_of(good)),)
    onto_good = output.add("漏铜", 1, 1, areas=[(3, 3, 9, 9)], others=other, base=good)
    on_its_own = output.add("漏铜", 1, 2, areas=[(20, 3, 30, 9)], others=other, asked={"base": "source"})
    with Manifest(output.root, create=True) as manifest:
        manifest.set_run({"other_sources": str(output.sources)})
    with pytest.raises(
        ExportError, match=r"1_2\.png: it still shows the defect of 漏铜/1\.png as well.*--source-masks"
    ):
        export(output.root, tmp_path / "d", labels=YOLO, uncurated=True)
    of_source = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    of_source[12:18, 4:11] = 40  # a soft edge
    of_source[14:16, 5:9] = 255
    (tmp_path / "masks" / "漏铜").mkdir(parents=True)
    Image.fromarray(of_source).save(tmp_path / "masks" / "漏铜" / "1.png")
    labels = Labels("yolo", source_masks=tmp_path / "masks")
    export(output.root, tmp_path / "d", labels=labels, uncurated=True)
    boxes = boxes_of(tmp_path / "d", tmp_path / "d" / "labels" / "train", tmp_path / "d" / "images" / "train")
    old = boxes[on_its_own].pop()
    assert (old.left, old.top, old.right, old.bottom) == pytest.approx((5, 14, 9, 16), abs=1e-4)
    for file in (onto_good, on_its_own):
        with (
            Image.open(output.root / file) as made,
            Image.open(good if file == onto_good else output.source("漏铜", 1)) as base,
        ):
            assert_covered(boxes[file], (np.asarray(made) != np.asarray(base)).any(axis=2))


def test_a_repeat_changes_nothing_and_other_boxes_are_written_anew(masked: Output, tmp_path: Path) -> None:
    detection = tmp_path / "d"
    export(masked.root, detection, labels=YOLO, uncurated=True)
    before = tree(detection)
    assert len(export(masked.root, detection, labels=YOLO, uncurated=True).unchanged) == 4
    assert tree(detection) == before
    stricter = Labels("yolo", min_change=120)
    result = export(masked.root, detection, labels=stricter, uncurated=True)
    assert result.relabelled
    assert len(result.relabelled) + len(result.unchanged) == 4
    assert result.edited == ()
    after = tree(detection)
    assert len(export(masked.root, detection, labels=stricter, uncurated=True).unchanged) == 4
    assert tree(detection) == after
    assert {name for name in before if before[name][0] != after[name][0]} == {
        "exported.csv",
        *(f"labels/train/{Path(name).stem}.txt" for name in result.relabelled),
    }


@pytest.mark.parametrize("whole", range(4))
def test_a_stop_while_boxes_are_replaced_is_made_good(
    masked: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    detection, stricter = tmp_path / "d", Labels("yolo", min_change=120)
    export(masked.root, detection, labels=YOLO, uncurated=True)
    real = run_module.write_bytes_atomically
    written: list[Path] = []

    def stop(path: Path, content: bytes) -> None:
        if len(written) == whole:
            raise KeyboardInterrupt
        real(path, content)
        written.append(path)

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_bytes_atomically", stop)
        with contextlib.suppress(KeyboardInterrupt):
            export(masked.root, detection, labels=stricter, uncurated=True)
    assert export(masked.root, detection, labels=stricter, uncurated=True).edited == ()
    reference = tmp_path / "reference"
    export(masked.root, reference, labels=stricter, uncurated=True)
    for row in read_exported(reference):
        assert (detection / row.label_file).read_bytes() == (reference / row.label_file).read_bytes()
    assert [row.label_sha256 for row in read_exported(detection)] == [
        row.label_sha256 for row in read_exported(reference)
    ]


def test_boxes_that_a_person_corrected_are_left_alone(masked: Output, tmp_path: Path) -> None:
    detection = tmp_path / "d"
    export(masked.root, detection, labels=YOLO, uncurated=True)
    row = read_exported(detection)[0]
    (detection / row.label_file).write_text("0 0.5 0.5 0.1 0.1\n", encoding="ascii")
    result = export(masked.root, detection, labels=Labels("yolo", min_change=9), uncurated=True)
    assert result.edited == (row.file,)
    assert (detection / row.label_file).read_text(encoding="ascii") == "0 0.5 0.5 0.1 0.1\n"
    masked.judge(accepted=[one.output_file for one in read_exported(detection) if one != row])
    assert export(masked.root, detection, labels=YOLO).edited == (row.file,)
    assert (detection / row.file).is_file()


def test_rejected_images_go_with_their_boxes(masked: Output, tmp_path: Path) -> None:
    detection = tmp_path / "d"
    export(masked.root, detection, labels=YOLO, uncurated=True)
    masked.judge(accepted=["漏铜/1_1.png"], rejected=["dirt/1_1.png"])
    assert len(export(masked.root, detection, labels=YOLO).removed) == 3
    assert len(list((detection / "images" / "train").iterdir())) == 1
    assert sorted(path.suffix for path in (detection / "labels" / "train").iterdir()) == [".txt", ".txt"]
    # Numbers stay, though a class has no image now.
    assert (detection / "labels" / "train" / "classes.txt").read_text(encoding="utf-8") == "dirt\n漏铜\n"


# Defects that cannot be located


def damage(output: Output, tmp_path: Path, how: str) -> None:
    source = output.sources / "漏铜" / "1.png"
    if how == "no mask":
        output.add("漏铜", 1, 9)
    elif how == "mask gone":
        (output.root / "_masks" / "漏铜" / "1_1.png").unlink()
    elif how == "mask of another size":
        Image.new("L", (8, 8), 255).save(output.root / "_masks" / "漏铜" / "1_1.png")
    elif how == "source gone":
        source.unlink()
    elif how == "source changed":
        Image.new("RGB", (WIDTH, HEIGHT)).save(source)
    elif how == "sources not told":
        with Manifest(output.root, create=True) as manifest, manifest.transaction() as db:
            db.execute("DELETE FROM run")
    elif how == "changed outside":
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[6:8, 6:8] = 255
        Image.fromarray(mask).save(output.root / "_masks" / "漏铜" / "1_1.png")
    elif how == "nothing changed":
        Image.new("L", (WIDTH, HEIGHT), 255).save(output.root / "_masks" / "漏铜" / "1_1.png")
        with Manifest(output.root, create=True) as manifest:
            record = next(one for one in manifest.images() if one.file == "漏铜/1_1.png")
            manifest.forget([record.file])
            content = source.read_bytes()
            (output.root / record.file).write_bytes(content)
            manifest.add([replace(record, sha256=hashlib.sha256(content).hexdigest())])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no mask", "it has no mask, so its defect cannot be located"),
        ("mask gone", "no such mask"),
        ("mask of another size", r"a mask of 8 x 8 px; expected 40 x 30 px"),
        ("source gone", r"1\.png, the image it was made on, is not there"),
        ("source changed", "was changed since"),
        ("sources not told", "its manifest does not say where 漏铜/1.png lies"),
        ("changed outside", "pixels changed outside of its mask"),
        ("nothing changed", "nothing in it differs by 1 levels or more from the image it was made on"),
    ],
)
def test_an_unknown_place_is_refused_or_left_out_as_asked(
    make_output: MakeOutput, tmp_path: Path, how: str, words: str
) -> None:
    output = make_output()
    output.add("漏铜", 1, areas=[(5, 5, 12, 10)])
    output.add("Normal", 1)
    damage(output, tmp_path, how)
    with pytest.raises(ExportError, match=rf"{words}.*; reject it, or leave such images out with --unlabelled skip"):
        export(output.root, tmp_path / "d", labels=YOLO, uncurated=True)
    assert not list((tmp_path / "d").rglob("*.png"))
    result = export(output.root, tmp_path / "d", labels=Labels("yolo", unlabelled="skip"), uncurated=True)
    assert len(result.left_out) == 1
    assert result.taken == result.recorded - 1
    assert "Normal/1_1.png" in {row.output_file for row in read_exported(tmp_path / "d")}


def test_sizes_that_differ_and_specks_and_diagonals() -> None:
    base = Image.new("L", (12, 8))
    mask = Image.new("L", (12, 8))
    made = base.copy()
    for x, y in ((1, 1), (2, 2), (9, 5)):  # two touch at a corner, one lies apart
        mask.putpixel((x, y), 1)
        made.putpixel((x, y), 40)
    assert changed_boxes(made, base, mask) == [(1, 1, 3, 3), (9, 5, 10, 6)]
    made.putpixel((9, 5), 3)
    assert changed_boxes(made, base, mask, min_change=4) == [(1, 1, 3, 3)]
    assert changed_boxes(base, base, mask) == []
    with pytest.raises(ExportError, match="expected them equal"):
        changed_boxes(made, base.resize((6, 4)), mask)


# Data sets that are there already


def test_numbers_of_the_users_own_boxes_are_kept(masked: Output, tmp_path: Path) -> None:
    detection, classes = tmp_path / "d", tmp_path / "classes.txt"
    (detection / "images" / "train").mkdir(parents=True)
    (detection / "labels" / "train").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(detection / "images" / "train" / "real.png")
    (detection / "labels" / "train" / "real.txt").write_text("1 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.1 0.1\n", encoding="ascii")
    with pytest.raises(ExportError, match=r"holds boxes or a data\.yaml of yours.*--classes classes\.txt"):
        export(masked.root, detection, labels=YOLO, uncurated=True)
    classes.write_text("scratch\n漏铜\n", encoding="utf-8")
    result = export(masked.root, detection, labels=Labels("yolo", classes=classes), uncurated=True)
    assert (detection / "labels" / "train" / "classes.txt").read_text(encoding="utf-8") == "scratch\n漏铜\ndirt\n"
    assert "漏铜" not in (detection / "data.yaml").read_text(encoding="ascii")  # escaped, for any code page
    assert {row.class_name: (row.real, row.generated_after) for row in result.balance} == {
        "Normal": (0, 1),
        "dirt": (0, 1),
        "漏铜": (1, 2),
    }
    boxes = boxes_of_ours(detection)
    assert {box.class_name for box in boxes["dirt/1_1.png"]} == {"dirt"}
    # A later export needs no --classes, and refuses another one.
    assert len(export(masked.root, detection, labels=YOLO, uncurated=True).unchanged) == 4
    classes.write_text("漏铜\n", encoding="utf-8")
    with pytest.raises(ExportError, match=r"classes\.txt: scratch, 漏铜, dirt; .* says 漏铜; leave one out"):
        export(masked.root, detection, labels=Labels("yolo", classes=classes), uncurated=True)


def boxes_of_ours(detection: Path) -> dict[str, list[Box]]:
    files = AnnotationFolder(detection / "labels" / "train")
    return {
        row.output_file: files.boxes_of(detection / row.file, None, WIDTH, HEIGHT) for row in read_exported(detection)
    }


def test_a_yaml_of_the_users_own_is_never_written_over(masked: Output, tmp_path: Path) -> None:
    detection, classes = tmp_path / "d", tmp_path / "classes.txt"
    detection.mkdir()
    (detection / "data.yaml").write_text("names: [漏铜, dirt]\n", encoding="utf-8")
    classes.write_text("漏铜\n", encoding="utf-8")
    with pytest.raises(ExportError, match=r"data\.yaml: is not ours, so class 'dirt' cannot be added"):
        export(masked.root, detection, labels=Labels("yolo", classes=classes), uncurated=True)
    classes.write_text("漏铜\ndirt\n", encoding="utf-8")
    export(masked.root, detection, labels=Labels("yolo", classes=classes), uncurated=True)
    assert (detection / "data.yaml").read_text(encoding="utf-8") == "names: [漏铜, dirt]\n"


def test_class_folders_and_held_out_images_are_refused(masked: Output, tmp_path: Path, train: Path) -> None:
    for place in (train, train.parent):
        with pytest.raises(ExportError, match=r"class folders.*give a folder of its own"):
            export(masked.root, place, labels=YOLO, uncurated=True)
    held_out = tmp_path / "d" / "images" / "val"
    held_out.mkdir(parents=True)
    (held_out / "x.png").write_bytes((masked.sources / "dirt" / "1.png").read_bytes())
    with pytest.raises(ExportError, match=r"dirt/1_1\.png was made from \S+x\.png"):
        export(masked.root, tmp_path / "d", labels=YOLO, uncurated=True)


def test_a_class_name_that_no_reader_takes_is_refused(make_output: MakeOutput, tmp_path: Path) -> None:
    output = make_output()
    output.add("con", 1, areas=[(1, 1, 4, 4)])
    for kind in ("yolo", "voc"):
        with pytest.raises(AnnotationError, match="class 'con' cannot stand in a"):
            export(output.root, tmp_path / kind, labels=Labels(kind), uncurated=True)  # type: ignore[arg-type]


def test_another_name_for_the_class_without_defects(make_output: MakeOutput, tmp_path: Path) -> None:
    output = make_output()
    output.add("OK", 1)
    export(output.root, tmp_path / "d", labels=Labels("yolo", normal="OK"), uncurated=True)
    (row,) = read_exported(tmp_path / "d")
    assert (tmp_path / "d" / row.label_file).read_bytes() == b""


def test_what_is_not_installed_is_named(masked: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtra, match=r"needs the extra 'curate'"):
        export(masked.root, tmp_path / "d", labels=YOLO, uncurated=True)


def test_the_command_writes_boxes(masked: Output, tmp_path: Path) -> None:
    masked.judge(accepted=["漏铜/1_1.png"])
    found = CliRunner().invoke(cli, ["export", str(masked.root), str(tmp_path / "d"), "--labels", "yolo", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["balance"]["漏铜"]["generated_after"] == 1
    assert len(list((tmp_path / "d" / "labels" / "train").glob("generated-*.txt"))) == 1
