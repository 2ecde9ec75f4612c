"""Runs: everything recorded, nothing lost, doubled or half-written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdclient.compose import ComposeSettings, ComposeStart, share_evenly
from sdclient.compose.maker import ENGINE
from sdclient.errors import MaskError, OutputError, SourceError
from sdclient.manifest import Curation, ImageRecord, Manifest
from sdclient.manifest.curation import FilterVerdict
from sdclient.manifest.database import FAILED
from sdclient.manifest.tables import export_csv
from sdclient.masks.mask import box_of, read_mask
from sdclient.output.store import OutputStore
from sdclient.output.upkeep import read_status, retry_failed, verify
from sdclient.sources import discover
from sdcore.files import sha256_of
from tests.support.compose_material import Material, disc, surface, to_image

Composed = Callable[..., Material]


def records_of(output: Path) -> dict[str, ImageRecord]:
    with Manifest(output) as manifest:
        return {record.file: record for record in manifest.images()}


def bytes_of(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*.png")}


def make(material: Material, per_class: int = 2, settings: ComposeSettings | None = None, **options: object) -> int:
    composer = material.composer(settings, **options)
    return sum(1 for _ in composer.run(share_evenly(discover(material.defects), per_class)))


def test_every_image_has_its_file_mask_and_both_parents(composed: Composed) -> None:
    material = composed(3)
    records = records_of(material.output)
    assert sorted(records) == [
        "pit/2_1.png",
        "pit/2_2.png",
        "pit/2_3.png",
        "漏铜/1_1.png",
        "漏铜/1_2.png",
        "漏铜/3_1.png",
    ]
    with Manifest(material.output) as manifest:
        run = manifest.run()
    assert run["sources"] == str(material.defects.resolve())
    assert run["other_sources"] == str(material.good.resolve())
    for record in records.values():
        assert record.engine == ENGINE == "transplant (classical, no generator)"
        assert record.source_sha256 == sha256_of(material.defects / record.source)
        (good,) = record.other_parents
        assert good.sha256 == sha256_of(material.good / good.source)
        assert record.asked["base"] == "other"
        base = Image.open(material.good / good.source)
        result = Image.open(material.output / record.file)
        mask = read_mask(material.output / record.mask, result.size)
        assert record.mask == f"_masks/{record.file}"
        assert (record.width, record.height) == result.size == base.size
        kept = np.asarray(mask) == 0
        assert np.array_equal(np.asarray(result)[kept], np.asarray(base)[kept])
        assert tuple(record.used["box"]) == box_of(mask)


def test_the_file_itself_tells_of_both_parents(composed: Composed) -> None:
    material = composed(1)
    for record in records_of(material.output).values():
        with Image.open(material.output / record.file) as image:
            told = json.loads(image.text["sdclient"])  # type: ignore[attr-defined]
        assert told["source_sha256"] == record.source_sha256
        assert told["parents_sha256"] == list(record.parents_sha256)
        assert told["engine"] == ENGINE
        assert told["class"] == record.class_name
        assert told["key"] == record.key


def test_on_its_own_image_a_defect_goes_elsewhere(composed: Composed) -> None:
    material = composed(4, onto="own")
    for record in records_of(material.output).values():
        assert record.asked["base"] == "source"
        assert record.other_parents == ()
        source = Image.open(material.defects / record.source)
        mask = np.asarray(read_mask(material.output / record.mask, source.size))
        own = np.asarray(read_mask(material.masks / record.source, source.size))
        assert not ((mask > 0) & (own > 0)).any()
        kept = mask == 0
        assert np.array_equal(np.asarray(Image.open(material.output / record.file))[kept], np.asarray(source)[kept])


def test_both_grounds_take_turns(composed: Composed) -> None:
    records = records_of(composed(4, onto="both").output)
    assert sorted(record.asked["base"] for record in records.values()) == ["other"] * 4 + ["source"] * 4


def test_a_repeat_makes_nothing_and_more_images_leave_the_first_ones(material: Material) -> None:
    assert make(material, 2) == 4
    before = bytes_of(material.output)
    assert make(material, 2) == 0
    assert make(material, 5) == 6
    after = bytes_of(material.output)
    assert {name: after[name] for name in before} == before


def test_the_same_inputs_give_the_same_bytes_elsewhere(material: Material) -> None:
    make(material, 4)
    make(material, 4, output=material.root / "again")
    assert bytes_of(material.output) == bytes_of(material.root / "again")


def test_helper_processes_give_the_same_bytes(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdclient.compose.run._FEWEST_FOR_HELPERS", 1)
    make(material, 6)
    assert make(material, 6, output=material.root / "again", workers=2) == 12
    assert bytes_of(material.output) == bytes_of(material.root / "again")


@pytest.mark.parametrize("when", ["before the file", "before the row"])
def test_a_killed_run_goes_on_where_it_was(
    material: Material, monkeypatch: pytest.MonkeyPatch, when: str, tmp_path: Path
) -> None:
    make(material, 4, output=tmp_path / "whole")

    class Killed(BaseException):
        pass

    real, saved = OutputStore.save, 0

    def save(self: OutputStore, made: list[object]) -> list[ImageRecord]:
        nonlocal saved
        saved += 1
        if saved == 4:
            if when == "before the row":
                with monkeypatch.context() as patch:
                    patch.setattr(Manifest, "add", lambda *_: (_ for _ in ()).throw(Killed))
                    real(self, made)  # type: ignore[arg-type]
            (self.output / "_masks" / "pit").mkdir(parents=True, exist_ok=True)
            (self.output / "_masks" / "pit" / ".1-1.part").write_bytes(b"half")
            raise Killed
        return real(self, made)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(OutputStore, "save", save)
        with pytest.raises(Killed):
            make(material, 4)
    assert len(records_of(material.output)) == 3
    assert make(material, 4) == 5
    assert bytes_of(material.output) == bytes_of(tmp_path / "whole")
    assert not list(material.output.rglob("*.part"))
    assert verify(material.output).is_sound


def test_a_lost_mask_is_made_again(composed: Composed) -> None:
    material = composed(2)
    lost = material.output / "_masks" / "pit" / "2_1.png"
    before = lost.read_bytes()
    lost.unlink()
    assert make(material, 2) == 1
    assert lost.read_bytes() == before


def test_other_parameters_are_refused(composed: Composed, material: Material) -> None:
    composed(1)
    with pytest.raises(OutputError, match=r"other parameters \(blend was 'auto', now 'clone'\)"):
        make(material, 1, ComposeSettings(blend="clone"))
    with pytest.raises(OutputError, match="seed was 0, now 1"):
        make(material, 1, ComposeSettings(seed=1))
    to_image(surface(99)).save(material.good / "7.png")
    with pytest.raises(OutputError, match="good was '6 images"):
        make(material, 1)


def test_another_mask_or_source_is_refused(composed: Composed, material: Material) -> None:
    composed(1)
    (material.masks / "pit" / "2.png").write_bytes((material.masks / "漏铜" / "1.png").read_bytes())
    with pytest.raises(OutputError, match=r"2_1.png: was made from another picture, or with another mask"):
        make(material, 1)


def test_a_defect_without_a_place_is_reported_and_the_others_are_made(material: Material) -> None:
    striped = surface(5)
    striped[:, ::6] = 250
    material.add_defect("pit", 7, to_image(striped), disc((64, 64), (30, 34), 6))
    composer = material.composer()
    made = list(composer.run(share_evenly(discover(material.defects), 2)))
    assert sorted(record.file for record in made) == ["pit/2_1.png", "漏铜/1_1.png", "漏铜/3_1.png"]
    assert composer.failed == {"pit/7_1.png": "no place on 6 good images: no surface fits"}
    status = read_status(material.output)
    assert status.failures == {("pit", "no place on 6 good images: no surface fits"): 1}
    assert not status.is_complete
    assert make(material, 2) == 0  # given up, not forgotten
    assert retry_failed(material.output) == 1
    with Manifest(material.output) as manifest:
        assert FAILED not in {state.status for state in manifest.states()}


def test_another_good_image_is_tried_where_the_first_does_not_fit(material: Material) -> None:
    rough = np.random.default_rng(0)
    for number in range(1, 6):
        to_image(rough.integers(0, 255, (72, 80, 3), dtype=np.uint8)).save(material.good / f"{number}.png")
    assert make(material, 6) == 12
    records = records_of(material.output).values()
    assert {record.other_parents[0].source for record in records} == {"6.png"}
    assert max(record.used["pictures_tried"] for record in records) > 1


def test_more_tries_change_no_image_that_found_its_place(material: Material) -> None:
    make(material, 3, tries=2)
    make(material, 3, tries=20, output=material.root / "again")
    assert bytes_of(material.output) == bytes_of(material.root / "again")


def test_good_images_may_lie_in_class_folders(material: Material, tmp_path: Path) -> None:
    folder = tmp_path / "good"
    for name in ("pads", "board"):
        (folder / name).mkdir(parents=True)
        to_image(surface(len(name), (80, 72))).save(folder / name / "a.png")
    assert make(material, 2, good=folder) == 4
    parents = {record.other_parents[0].source for record in records_of(material.output).values()}
    assert parents <= {"pads/a.png", "board/a.png"}


def test_allowed_areas_are_kept_to(material: Material, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    area = np.zeros((72, 80), dtype=np.uint8)
    area[:, :40] = 255
    for number in range(1, 5):
        Image.fromarray(area).save(allowed / f"{number}.png")
    begun: list[ComposeStart] = []
    composer = material.composer(allowed=allowed)
    list(composer.run(share_evenly(discover(material.defects), 6), on_start=begun.append))
    assert begun[0].allowed == 4
    for record in records_of(material.output).values():
        mask = np.asarray(read_mask(material.output / record.mask, (80, 72)))
        if record.other_parents[0].source in {"1.png", "2.png", "3.png", "4.png"}:
            assert not mask[:, 40:].any()


def test_an_allowed_folder_without_any_mask_is_refused(material: Material, tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    with pytest.raises(SourceError, match="no allowed area for any of the 6 pictures"):
        make(material, allowed=tmp_path / "allowed")


def test_missing_masks_are_counted(material: Material) -> None:
    (material.masks / "pit" / "2.png").unlink()
    with pytest.raises(MaskError, match=r"2.png: no such mask \(1 of 3 sources have none\)"):
        make(material)


def test_defects_are_no_good_images(material: Material) -> None:
    with pytest.raises(SourceError, match="defects, not good images"):
        make(material, good=material.defects)
    (material.good / "9.png").write_bytes((material.defects / "pit" / "2.png").read_bytes())
    with pytest.raises(SourceError, match=r"9.png: defects, not good images.*\(pit/2.png\)"):
        make(material)


def test_a_folder_without_good_images_is_refused(material: Material, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no image in it"):
        make(material, good=tmp_path / "empty")


def test_an_image_that_changes_meanwhile_stops_the_run(material: Material) -> None:
    images = material.composer().run(share_evenly(discover(material.defects), 3))
    next(images)
    for path in [*material.good.iterdir(), *(material.defects / "漏铜").iterdir()]:
        to_image(surface(77, (80, 72))).save(path)
    with pytest.raises(SourceError, match="changed during the run"):
        list(images)


def test_an_output_can_be_verified_exported_and_curated(composed: Composed) -> None:
    material = composed(2)
    found = verify(material.output)
    assert found.is_sound
    assert found.images == 4
    text = io.StringIO(newline="")
    assert export_csv(material.output, text) == 4
    text.seek(0)
    parents = [json.loads(row["other_parents"])[0]["source"] for row in csv.DictReader(text)]
    assert parents == [record.other_parents[0].source for record in records_of(material.output).values()]
    with Manifest(material.output, create=True) as manifest:
        curation = Curation(manifest)
        record = next(manifest.images())
        curation.set_filter_verdicts([FilterVerdict(record.file, record.sha256, ("tone",))])
        curation.review(record.file, "accepted", tab="a", seen_revision=0)
        assert curation.accepted_files() == {record.file}


def test_a_damaged_mask_is_found_and_mended(composed: Composed) -> None:
    material = composed(2)
    path = material.output / "_masks" / "pit" / "2_1.png"
    before = path.read_bytes()
    path.write_bytes(b"not a mask")
    assert not verify(material.output).is_sound
    verify(material.output, repair=True)
    assert make(material, 2) == 1
    assert path.read_bytes() == before
