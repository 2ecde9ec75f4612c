"""Which images were generated, and from what."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

from sdclient.export import export
from sdclient.manifest import Curation, Manifest, Parent
from sdclient.manifest.curation import ACCEPTED, REJECTED, FilterVerdict
from sdclient.manifest.tables import EXPORTED_NAME, ExportedImage, write_exported
from sdclient.output.store import encode_png
from trainer.cli import cli
from trainer.config import TrainingJob
from trainer.data.provenance import read_generated, read_parents, record_folders, recorded_images
from trainer.data.split import split
from trainer.data.training_set import build_training_set
from trainer.errors import GeneratedSetError, LeakageError, SplitError
from trainer.messages import text
from trainer.report.collect import collect_generated_set

SOURCE = "5e" * 32


def chunked_png(path: Path, kind: bytes, content: bytes, *, last: bool = False) -> Path:
    """A PNG with one text chunk, before its pixels or after them."""
    Image.new("RGB", (4, 4), "red").save(path, "PNG")
    whole = path.read_bytes()
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    place = len(whole) - 12 if last else 33
    path.write_bytes(whole[:place] + chunk + whole[place:])
    Image.open(path).close()
    return path


def test_an_image_of_the_batch_runner_names_its_source(tmp_path: Path) -> None:
    path = tmp_path / "图.png"
    image = Image.new("RGB", (4, 4), "red")
    path.write_bytes(encode_png(image, infotext="a, b", lineage={"class": "划痕", "source_sha256": SOURCE}))
    assert read_parents(path) == (SOURCE,)


def test_every_parent_is_named_and_each_once(tmp_path: Path) -> None:
    other = "07" * 32
    lineage = {"source_sha256": SOURCE, "parents_sha256": [SOURCE, other]}
    path = tmp_path / "moved.png"
    path.write_bytes(encode_png(Image.new("RGB", (4, 4)), infotext="", lineage=lineage))
    assert read_parents(path) == (SOURCE, other)


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "after them"])
@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (b"tEXt", lambda text: b"sdclient\0" + text),
        (b"zTXt", lambda text: b"sdclient\0\0" + zlib.compress(text)),
        (b"iTXt", lambda text: b"sdclient\0\0\0zh\0\xe6\xba\x90\0" + text),
        (b"iTXt", lambda text: b"sdclient\0\1\0\0\0" + zlib.compress(text)),
    ],
    ids=["tEXt", "zTXt", "iTXt", "packed iTXt"],
)
def test_every_kind_of_text_chunk_is_read(
    tmp_path: Path, kind: bytes, wrap: Callable[[bytes], bytes], last: bool
) -> None:
    path = chunked_png(tmp_path / "a.png", kind, wrap(json.dumps({"source_sha256": SOURCE}).encode()), last=last)
    assert read_parents(path) == (SOURCE,)
    with Image.open(path) as image:
        image.load()
        assert json.loads(image.info["sdclient"])["source_sha256"] == SOURCE  # Pillow agrees that this is a chunk


@pytest.mark.parametrize(
    "content",
    [
        b"sdclient\0not json",
        b"sdclient\0[1, 2]",
        b'sdclient\0{"source_sha256": 7}',
        b'sdclient\0{"source_sha256": "short"}',
        b'sdclient\0{"parents_sha256": []}',
        b'sdclient\0{"source_sha256": "' + SOURCE.encode() + b'", "parents_sha256": 7}',
        b'sdclient\0{"source_sha256": "' + SOURCE.encode() + b'", "parents_sha256": ["half"]}',
        b"sdclient\0{}",
        b"sdclient\0",
        b"sdclient",
        b"sdclient\0\xff\xfe\xff",
    ],
)
def test_a_mark_without_a_source_still_says_generated(tmp_path: Path, content: bytes) -> None:
    assert read_parents(chunked_png(tmp_path / "a.png", b"tEXt", content)) == ()


def test_a_damaged_packed_text_still_says_generated(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    content = b"sdclient\0\0no zlib"
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(content)) + b"zTXt" + content + b"\0\0\0\0"
    path.write_bytes(head)
    assert read_parents(path) == ()


def test_real_images_and_other_files_name_no_source(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", f'sdclient {{"source_sha256": "{SOURCE}"}}')
    Image.new("RGB", (4, 4)).save(tmp_path / "speaks of it.png", pnginfo=chunks)
    for path in tmp_path.iterdir():
        assert read_parents(path) is None, path.name
    with pytest.raises(FileNotFoundError):
        read_parents(tmp_path / "gone.png")


def test_a_manifest_names_images_and_sources_even_of_files_that_are_gone(
    photos: Path, make_generated: Callable[..., Path]
) -> None:
    source = photos / "划痕" / "1.png"
    output = make_generated([("划痕", source)], count=2)
    (output / "划痕" / "1_1.png").unlink()
    recorded = recorded_images(output)
    assert [one.path for one in recorded] == [output / "划痕" / "1_1.png", output / "划痕" / "1_2.png"]
    assert {one.parents for one in recorded} == {(hashlib.sha256(source.read_bytes()).hexdigest(),)}
    assert recorded[1].sha256 == hashlib.sha256(recorded[1].path.read_bytes()).hexdigest()
    assert read_parents(recorded[1].path) == recorded[1].parents


def test_manifests_are_found_wherever_they_lie(photos: Path, make_generated: Callable[..., Path]) -> None:
    assert record_folders(photos) == []
    output = make_generated([("dirt", photos / "dirt" / "1.png")], name="照片/dirt/output")
    assert record_folders(photos) == [output]
    assert record_folders(output) == [output]


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_a_manifest_that_cannot_be_read_is_refused_in_words(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.sqlite").write_bytes(content)
    with pytest.raises(GeneratedSetError, match=r"manifest\.sqlite"):
        recorded_images(tmp_path)


MakeGenerated = Callable[..., Path]


def job_on(data: Path, **sets: Any) -> TrainingJob:
    """A job on a DATA folder; where its run would go is not looked at."""
    return TrainingJob(data, Path("run"), **sets)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def judge(output: Path, *, accepted: Iterable[str] = (), rejected: Iterable[str] = ()) -> None:
    with Manifest(output, create=True) as manifest:
        hashes = {record.file: record.sha256 for record in manifest.images()}
        Curation(manifest).set_filter_verdicts(
            [
                *(FilterVerdict(file, hashes[file], ()) for file in accepted),
                *(FilterVerdict(file, hashes[file], ("noise",)) for file in rejected),
            ]
        )


@pytest.fixture
def output(data: Path, make_generated: MakeGenerated) -> Path:
    """Six images of "dirt": two accepted, three rejected, one nobody judged; a rejected one was deleted."""
    folder = make_generated([("dirt", data / "train" / "dirt" / f"{n}.png") for n in (1, 2)], count=3)
    judge(folder, accepted=["dirt/1_1.png", "dirt/2_1.png"], rejected=["dirt/1_2.png", "dirt/1_3.png", "dirt/2_2.png"])
    (folder / "dirt" / "1_2.png").unlink()
    return folder


def add_parent(output: Path, file: str, parent: Path, *, folder: Path | None = None) -> None:
    """Have the manifest say that an image holds pixels of another one, too."""
    with Manifest(output, create=True) as manifest:
        record = next(one for one in manifest.images() if one.file == file)
        manifest.forget([file])
        name = parent.name if folder is not None else "Normal/1.png"
        manifest.add([replace(record, other_parents=(Parent(name, sha256_of(parent)),))])
        if folder is not None:
            manifest.set_run({"other_sources": str(folder)})


def test_only_accepted_images_join_and_rejected_ones_may_be_gone(data: Path, output: Path) -> None:
    arm = build_training_set(job_on(data, generated=[output]))
    joined = sorted(image.path.name for image in arm.train if image.origin == "generated")
    assert joined == ["1_1.png", "2_1.png"]
    (said,) = arm.summary["generated_sets"]
    assert {key: said[key] for key in ("count", "recorded", "curated", "undecided", "classes")} == {
        "count": 2,
        "recorded": 6,
        "curated": True,
        "undecided": 1,
        "classes": {"dirt": 2},
    }
    assert arm.notes == (
        f"{output.as_posix()}: 2 of 6 images are accepted and taken; 3 rejected, 1 undecided",
    )  # fmt: skip


def test_a_person_decides_over_the_filters(data: Path, output: Path) -> None:
    with Manifest(output, create=True) as manifest:
        curation = Curation(manifest)
        curation.review("dirt/1_1.png", REJECTED, tab="a", seen_revision=0)
        curation.review("dirt/2_3.png", ACCEPTED, tab="a", seen_revision=0)
    assert sorted(image.path.name for image in read_generated(output).images) == ["2_1.png", "2_3.png"]


def test_the_control_repeats_the_sources_of_accepted_images_alone(data: Path, output: Path) -> None:
    arm = build_training_set(job_on(data, control_for=[output]))
    repeated = Counter(image.path.name for image in arm.train if image.origin == "repeated")
    assert repeated == {"1.png": 1, "2.png": 1}
    assert len(arm.notes) == 1


def test_an_accepted_image_must_be_whole(data: Path, output: Path) -> None:
    (output / "dirt" / "1_1.png").unlink()
    with pytest.raises(GeneratedSetError, match=r"1_1\.png: the file is recorded, but not there.*sdclient review"):
        build_training_set(job_on(data, generated=[output]))


def test_all_can_be_taken_on_purpose_and_then_all_must_be_whole(data: Path, output: Path) -> None:
    with pytest.raises(GeneratedSetError, match=r"1_2\.png: the file is recorded, but not there"):
        build_training_set(job_on(data, generated=[output], uncurated=True))
    with Manifest(output, create=True) as manifest:
        manifest.forget(["dirt/1_2.png"])
    arm = build_training_set(job_on(data, generated=[output], uncurated=True))
    assert sum(image.origin == "generated" for image in arm.train) == 5
    assert arm.notes == ()
    assert arm.summary["fingerprint"] != build_training_set(job_on(data, generated=[output])).summary["fingerprint"]


def test_a_set_without_accepted_images_is_refused(data: Path, make_generated: MakeGenerated) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1)
    judge(output, rejected=["dirt/1_1.png"])
    with pytest.raises(GeneratedSetError, match=r"none of its 1 images is accepted; .*--uncurated"):
        build_training_set(job_on(data, generated=[output]))


def test_a_report_shows_accepted_samples_and_how_many_there_are(data: Path, output: Path) -> None:
    summary = build_training_set(job_on(data, generated=[output])).summary["generated_sets"][0]
    shown = collect_generated_set(summary)
    assert (shown.images, shown.recorded) == (2, 6)
    assert [one.file for sample in shown.samples for one in sample.generated] == ["dirt/1_1.png"]


def test_a_rejected_image_in_val_is_known_though_its_file_is_gone(data: Path, output: Path) -> None:
    # The manifest still has its bytes, even where the text chunk is not read any more.
    content = (output / "dirt" / "1_3.png").read_bytes()
    (output / "dirt" / "1_3.png").unlink()
    (data / "val" / "dirt" / "90.png").write_bytes(content)
    with pytest.raises(LeakageError, match=r"90\.png: a generated image"):
        build_training_set(job_on(data, generated=[output]))


def test_the_command_says_how_many_and_has_the_flag(
    data: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainingJob] = []

    def train_seeds(job: TrainingJob, **_: object) -> list[object]:
        asked.append(job)
        return []

    monkeypatch.setattr("trainer.training.seeds.train_seeds", train_seeds)
    command = ["train", str(data), "--generated", str(output), "-o", str(tmp_path / "run")]
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert asked[-1].uncurated is False
    assert CliRunner().invoke(cli, [*command, "--uncurated"]).exit_code == 0
    assert asked[-1].uncurated is True


# Every parent counts


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("role", ["generated", "control_for"])
def test_a_defect_put_into_a_held_out_good_image_is_refused_by_the_manifest(
    data: Path, make_generated: MakeGenerated, part: str, role: str
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")])
    good = data / part / "Normal" / ("9.png" if part == "val" else "12.png")
    add_parent(output, "dirt/1_2.png", good)
    with pytest.raises(LeakageError, match=rf"1_2\.png: made from \S+{good.name}, which is held out .*1 of 2 images"):
        build_training_set(job_on(data, **{role: [output]}))


def test_a_good_parent_saved_anew_is_known_by_its_pixels(
    data: Path, tmp_path: Path, make_generated: MakeGenerated
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1)
    goods = tmp_path / "goods"
    goods.mkdir()
    with Image.open(data / "test" / "Normal" / "12.png") as image:
        image.save(goods / "1.bmp")
    add_parent(output, "dirt/1_1.png", goods / "1.bmp", folder=goods)
    with pytest.raises(LeakageError, match=r"1_1\.png: made from \S+12\.png"):
        build_training_set(job_on(data, generated=[output]))


def test_a_good_parent_that_cannot_be_opened_is_reported(
    data: Path, tmp_path: Path, make_generated: Callable[..., Path]
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=1)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "elsewhere.png")
    add_parent(output, "dirt/1_1.png", tmp_path / "elsewhere.png")
    (words,) = map(text, build_training_set(job_on(data, generated=[output])).warnings)
    assert words.startswith("1 source(s) of generated images: neither in ")


def moved(path: Path, *parents: Path) -> Path:
    """An image whose text chunk names its parents as a transplant's does."""
    hashes = [sha256_of(parent) for parent in parents]
    lineage = {"class": "dirt", "source_sha256": hashes[0], "parents_sha256": hashes, "engine": "transplant"}
    pixels = np.random.default_rng(5).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    path.write_bytes(encode_png(Image.fromarray(pixels), infotext="", lineage=lineage))
    return path


