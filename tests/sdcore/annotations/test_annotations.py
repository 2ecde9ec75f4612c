"""YOLO and VOC box files, and the line of every mistake in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcore.annotations import Box
from sdcore.annotations.folder import AnnotationFolder
from sdcore.annotations.voc import read_voc
from sdcore.annotations.yolo import read_class_names, read_yolo
from sdcore.errors import AnnotationError

NAMES = ["dirt", "脏污"]


def text_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def voc(objects: str = "", size: str = "", head: str = "") -> str:
    return f"{head}<annotation><filename>a.jpg</filename>{size}\n{objects}</annotation>\n"


def voc_object(name: str = "dirt", edges: tuple[object, ...] = (10, 20, 30, 60)) -> str:
    inner = "".join(f"<{tag}>{v}</{tag}>" for tag, v in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    return f"<object>\n<name>{name}</name><part><name>leg</name></part><bndbox>{inner}</bndbox></object>\n"


def test_yolo_boxes_become_pixels(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", "0 0.5 0.5 0.2 0.1\n\n1 0.0 1.0 0.5 0.5  \r\n")
    assert read_yolo(path, NAMES, 200, 100) == [
        Box("dirt", pytest.approx(80), pytest.approx(45), pytest.approx(120), pytest.approx(55)),  # type: ignore[arg-type]
        Box("脏污", 0, 75, 50, 100),
    ]


def test_an_empty_box_file_means_no_defect(tmp_path: Path) -> None:
    assert read_yolo(text_file(tmp_path / "a.txt", "\n"), NAMES, 9, 9) == []
    assert read_voc(text_file(tmp_path / "a.xml", voc()), 9, 9) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.2", "4 fields; expected class, centre x"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 fields; expected"),
        ("0 .1 .1 .2 .1 .2 .2", "7 fields (outlines of a segmentation?)"),
        ("2 0.5 0.5 0.2 0.2", "class 2; expected a number from 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "class -1; expected"),
        ("dirt 0.5 0.5 0.2 0.2", "class dirt; expected"),
        ("0 1.5 0.5 0.2 0.2", "found '1.5'; expected a number from 0 to 1"),
        ("0 0.5 -0.1 0.2 0.2", "found '-0.1'"),
        ("0 0.5 0.5 nan 0.2", "found 'nan'"),
        ("0 0,5 0.5 0.2 0.2", "found '0,5'"),
        ("0 0.5 0.5 0 0.2", "width 0.0 and height 0.2; expected both above 0"),
    ],
)
def test_a_yolo_mistake_names_file_and_line(tmp_path: Path, line: str, words: str) -> None:
    path = text_file(tmp_path / "a.txt", f"0 0.5 0.5 0.2 0.1\n{line}\n")
    with pytest.raises(AnnotationError) as caught:
        read_yolo(path, NAMES, 200, 100)
    assert f"a.txt: line 2: {words}" in str(caught.value)


def test_class_names_are_the_lines_of_classes_txt(tmp_path: Path) -> None:
    text_file(tmp_path / "classes.txt", "\ufeffdirt\r\n 脏污 \n\n\n")
    assert read_class_names(tmp_path) == NAMES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty; expected one class name a line"),
        ("a\n\nb\n", "line 2: class name ''"),
        ("a\n../b\n", "line 2: class name '../b' cannot be the name of a folder"),
        ("a:b\n", "line 1: class name 'a:b'"),
        ("nul.x\n", "line 1: class name 'nul.x'"),
        ("end.\n", "line 1: class name 'end.'"),
    ],
)
def test_names_that_cannot_be_folders_are_refused(tmp_path: Path, text: str, words: str) -> None:
    text_file(tmp_path / "classes.txt", text)
    with pytest.raises(AnnotationError) as caught:
        read_class_names(tmp_path)
    assert f"classes.txt: {words}" in str(caught.value)


def test_missing_or_foreign_text_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"classes\.txt: not there; YOLO boxes need it"):
        read_class_names(tmp_path)
    (tmp_path / "classes.txt").write_bytes("脏污".encode("gbk"))
    with pytest.raises(AnnotationError, match=r"classes\.txt: not UTF-8"):
        read_class_names(tmp_path)


def test_voc_boxes_are_read(tmp_path: Path) -> None:
    size = "<size><width>200</width><height>100</height><depth>3</depth></size>"
    text = voc(voc_object() + voc_object("脏污", (-1, 0, 199.5, 101)), size, '<?xml version="1.0"?>\n')
    assert read_voc(text_file(tmp_path / "a.xml", text), 200, 100) == [
        Box("dirt", 10, 20, 30, 60),
        Box("脏污", 0, 0, 199.5, 100),
    ]


def test_voc_in_the_encoding_it_declares_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(voc(voc_object("脏污"), head='<?xml version="1.0" encoding="GBK"?>\n').encode("gbk"))
    assert [box.class_name for box in read_voc(path, 200, 100)] == ["脏污"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: not well-formed XML"),
        ("<annotation>\n<object>", "line 2: not well-formed XML"),
        ("<html></html>", "line 1: begins with <html>; expected <annotation>"),
        (voc(voc_object() + voc_object("")), "line 4: an <object> without a <name>"),
        (voc("<object><name>a</name></object>"), "line 2: an <object> without <xmin>"),
        (voc(voc_object(edges=(1, 2, "x", 4))), "line 3: <xmax> is 'x'; expected a number"),
        (voc(voc_object(edges=(1, 2, "nan", 4))), "line 3: <xmax> is 'nan'"),
        (voc(voc_object(edges=(30, 20, 10, 60))), "line 2: box from (30, 20) to (10, 60); expected xmin below xmax"),
        (voc(voc_object(edges=(30, 20, 30, 60))), "line 2: box from (30, 20) to (30, 60); expected xmin below xmax"),
        (voc(voc_object(edges=(30, 20, 210, 60))), "line 2: box from (30, 20) to (210, 60); expected it within"),
        (voc(voc_object(edges=(-9, 20, 21, 60))), "line 2: box from (-9, 20)"),
        (voc(voc_object(edges=(200.2, 20, 201, 60))), "line 2: box from (200.2, 20)"),
        (voc(voc_object("a/b")), "line 2: class name 'a/b' cannot be the name of a folder"),
        (voc(size="<size><width>100</width><height>200</height></size>"), "drawn on an image of 100 x 200 px"),
        (voc(head='<?xml version="1.0" encoding="martian"?>'), "line 1: cannot be read as martian"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>\n<annotation>&b;</annotation>', "line 1: has a document type"),
    ],
)
def test_a_voc_mistake_names_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    path = text_file(tmp_path / "a.xml", text)
    with pytest.raises(AnnotationError) as caught:
        read_voc(path, 200, 100)
    assert f"a.xml: {words}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_that_says_nothing_is_not_compared(tmp_path: Path) -> None:
    size = "<size><width>0</width><height>0</height></size>"
    assert len(read_voc(text_file(tmp_path / "a.xml", voc(voc_object(), size)), 200, 100)) == 1


def test_box_files_are_found_at_the_top_or_in_the_photos_class_folder(tmp_path: Path) -> None:
    text_file(tmp_path / "classes.txt", "dirt\n")
    text_file(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    text_file(tmp_path / "脏污" / "b.xml", voc(voc_object("脏污")))
    text_file(tmp_path / "old" / "z.xml", voc())
    text_file(tmp_path / "notes.md", "")
    files = AnnotationFolder(tmp_path)
    assert files.boxes_of(Path("p/a.jpg"), None, 100, 100) == [Box("dirt", 25, 25, 75, 75)]
    assert [box.class_name for box in files.boxes_of(Path("p/脏污/b.jpg"), "脏污", 200, 100)] == ["脏污"]
    assert files.unused() == ("old/z.xml",)


def test_a_photo_without_a_box_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"a\.txt: not there, nor an \.xml; expected a box file for .*a\.jpg"):
        AnnotationFolder(tmp_path).boxes_of(Path("p/a.jpg"), None, 9, 9)
    with pytest.raises(AnnotationError, match="labels: not there"):
        AnnotationFolder(tmp_path / "labels")


def test_two_box_files_for_a_photo_and_two_photos_for_one_are_refused(tmp_path: Path) -> None:
    text_file(tmp_path / "classes.txt", "dirt\n")
    text_file(tmp_path / "a.txt", "")
    files = AnnotationFolder(tmp_path)
    files.boxes_of(Path("p/x/a.jpg"), "x", 9, 9)
    with pytest.raises(AnnotationError, match=r"a\.txt: would belong to .*a\.jpg and .*a\.jpg"):
        files.boxes_of(Path("p/y/a.jpg"), "y", 9, 9)
    text_file(tmp_path / "a.xml", voc())
    with pytest.raises(AnnotationError, match=r"a\.txt: stands beside a\.xml"):
        AnnotationFolder(tmp_path).boxes_of(Path("p/a.jpg"), None, 9, 9)
