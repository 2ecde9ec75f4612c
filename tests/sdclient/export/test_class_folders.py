from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli
from sdclient.errors import ExportError, ManifestError, OutputError
from sdclient.export import ClassBalance, export, run as run_module
from sdclient.manifest import Curation, Manifest, Parent, read_exported
from sdclient.manifest.curation import ACCEPTED, REJECTED
from sdclient.manifest.tables import EXPORTED_NAME
from tests.support.export_output import MakeOutput, Output, sha256_of, tree


def exported_name(output: Output, file: str) -> str:
    class_name, name = file.split("/")
    stem = Path(name).stem
    return f"{class_name}/generated-{stem}-{sha256_of(output.root / file)[:16]}.png"


def test_accepted_images_come_beside_the_real_ones_byte_for_byte(output: Output, train: Path) -> None:
    result = export(output.root, train)
    wanted = {exported_name(output, file): file for file in ("漏铜/1_1.png", "漏铜/2_1.png", "dirt/1_1.png")}
    assert set(result.copied) == set(wanted)
    for name, file in wanted.items():
        assert (train / name).read_bytes() == (output.root / file).read_bytes()
    assert (result.recorded, result.taken, result.rejected, result.undecided) == (5, 3, 1, 1)
    assert result.balance == (
        ClassBalance("Normal", 1, 0, 0),
        ClassBalance("dirt", 0, 0, 1),
        ClassBalance("漏铜", 2, 0, 2),
    )
    assert [row.generated_share for row in result.balance] == [0.0, 1.0, 0.5]


def test_the_table_tells_output_source_and_every_parent(make_output: MakeOutput, train: Path) -> None:
    output = make_output()
    parent = Parent("Normal/7.png", "ab" * 32)
    output.add("漏铜", 1, others=(parent,))
    export(output.root, train, uncurated=True)
    (row,) = read_exported(train)
    source_sha256 = sha256_of(output.sources / "漏铜" / "1.png")
    assert row.parents_sha256 == (source_sha256, parent.sha256)
    assert row.other_parents == (parent,)
    assert (row.output, row.output_file) == (output.root.resolve().as_posix(), "漏铜/1_1.png")
    assert (row.source, row.class_name, row.engine) == ("漏铜/1.png", "漏铜", "stand-in")
    assert sha256_of(train / row.file) == row.sha256
    assert row.label_file == row.label_sha256 == ""


def test_a_repeat_changes_nothing(output: Output, train: Path) -> None:
    export(output.root, train)
    before = tree(train)
    result = export(output.root, train)
    assert tree(train) == before
    assert (len(result.copied), len(result.unchanged), len(result.removed)) == (0, 3, 0)
    assert [row.generated_before for row in result.balance] == [0, 1, 2]


def test_a_dry_run_tells_the_same_and_writes_nothing(output: Output, train: Path, tmp_path: Path) -> None:
    before = tree(train)
    planned = export(output.root, train, dry_run=True)
    assert tree(train) == before
    assert not list(train.glob(".lock*"))
    done = export(output.root, train)
    assert (planned.copied, planned.balance) == (done.copied, done.balance)
    export(output.root, tmp_path / "nowhere" / "train", dry_run=True)
    assert not (tmp_path / "nowhere").exists()


def test_what_is_not_accepted_any_more_is_taken_out_and_an_empty_class_goes(output: Output, train: Path) -> None:
    export(output.root, train)
    with Manifest(output.root, create=True) as manifest:
        Curation(manifest).review("dirt/1_1.png", REJECTED, tab="a", seen_revision=0)
        Curation(manifest).review("漏铜/1_2.png", ACCEPTED, tab="a", seen_revision=0)
    result = export(output.root, train)
    assert result.removed == (exported_name(output, "dirt/1_1.png"),)
    assert result.copied == (exported_name(output, "漏铜/1_2.png"),)
    assert not (train / "dirt").exists()
    assert {row.output_file for row in read_exported(train)} == {"漏铜/1_1.png", "漏铜/2_1.png", "漏铜/1_2.png"}


def test_it_stays_when_that_is_asked_for_and_goes_later(output: Output, train: Path) -> None:
    export(output.root, train)
    output.judge(rejected=["dirt/1_1.png"])
    name = exported_name(output, "dirt/1_1.png")
    assert export(output.root, train, keep=True).kept == (name,)
    assert (train / name).is_file()
    assert export(output.root, train).removed == (name,)