def test_a_train_image_whose_chunk_names_a_held_out_second_parent_is_refused(data: Path) -> None:
    good = data / "test" / "Normal" / "12.png"
    moved(data / "train" / "dirt" / "99.png", data / "train" / "dirt" / "1.png", good)
    with pytest.raises(LeakageError, match=r"99\.png: generated \(it carries .*\) from \S+12\.png"):
        build_training_set(job_on(data))


def test_a_train_image_with_both_parents_in_train_counts_as_generated(data: Path) -> None:
    moved(data / "train" / "dirt" / "99.png", data / "train" / "dirt" / "1.png", data / "train" / "Normal" / "1.png")
    arm = build_training_set(job_on(data))
    assert arm.summary["train"]["dirt"] == {"real": 8, "generated": 1, "repeated": 0}
    (words,) = map(text, arm.warnings)
    assert "sources that are not there" not in words


# What `sdclient export` puts into train


def exported(data: Path, *, other: Path | None = None, chunk: bool = False) -> Path:
    """An image in train, with or without a text chunk, that only the table of exports records."""
    source = data / "train" / "dirt" / "1.png"
    path = data / "train" / "dirt" / "gen-1_1-00.png"
    moved(path, source)
    if not chunk:
        with Image.open(path) as image:
            image.load()
            Image.fromarray(np.asarray(image)).save(path)
    parents = (Parent("Normal/1.png", sha256_of(other)),) if other else ()
    row = ExportedImage(
        "dirt/gen-1_1-00.png", "dirt", sha256_of(path), "", "", "/output", "dirt/1_1.png", "e", "dirt/1.png",
        sha256_of(source), parents,
    )  # fmt: skip
    write_exported(data / "train", [row])
    return path


