"""Scoring once, judging from the stored scores, and what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw

from sdclient.curate import Curator, JudgedImage
from sdclient.curate.curator import RUN_KEY
from sdclient.curate.thresholds import CurationSettings, UserThresholds
from sdclient.errors import OutputError, SourceError
from sdclient.manifest import Curation, Manifest
from sdclient.manifest.curation import ACCEPTED, REJECTED, UNDECIDED
from sdcore.errors import DataError, SettingsError
from tests.support.images import add_images, blurred, contents, noisy, painted, sibling, surface

LATER = "2026-01-02T00:00:00+00:00"


class Counter:
    """A track that counts what goes through it, by title."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, items: Sequence[Any], title: str) -> Iterable[Any]:
        self.seen[title] = self.seen.get(title, 0) + len(items)
        return items


def curate(output: Path, settings: CurationSettings | None = None) -> dict[str, JudgedImage]:
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, settings)
        curator.score_missing()
        return {one.file: one for one in curator.judge()}


def test_good_siblings_are_accepted_and_that_is_written(output: Path) -> None:
    judged = curate(output)
    assert [one.reasons for one in judged.values()] == [()] * 3
    with Manifest(output) as manifest:
        assert Curation(manifest).accepted_files() == set(judged)
        assert Curation(manifest).scores()["pit/1_1.png"] == dict(judged["pit/1_1.png"].scores)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda image: image, "too_alike"),
        (lambda image: ImageChops.offset(image, 1, 0), "too_alike"),
        (lambda image: noisy(image, 30, in_colour=False), "noise"),
        (lambda image: noisy(image, 40, in_colour=True), "colour_garbage"),
        (lambda image: blurred(sibling(image, 5), 2), "blurred"),
        (lambda image: painted(sibling(image, 5)), "oil_paint"),
        (lambda image: sibling(image, 5).point(lambda level: level * 0.4 + 140), "tone"),
        (lambda image: Image.merge("RGB", sibling(image, 5).split()[::-1]), "colour"),
        (lambda image: Image.new("RGB", image.size, (120, 104, 73)), "blurred"),
        (lambda image: Image.new("RGB", image.size), "blurred"),
    ],
    ids=["copy", "shifted", "noise", "rainbow", "blur", "paint", "tone", "colour", "one colour", "black"],
)
def test_each_planted_fault_has_its_reason(
    output: Path, sources: Path, spoil: Callable[[Image.Image], Image.Image], reason: str
) -> None:
    add_images(output, sources, {"pit/4_1.png": spoil(surface(4))})
    judged = curate(output)
    assert reason in judged["pit/4_1.png"].reasons
    assert not judged["pit/4_1.png"].is_accepted
    assert judged["pit/1_1.png"].is_accepted


def test_a_second_call_scores_nothing_and_says_the_same(output: Path) -> None:
    first = curate(output)
    with Manifest(output, create=True) as manifest:
        curator, counter = Curator(output, manifest), Counter()
        assert curator.score_missing(counter) == 0
        assert counter.seen == {}
        assert {one.file: one for one in curator.judge(counter)} == first


def test_only_new_images_are_scored_while_the_manifest_stays_open(output: Path, sources: Path) -> None:
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest)
        assert curator.score_missing() == 3
        add_images(output, sources, {"stain/1_1.png": sibling(surface(101), 1)})
        counter = Counter()
        assert curator.score_missing(counter) == 1
        assert counter.seen["score"] == 1
        assert len(curator.judge()) == 4


def test_an_image_that_was_made_again_is_scored_again(output: Path, sources: Path) -> None:
    curate(output)
    with Manifest(output, create=True) as manifest:
        manifest.forget(["pit/1_1.png"])
    add_images(output, sources, {"pit/1_1.png": surface(1)})
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest)
        assert curator.score_missing() == 1
        assert [one.reasons for one in curator.judge() if one.file == "pit/1_1.png"] == [("too_alike",)]


def test_other_real_images_mean_new_scores(output: Path, sources: Path) -> None:
    curate(output)
    (sources / "stain" / "6.png").unlink()
    with Manifest(output, create=True) as manifest:
        assert Curator(output, manifest).score_missing() == 3