def test_what_somebody_changed_is_left_alone(output: Output, train: Path) -> None:
    export(output.root, train)
    kept, rejected = exported_name(output, "漏铜/1_1.png"), exported_name(output, "dirt/1_1.png")
    for name in (kept, rejected):
        Image.new("RGB", (4, 4), "teal").save(train / name)
    output.judge(rejected=["dirt/1_1.png"])
    before = tree(train)
    result = export(output.root, train)
    assert set(result.edited) == {kept, rejected}
    assert (result.copied, result.removed) == ((), ())
    assert tree(train) == before


def test_a_deleted_copy_comes_back(output: Output, train: Path) -> None:
    export(output.root, train)
    name = exported_name(output, "dirt/1_1.png")
    (train / name).unlink()
    assert export(output.root, train).copied == (name,)


def test_two_outputs_do_not_clash_and_do_not_touch_each_other(make_output: MakeOutput, train: Path) -> None:
    first, second = make_output("first"), make_output("second")
    for one in (first, second):
        one.add("漏铜", 1, 1)
    second.add("漏铜", 1, 2)
    (second.root / "漏铜" / "1_1.png").write_bytes((second.root / "漏铜" / "1_2.png").read_bytes())
    with Manifest(second.root, create=True) as manifest:
        manifest.forget(["漏铜/1_1.png"])
    first.judge(accepted=["漏铜/1_1.png"])
    second.judge(accepted=["漏铜/1_2.png"])
    export(first.root, train)
    export(second.root, train)
    assert len(list((train / "漏铜").glob("generated-*"))) == 2
    second.judge(rejected=["漏铜/1_2.png"])
    assert export(second.root, train).removed == (exported_name(second, "漏铜/1_2.png"),)
    assert export(first.root, train).unchanged == (exported_name(first, "漏铜/1_1.png"),)


def test_an_output_that_was_moved_is_known_by_its_images(output: Output, train: Path, tmp_path: Path) -> None:
    export(output.root, train)
    moved = output.root.rename(tmp_path / "elsewhere")
    output.root = moved
    output.judge(rejected=["dirt/1_1.png"])
    result = export(moved, train)
    assert (len(result.unchanged), len(result.removed)) == (2, 1)
    assert {row.output for row in read_exported(train)} == {moved.resolve().as_posix()}


def test_undecided_images_are_taken_on_purpose_alone(output: Output, train: Path, make_output: MakeOutput) -> None:
    assert len(export(output.root, train, uncurated=True).copied) == 5
    raw = make_output("raw")
    raw.add("dirt", 1)
    with pytest.raises(ExportError, match=r"none of its 1 images was ever judged; run 'sdclient curate .*--uncurated"):
        export(raw.root, train)


def test_nothing_accepted_takes_everything_out(output: Output, train: Path) -> None:
    export(output.root, train)
    output.judge(rejected=["漏铜/1_1.png", "漏铜/2_1.png", "dirt/1_1.png"])
    assert len(export(output.root, train).removed) == 3
    assert sorted(path.name for path in (train / "漏铜").iterdir()) == ["a.png", "b.png"]


# Stopped at any moment