@pytest.mark.parametrize("chunk", [True, False])
def test_an_exported_image_counts_as_generated_by_chunk_or_by_table(data: Path, chunk: bool) -> None:
    path = exported(data, chunk=chunk)
    arm = build_training_set(job_on(data))
    assert [image.path for image in arm.train if image.origin == "generated"] == [path]


def test_an_exported_image_that_was_edited_is_known_by_its_place(data: Path) -> None:
    path = exported(data)
    Image.new("RGB", (32, 32), "teal").save(path)
    assert [image.path for image in build_training_set(job_on(data)).train if image.origin == "generated"] == [path]


def test_the_table_records_a_held_out_second_parent(data: Path) -> None:
    exported(data, other=data / "val" / "Normal" / "9.png", chunk=True)
    with pytest.raises(LeakageError, match=r"gen-1_1-00\.png: generated \(it carries .*\) from \S+9\.png"):
        build_training_set(job_on(data))


def test_an_exported_image_moved_to_val_is_refused(data: Path) -> None:
    path = exported(data)
    path.rename(data / "val" / "dirt" / path.name)
    with pytest.raises(LeakageError, match=r"gen-1_1-00\.png: a generated image \(a manifest or an export records its"):
        build_training_set(job_on(data))


def test_a_table_that_cannot_be_read_is_refused_in_words(data: Path) -> None:
    exported(data)
    (data / "train" / EXPORTED_NAME).write_text("file,class\n", encoding="utf-8")
    with pytest.raises(
        GeneratedSetError, match=r"exported\.csv: line 1: expected the columns file, class, .*restore it"
    ):
        build_training_set(job_on(data))