def test_the_later_of_two_duplicates_is_rejected(output: Path, sources: Path) -> None:
    twin = noisy(sibling(surface(1), 1), 1, in_colour=False)
    add_images(output, sources, {"pit/1_2.png": sibling(surface(1), 9)}, created_at=LATER)
    add_images(output, sources, {"pit/10_1.png": ImageChops.offset(twin, 1, 0)}, created_at=LATER)
    judged = curate(output)
    assert judged["pit/10_1.png"].reasons == ("near_duplicate",)
    assert judged["pit/10_1.png"].is_too_alike
    assert judged["pit/1_1.png"].is_accepted
    assert judged["pit/1_2.png"].is_accepted


def test_nothing_is_a_duplicate_of_what_is_rejected(output: Path, sources: Path) -> None:
    add_images(output, sources, {"pit/1_2.png": sibling(surface(1), 1)}, created_at=LATER)
    assert curate(output)["pit/1_2.png"].reasons == ("near_duplicate",)
    with Manifest(output, create=True) as manifest:
        revision = Curation(manifest).review("pit/1_1.png", REJECTED, tab="a", seen_revision=0)
    assert curate(output)["pit/1_2.png"].is_accepted
    with Manifest(output, create=True) as manifest:
        Curation(manifest).review("pit/1_1.png", UNDECIDED, tab="a", seen_revision=revision)
    assert not curate(output)["pit/1_2.png"].is_accepted


def test_what_a_person_accepted_stays_and_pushes_out_its_duplicate(output: Path, sources: Path) -> None:
    add_images(output, sources, {"pit/1_2.png": sibling(surface(1), 1)}, created_at=LATER)
    curate(output)
    with Manifest(output, create=True) as manifest:
        Curation(manifest).review("pit/1_2.png", ACCEPTED, tab="a", seen_revision=0)
    judged = curate(output)
    assert judged["pit/1_2.png"].is_accepted
    assert judged["pit/1_1.png"].reasons == ("near_duplicate",)


def test_a_person_goes_before_the_filters(output: Path, sources: Path) -> None:
    add_images(output, sources, {"pit/4_1.png": surface(4)})
    curate(output)
    with Manifest(output, create=True) as manifest:
        Curation(manifest).review("pit/4_1.png", ACCEPTED, tab="a", seen_revision=0)
        Curation(manifest).review("pit/1_1.png", REJECTED, tab="a", seen_revision=0)
    judged = curate(output)
    assert judged["pit/4_1.png"].is_accepted
    assert judged["pit/4_1.png"].reasons == ("too_alike",)
    assert not judged["pit/1_1.png"].is_accepted