@pytest.mark.parametrize("whole", range(3))
def test_a_stop_between_files_is_made_good_by_a_repeat(
    output: Output, train: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    real = run_module.write_bytes_atomically
    written: list[Path] = []

    def stop(path: Path, content: bytes) -> None:
        if len(written) == whole:
            path.parent.mkdir(exist_ok=True)
            for folder in (path.parent, train):
                (folder / ".77-1.part").write_bytes(content[:9])  # what a kill leaves behind
            raise KeyboardInterrupt
        real(path, content)
        written.append(path)

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_bytes_atomically", stop)
        with pytest.raises(KeyboardInterrupt):
            export(output.root, train)
    assert {train / row.file for row in read_exported(train)} >= set(written)  # whatever is there is known as ours
    result = export(output.root, train)
    assert {train / name for name in result.unchanged} == set(written)
    assert len(result.copied) == 3 - whole
    assert all(sha256_of(train / row.file) == row.sha256 for row in read_exported(train))
    assert not list(train.rglob(".*.part"))


def test_a_stop_between_removals_is_made_good_by_a_repeat(
    output: Output, train: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(output.root, train)
    output.judge(rejected=["漏铜/1_1.png", "漏铜/2_1.png"])

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "_remove_if_empty", stop)
        with pytest.raises(KeyboardInterrupt):
            export(output.root, train)
    assert len(list((train / "漏铜").glob("generated-*"))) == 1
    export(output.root, train)
    assert [row.output_file for row in read_exported(train)] == ["dirt/1_1.png"]
    assert len(list((train / "漏铜").iterdir())) == 2


def test_a_full_disk_is_one_line_and_a_repeat_goes_on(
    output: Output, train: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_bytes_atomically", full)
        found = CliRunner().invoke(cli, ["export", str(output.root), str(train)])
    assert found.exit_code == 1
    assert "the disk is full; free some space and run the same command again" in found.stderr
    assert CliRunner().invoke(cli, ["export", str(output.root), str(train)]).exit_code == 0


# Bad input


def test_missing_and_changed_files_are_refused_before_anything_is_written(output: Output, train: Path) -> None:
    before = tree(train)
    path = output.root / "dirt" / "1_1.png"
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    with pytest.raises(ExportError, match=r"1_1\.png: is not the file that was recorded; put it back"):
        export(output.root, train)
    path.unlink()
    with pytest.raises(ExportError, match=r"1_1\.png: is recorded, but not there; put it back, or run 'sdcl"):
        export(output.root, train)
    assert tree(train) == before


def test_rejected_images_may_be_gone(output: Output, train: Path) -> None:
    (output.root / "漏铜" / "1_2.png").unlink()
    assert len(export(output.root, train).copied) == 3


def test_a_file_in_the_way_that_is_not_ours_is_refused(output: Output, train: Path) -> None:
    path = train / exported_name(output, "dirt/1_1.png")
    path.parent.mkdir()
    path.write_bytes(b"a real picture")
    with pytest.raises(ExportError, match=r"is there already and is not ours; move it away"):
        export(output.root, train)
    assert path.read_bytes() == b"a real picture"


def test_a_lost_table_is_made_again_from_the_same_bytes(output: Output, train: Path) -> None:
    export(output.root, train)
    (train / EXPORTED_NAME).unlink()
    assert len(export(output.root, train).unchanged) == 3
    assert len(read_exported(train)) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "not a table that 'sdclient export' wrote"),
        (b"file,class\r\n", "line 1: expected the columns file, class, sha256"),
    ],
)
def test_a_damaged_table_is_refused(output: Output, train: Path, content: bytes, words: str) -> None:
    (train / EXPORTED_NAME).write_bytes(content)
    with pytest.raises(ManifestError, match=words):
        export(output.root, train)


@pytest.mark.parametrize("name", ["../../b.png", "/etc/b.png", "C:\\b.png"])
def test_a_table_that_names_files_elsewhere_is_refused(output: Output, train: Path, name: str) -> None:
    export(output.root, train)
    table = train / EXPORTED_NAME
    row = exported_name(output, "dirt/1_1.png")
    table.write_text(table.read_text(encoding="utf-8-sig").replace(row, name), encoding="utf-8-sig")
    with pytest.raises(ManifestError, match="leads out of the folder"):
        export(output.root, train)


