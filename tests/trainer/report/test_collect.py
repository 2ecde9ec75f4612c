from __future__ import annotations

import shutil

import pytest

from sdcore.errors import DataError
from trainer.evaluation.compare import compare
from trainer.messages import text
from trainer.report import collect_inputs


@pytest.fixture
def case(make_case):  # type: ignore[no-untyped-def]
    return make_case()


@pytest.fixture
def arms(case):  # type: ignore[no-untyped-def]
    return [case.arm("a", seeds=2, skill=1.0, generated=False), case.arm("b", seeds=2, skill=2.0, generated=True)]


def test_what_the_runs_recorded_is_gathered(case, arms) -> None:  # type: ignore[no-untyped-def]
    inputs = collect_inputs(compare(*arms, resamples=20), arms, case.data)
    assert [len(arm.curves) for arm in inputs.arms] == [2, 2]
    assert inputs.arms[0].curves[1].seed == "seed-1"
    assert inputs.arms[0].curves[0].epochs == tuple(range(1, 13))
    assert inputs.arms[1].settings["seed"] == "0, 1"
    assert inputs.arms[1].settings["augment.flips"] == "True"
    assert inputs.arms[0].engines == ()
    assert inputs.arms[1].engines == ("classical, not Stable Diffusion",)
    assert [one.folder for one in inputs.generated_sets] == [case.output.as_posix()]
    assert inputs.generated_sets[0].parameters["sampler"] == "DPM++ SDE Karras"
    assert "prompt" not in inputs.generated_sets[0].parameters
    assert inputs.worst is not None
    shown = (*inputs.comparison.gained, *inputs.comparison.lost, *inputs.worst.misses, *inputs.worst.overkill)
    assert set(inputs.thumbnails) == {one.image for one in shown}
    assert {"Python", "numpy", "sd-defects"} <= set(inputs.versions)


def test_a_generated_folder_that_is_gone_is_missed_in_words(case, arms) -> None:  # type: ignore[no-untyped-def]
    shutil.rmtree(case.output)
    one = collect_inputs(compare(*arms, resamples=20), arms, case.data).generated_sets[0]
    assert one.samples == ()
    assert "Samples cannot be shown" in text(one.missing)
    assert one.images == 46


def test_image_files_that_are_gone_are_missed_in_words(case, arms) -> None:  # type: ignore[no-untyped-def]
    for path in case.output.rglob("*.png"):
        path.unlink()
    one = collect_inputs(compare(*arms, resamples=20), arms, case.data).generated_sets[0]
    assert one.samples == ()
    assert "are gone" in text(one.missing)


def test_sources_that_are_gone_leave_their_images(case, arms) -> None:  # type: ignore[no-untyped-def]
    shutil.rmtree(case.root / "sources")
    one = collect_inputs(compare(*arms, resamples=20), arms, case.data).generated_sets[0]
    assert [sample.source for sample in one.samples] == [None] * 3
    assert [len(sample.generated) for sample in one.samples] == [4, 4, 4]
    assert one.missing is None


def test_a_damaged_record_is_refused_by_name(case, arms) -> None:  # type: ignore[no-untyped-def]
    (case.root / "a" / "seed-0" / "data.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.json: not readable as JSON"):
        collect_inputs(compare(*arms, resamples=20), arms, case.data)


def test_a_record_of_another_shape_is_refused(case, arms) -> None:  # type: ignore[no-untyped-def]
    (case.root / "a" / "seed-0" / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="found list; expected a JSON object"):
        collect_inputs(compare(*arms, resamples=20), arms, case.data)