def mask_of(box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def test_inpainted_images_are_compared_where_they_were_changed(output: Path, sources: Path) -> None:
    box = (16, 16, 47, 47)
    images, masks = {}, {}
    for k in (1, 2):
        image = surface(5)
        image.paste(sibling(surface(5), 10 + k).crop((16, 16, 48, 48)), (16, 16))
        images[f"pit/5_{k}.png"], masks[f"pit/5_{k}.png"] = image, mask_of(box)
    images["pit/5_3.png"], masks["pit/5_3.png"] = surface(5), mask_of(box)
    add_images(output, sources, images, masks=masks)
    judged = curate(output)
    assert judged["pit/5_1.png"].reasons == ()
    assert judged["pit/5_2.png"].reasons == ()
    assert judged["pit/5_3.png"].reasons == ("too_alike",)
    outside = judged["pit/5_1.png"].scores["ssim_outside"]
    assert outside is not None
    assert outside == pytest.approx(1.0)


def test_a_transplant_is_compared_with_the_image_it_was_put_into(output: Path, sources: Path) -> None:
    image = surface(102)
    image.paste(surface(5).crop((20, 20, 40, 40)), (20, 20))
    others = {"pit/5_1.png": (sources, "stain/2.png")}
    masks = {"pit/5_1.png": mask_of((20, 20, 39, 39))}
    add_images(output, sources, {"pit/5_1.png": image}, masks=masks, others=others)
    scores = curate(output)["pit/5_1.png"].scores
    assert scores["ssim_outside"] == pytest.approx(1.0)
    assert scores["ssim_inside"] is not None
    assert scores["ssim_inside"] < 0.9


def test_a_changed_image_is_named(output: Path) -> None:
    (output / "pit" / "2_1.png").write_bytes((output / "pit" / "1_1.png").read_bytes())
    with pytest.raises(OutputError, match=r"2_1\.png: was changed.*verify"):
        curate(output)


def test_a_missing_image_is_named_also_when_it_was_scored(output: Path) -> None:
    curate(output)
    (output / "pit" / "2_1.png").unlink()
    with Manifest(output, create=True) as manifest, pytest.raises(OutputError, match=r"2_1\.png: cannot be read"):
        Curator(output, manifest).check_files()


def test_a_source_that_was_changed_or_moved_is_named(output: Path, sources: Path) -> None:
    surface(99).save(sources / "pit" / "2.png")
    with pytest.raises(OutputError, match=r"2\.png: was changed since pit/2_1\.png was made"):
        curate(output)
    moved = sources.rename(sources.parent / "elsewhere")
    with pytest.raises(DataError, match="sources"):
        curate(output)
    surface(2).save(moved / "pit" / "2.png")
    assert len(curate(output, CurationSettings(sources=moved))) == 3


def test_a_dry_run_writes_nothing_and_says_the_same(output: Path, sources: Path) -> None:
    add_images(output, sources, {"pit/1_2.png": sibling(surface(1), 1), "pit/4_1.png": surface(4)}, created_at=LATER)
    before = contents(output)
    with Manifest(output) as manifest:
        curator = Curator(output, manifest, is_dry_run=True)
        assert curator.score_missing() == 5
        dry = {one.file: one for one in curator.judge()}
    assert contents(output) == before
    assert dry == curate(output)


def test_limits_are_kept_with_the_run_and_given_ones_win(output: Path) -> None:
    curate(output, CurationSettings(limits=UserThresholds(max_tone=33.0), skip=frozenset({"face"})))
    with Manifest(output) as manifest:
        kept = manifest.run()[RUN_KEY]
    assert kept["limits"]["pit"]["max_tone"] == 33.0
    assert kept["limits"]["pit"]["real_images"] == 12
    assert "min_texture" in kept["limits"]["pit"]["pooled"]
    assert kept["skip"] == ["face"]


def test_another_limit_costs_no_new_score(output: Path) -> None:
    curate(output)
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, CurationSettings(limits=UserThresholds(max_ssim=-1.0)))
        assert curator.score_missing() == 0
        assert {one.reasons for one in curator.judge()} == {("too_alike",)}


def test_an_unknown_filter_is_named() -> None:
    with pytest.raises(SettingsError, match="'faces': no such filter; expected one of too_alike"):
        CurationSettings(skip=frozenset({"faces"}))


def test_a_folder_without_real_images_is_refused(output: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no class folder with images"):
        curate(output, CurationSettings(real=tmp_path / "empty"))


def test_a_class_without_real_images_gets_the_limits_of_all(output: Path, sources: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (sources / "stain").rename(tmp_path / "stain")
    real.mkdir()
    (tmp_path / "stain").rename(real / "stain")
    judged = curate(output, CurationSettings(real=real))
    assert len(judged) == 3


def test_worker_processes_find_the_same(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdclient.curate.scores.WORTH_WORKERS", 1)
    with Manifest(output) as manifest:
        curator = Curator(output, manifest, CurationSettings(workers=2), is_dry_run=True)
        curator.score_missing()
        found = curator.judge()
    assert {one.file: one for one in found} == curate(output)


def test_an_output_without_images_is_judged_as_nothing(tmp_path: Path, sources: Path) -> None:
    add_images(tmp_path / "new", sources, {})
    assert curate(tmp_path / "new") == {}


def test_an_image_of_another_mode_is_scored(output: Path, sources: Path) -> None:
    grey = sibling(surface(6), 6).convert("L")
    add_images(output, sources, {"pit/6_1.png": grey, "pit/7_1.png": Image.new("L", (30, 20))})
    assert set(curate(output)) > {"pit/6_1.png", "pit/7_1.png"}