def test_exported_images_are_not_divided_into_parts(data: Path, tmp_path: Path) -> None:
    exported(data)
    with pytest.raises(SplitError, match=r"gen-1_1-00\.png: a generated image, as a record in \S+train says"):
        split(data / "train", tmp_path / "anew")


def test_a_finished_run_names_its_sets(data: Path, output: Path) -> None:
    # data.json goes through JSON and back.
    summary = json.loads(json.dumps(build_training_set(job_on(data, generated=[output])).summary))
    assert summary["generated_sets"][0]["recorded"] == 6


def test_what_the_client_exports_counts_as_generated_and_is_guarded(data: Path, output: Path) -> None:
    export(output, data / "train")
    arm = build_training_set(job_on(data))
    assert arm.summary["train"]["dirt"] == {"real": 8, "generated": 2, "repeated": 0}
    with pytest.raises(GeneratedSetError, match=r"lies in training already, as \S+generated-\S+\.png \(2 such"):
        build_training_set(job_on(data, generated=[output]))
    # Whatever is done to its text, an exported image moved away is still known by the table.
    (path, *_) = (data / "train" / "dirt").glob("generated-*")
    path.rename(data / "test" / "dirt" / path.name)
    with pytest.raises(LeakageError, match=rf"{path.name}: a generated image"):
        build_training_set(job_on(data))