@pytest.mark.parametrize("place", ["val", "test", "Test/extra", "data/valid", "data/val/deep/er"])
def test_a_folder_to_judge_by_is_refused_by_its_name(output: Output, train: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(ExportError, match="held out for evaluation; generated images belong in training only"):
        export(output.root, tmp_path / place)


def test_a_folder_called_test_further_up_is_no_matter(output: Output, tmp_path: Path) -> None:
    assert len(export(output.root, tmp_path / "test" / "project" / "data" / "train").copied) == 3


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("other", [False, True], ids=["source", "second parent"])
def test_a_parent_among_what_is_judged_by_is_refused(
    make_output: MakeOutput, train: Path, part: str, other: bool
) -> None:
    held_out = train.parent / part / "Normal" / f"{part[0]}.png"
    output = make_output()
    if other:
        file = output.add("漏铜", 1, others=(Parent("Normal/1.png", sha256_of(held_out)),))
    else:
        source = output.source("漏铜", 1)
        shutil.copy(source, held_out)
        file = output.add("漏铜", 1)
    before = tree(train)
    with pytest.raises(ExportError, match=rf"{file} was made from \S+{held_out.name}, which is held out"):
        export(output.root, train, uncurated=True)
    assert tree(train) == before


def test_a_generated_image_among_what_is_judged_by_is_refused(output: Output, train: Path) -> None:
    shutil.copy(output.root / "dirt" / "1_1.png", train.parent / "val" / "Normal" / "x.png")
    with pytest.raises(ExportError, match=r"x\.png is itself one of the generated images"):
        export(output.root, train)


def test_sources_outputs_and_overlaps_are_refused(output: Output, make_output: MakeOutput) -> None:
    with pytest.raises(ExportError, match=r"is where the sources of .* lie"):
        export(output.root, output.sources)
    other = make_output("other")
    other.add("dirt", 1)
    with pytest.raises(ExportError, match="is itself the output of a run"):
        export(output.root, other.root)
    with pytest.raises(OutputError, match="overlaps"):
        export(output.root, output.root / "train")


def test_names_that_differ_in_capitals_alone_are_refused(make_output: MakeOutput, train: Path) -> None:
    output = make_output()
    output.add("NORMAL", 1)
    with pytest.raises(ExportError, match="classes 'NORMAL' and 'Normal' differ only in case"):
        export(output.root, train, uncurated=True)


def test_a_class_that_windows_cannot_store_is_refused(make_output: MakeOutput, train: Path) -> None:
    output = make_output()
    output.add("aux", 1)
    with pytest.raises(ExportError, match="class 'aux' cannot be the name of a folder on every system"):
        export(output.root, train, uncurated=True)
    (train / "aux").mkdir()  # where it is there already, the user's system can
    assert len(export(output.root, train, uncurated=True).copied) == 1


def test_odd_stems_become_legal_names(make_output: MakeOutput, train: Path) -> None:
    output = make_output()
    file = output.add("dirt", 1)
    with Manifest(output.root, create=True) as manifest:
        record = next(manifest.images())
        odd = "dirt/焊 盘#1.PNG"
        (output.root / file).rename(output.root / odd)
        manifest.forget([file])
        manifest.add([replace(record, file=odd)])
    (name,) = export(output.root, train, uncurated=True).copied
    assert name == f"dirt/generated-____1-{sha256_of(output.root / odd)[:16]}.png"


# The command


def test_the_command_prints_the_balance_in_both_languages(output: Output, train: Path) -> None:
    found = CliRunner().invoke(cli, ["export", str(output.root), str(train)])
    assert found.exit_code == 0, found.output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in found.stdout.splitlines() if "│" in line]
    for words in ("class 类别", "real 真实", "导出前", "导出后", "占比"):
        assert words in found.stdout
    assert ["漏铜", "2", "0", "2", "4", "50.00 %"] in rows
    assert ["all 合计", "3", "0", "3", "6", "50.00 %"] in rows
    assert "3 of 5 images taken (accepted; 1 rejected, 1 undecided)" in found.stdout
    assert "3 copied, 0 there already" in found.stdout


def test_the_command_prints_json(output: Output, train: Path) -> None:
    found = CliRunner().invoke(cli, ["export", str(output.root), str(train), "--json"])
    told = json.loads(found.stdout)
    assert told["balance"]["漏铜"] == {
        "real": 2,
        "generated_before": 0,
        "generated_after": 2,
        "total_before": 2,
        "total_after": 4,
        "generated_share": 0.5,
    }
    assert (told["taken"], told["recorded"], len(told["copied"])) == (3, 5, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--min-change", "9"], "--min-change belongs to --labels"),
        (["--unlabelled", "skip"], "--unlabelled belongs to --labels"),
        (["--labels", "voc", "--classes", "classes.txt"], "--classes belongs to --labels yolo"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(options: list[str], words: str) -> None:
    found = CliRunner().invoke(cli, ["export", "output", "data/train", *options])
    assert found.exit_code == 2
    assert words in found.stderr


def test_a_folder_that_is_no_output_is_one_line(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["export", str(tmp_path), str(tmp_path / "train")])
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: ")
    assert "no manifest.sqlite here" in found.stderr
