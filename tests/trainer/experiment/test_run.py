from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcore.errors import DataError, FolderInUse, SettingsError
from trainer.data.provenance import read_generated
from trainer.data.split import split_folds
from trainer.errors import EvaluationError, GeneratedSetError, LeakageError
from trainer.experiment.config import ExperimentConfig
from trainer.experiment.prepare import prepare
from trainer.experiment.records import CellJob
from trainer.experiment.result import ExperimentResult
from trainer.experiment.run import Stopped, choose_workers, is_done, plan_jobs, plan_sets, run_experiment
from trainer.messages import text
from trainer.processes import JobFailed

Work = Any
MakeExperiment = Callable[..., ExperimentConfig]

CELLS = [f"{arm} seed-{seed}" for seed in (0, 1) for arm in ("baseline", "oversampling", "classical", "generated")]


def go(config: ExperimentConfig, work: Work, **options: Any) -> ExperimentResult:
    return run_experiment(config, processes=0, progress=False, work_cell=work, resamples=50, **options)


def told(config: ExperimentConfig) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(config.output) / "experiment.json").read_text(encoding="utf-8"))
    return content


def test_every_cell_is_worked_once_and_the_result_is_written(make: MakeExperiment, fake: Work) -> None:
    config = make()
    result = go(config, fake)
    assert fake.worked == CELLS
    assert [one.folder for one in result.cells] == [f"cells/{name.replace(' ', '/')}" for name in CELLS]
    content = told(config)
    assert content["state"] == "finished"
    assert content["verdicts"]["generated"] == {
        "word": result.judgements[0].word,
        "provisional": True,
        "sentence": text(result.judgements[0].sentence),
    }
    assert set(content["arms"]["baseline"]["seeds"]) == {"seed-0", "seed-1"}
    assert content["arms"]["generated"]["macro_f1"]["mean"] == 1.0
    assert content["arms"]["generated"]["added"] == {"dirt": 10, "划痕": 10}
    assert content["arms"]["classical"]["added"] == content["arms"]["generated"]["added"]
    assert content["arms"]["baseline"]["added"] == {}
    assert content["data"]["sets"][0]["engine"] == "classical stand-in, not Stable Diffusion"
    assert json.dumps(content, allow_nan=False)


def test_every_arm_has_the_same_steps_and_only_oversampling_is_balanced(make: MakeExperiment, fake: Work) -> None:
    jobs: dict[str, CellJob] = {}

    def work(job: CellJob) -> None:
        jobs[job.name] = job
        fake(job)

    result = go(make(train={"epochs": 3, "imgsz": 32, "batch_size": 8}), work)
    # 24 real and 20 generated images in the largest arm: 44 an epoch, 6 steps.
    assert {job.config.images_per_epoch for job in jobs.values()} == {44}
    assert result.steps == 18
    assert {one.steps for one in result.cells} == {18}
    assert {name for name, job in jobs.items() if job.config.balance} == {"oversampling seed-0", "oversampling seed-1"}
    assert [jobs[f"baseline seed-{seed}"].config.seed for seed in (0, 1)] == [0, 1]


def test_a_cell_of_fewer_steps_is_refused(make: MakeExperiment, fake: Work) -> None:
    fake.steps_too_few = "classical seed-1"
    with pytest.raises(EvaluationError, match=r"classical.seed-1: trained for 6 steps, expected 12"):
        go(make(train={"epochs": 2, "imgsz": 32, "batch_size": 8}), fake)


def test_started_again_nothing_is_worked_and_the_result_is_the_same(make: MakeExperiment, fake: Work) -> None:
    config = make()
    go(config, fake)
    first = told(config)
    fake.worked.clear()
    go(config, fake)
    assert fake.worked == []
    assert told(config) == first


def test_only_what_is_missing_is_worked(make: MakeExperiment, fake: Work) -> None:
    config = make()
    go(config, fake)
    fake.worked.clear()
    shutil.rmtree(Path(config.output) / "cells/classical/seed-1")
    (Path(config.output) / "cells/baseline/seed-0/predictions.csv").write_text("spoiled", encoding="utf-8")
    go(config, fake)
    assert fake.worked == ["baseline seed-0", "classical seed-1"]


def test_a_failed_cell_is_named_and_the_finished_ones_are_kept(make: MakeExperiment, fake: Work) -> None:
    config = make()
    fake.fail, fake.error = "oversampling seed-1", SettingsError("lr: the loss became nan")
    with pytest.raises(JobFailed, match=r"^oversampling seed-1: lr: the loss became nan$"):
        go(config, fake)
    assert told(config)["state"] == "running"
    fake.fail = None
    fake.worked.clear()
    go(config, fake)
    assert fake.worked == CELLS[5:]


def test_ctrl_c_says_what_is_done(make: MakeExperiment, fake: Work) -> None:
    fake.fail, fake.error = CELLS[2], KeyboardInterrupt()
    with pytest.raises(Stopped, match=r"stopped; 2 of 8 cells are done .* the same command goes on"):
        go(make(), fake)


def test_cells_of_other_settings_are_refused_unless_told(make: MakeExperiment, fake: Work) -> None:
    go(make(), fake)
    other = make(train={"epochs": 1, "imgsz": 64, "batch_size": 8})
    with pytest.raises(SettingsError, match=r"seed-0: trained with other settings or images, as are 8 of 8 cells"):
        go(other, fake)
    fake.worked.clear()
    go(other, fake, overwrite=True)
    assert fake.worked == CELLS


def test_the_metric_is_declared_before_the_first_cell_and_stays(make: MakeExperiment, fake: Work) -> None:
    config = make()
    seen = []

    def work(job: CellJob) -> None:
        seen.append(told(config)["declared"]["primary"])
        fake(job)

    go(config, work)
    assert seen == ["macro_f1"] * 8
    declared = told(config)["declared"]
    with pytest.raises(SettingsError, match=r"primary: found 'accuracy', but .* declared 'macro_f1' .* before 8"):
        go(make(primary="accuracy"), fake)
    assert told(config)["declared"] == declared


def test_before_any_cell_is_finished_the_metric_may_change(make: MakeExperiment, fake: Work) -> None:
    fake.fail, fake.error = CELLS[0], SettingsError("no")
    with pytest.raises(JobFailed):
        go(make(), fake)
    fake.fail = None
    assert go(make(primary="accuracy"), fake).declared["primary"] == "accuracy"


def test_a_later_change_of_the_file_is_said_loudly(make: MakeExperiment, fake: Work) -> None:
    go(make(), fake)
    result = go(make(seeds=3), fake)
    assert [one["changed"] for one in result.revisions] == [["seeds"]]
    assert text(result.notes[0]).startswith("The experiment file was changed (seeds) when 8 cells were finished")
    assert len(go(make(seeds=3), fake).revisions) == 1


def test_a_lost_declaration_is_said_loudly(make: MakeExperiment, fake: Work) -> None:
    config = make()
    go(config, fake)
    (Path(config.output) / "experiment.json").unlink()
    assert text(go(config, fake).notes[0]).startswith("8 cells were finished when the primary metric was declared")


def test_a_foreign_experiment_json_is_refused(make: MakeExperiment, fake: Work) -> None:
    config = make()
    Path(config.output).mkdir()
    (Path(config.output) / "experiment.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"experiment\.json: not an experiment\.json of this program"):
        go(config, fake)


def test_two_at_once_in_one_folder_are_refused(make: MakeExperiment, fake: Work) -> None:
    config = make()

    def work(job: CellJob) -> None:
        with pytest.raises(FolderInUse, match="another 'trainer experiment' is at work here"):
            go(config, fake)
        fake(job)

    assert go(config, work).images == 9


def test_generated_images_of_defects_alone_are_warned_of(make: MakeExperiment, fake: Work) -> None:
    result = go(make(), fake)
    assert result.arm("generated").defects_only
    assert any(
        text(note).startswith("generated: its generated images are of defect classes only") for note in result.notes
    )
    assert result.arm("baseline").separability is None
    told_apart = result.arm("generated").separability
    assert told_apart is not None
    assert (told_apart.real, told_apart.generated) == (16, 20)


def test_normal_images_are_used_or_not_as_asked(
    make: MakeExperiment, fake: Work, data: Path, make_generated: Callable[..., Path]
) -> None:
    make_generated([("Normal", data / "train/Normal/1.png"), ("dirt", data / "train/dirt/1.png")], name="both")
    arms = [
        {"kind": "baseline"},
        {"kind": "classical"},
        {"kind": "generated", "name": "with", "sets": ["both"], "normal": True},
        {"kind": "generated", "name": "without", "sets": ["both"], "normal": False},
    ]
    result = go(make(arm=arms), fake)
    assert dict(result.arm("with").added) == {"Normal": 2, "dirt": 2}
    assert dict(result.arm("without").added) == {"dirt": 2}
    assert (result.arm("with").defects_only, result.arm("without").defects_only) == (False, True)
    arms[2] = {"kind": "generated", "name": "with", "sets": ["output"], "normal": True}
    with pytest.raises(GeneratedSetError, match=r"arm 'with': normal = true, but its sets hold no usable image"):
        go(make(arm=arms, output="other"), fake)


def test_a_share_decides_how_many_join(make: MakeExperiment, fake: Work) -> None:
    config = make(
        arm=[
            {"kind": "baseline"},
            {"kind": "classical"},
            {"kind": "generated", "sets": ["output"], "share": [0.2, 0.4]},
        ]
    )
    result = go(config, fake)
    assert {one.name: sum(one.added.values()) for one in result.arms} == {
        "baseline": 0,
        "classical generated 0.2": 6,
        "classical generated 0.4": 16,
        "generated 0.2": 6,
        "generated 0.4": 16,
    }
    assert result.arm("generated 0.4").added_share == pytest.approx(0.4)
    small, large = (
        {one.sha256 for one in read_generated(Path(config.output) / "sets" / name).images}
        for name in ("generated 0.2", "generated 0.4")
    )
    assert small < large


def test_the_control_is_of_the_same_sources_and_no_copy(make: MakeExperiment, fake: Work) -> None:
    config = make()
    go(config, fake)
    sets = Path(config.output) / "sets"
    control, generated = (read_generated(sets / name).images for name in ("classical", "generated"))
    assert sorted((one.label, one.source_sha256) for one in control) == sorted(
        (one.label, one.source_sha256) for one in generated
    )
    assert len({one.sha256 for one in control}) == len(control)
    assert not {one.sha256 for one in control} & {one.source_sha256 for one in control}
    before = {path: path.read_bytes() for path in (sets / "classical").rglob("*.png")}
    shutil.rmtree(sets / "classical")
    go(config, fake)
    assert {path: path.read_bytes() for path in (sets / "classical").rglob("*.png")} == before


def test_leakage_is_refused_before_anything_is_written(
    make: MakeExperiment, fake: Work, data: Path, make_generated: Callable[..., Path]
) -> None:
    make_generated([("dirt", data / "test/dirt/12.png")], name="leaky")
    arms = [{"kind": "baseline"}, {"kind": "classical"}, {"kind": "generated", "sets": ["leaky"]}]
    config = make(arm=arms)
    with pytest.raises(LeakageError, match=r"12_1\.png: .* made from, a validation or test image"):
        go(config, fake)
    assert not Path(config.output).exists()


def test_a_source_that_is_nowhere_is_refused(
    make: MakeExperiment, fake: Work, tmp_path: Path, draw: Any, make_generated: Callable[..., Path]
) -> None:
    make_generated([("dirt", draw(tmp_path / "else/77.png", "dirt", 77))], name="foreign")
    arms = [{"kind": "baseline"}, {"kind": "classical"}, {"kind": "generated", "sets": ["foreign"]}]
    with pytest.raises(GeneratedSetError, match=r"its source .* is not among the 'dirt' images"):
        go(make(arm=arms), fake)


def test_data_without_a_test_part_is_refused(make: MakeExperiment, fake: Work, data: Path) -> None:
    shutil.rmtree(data / "test")
    with pytest.raises(DataError, match=r"no folder test/ with images"):
        go(make(), fake)


def test_an_unknown_normal_class_is_refused(make: MakeExperiment, fake: Work) -> None:
    with pytest.raises(EvaluationError, match=r"normal: found 'OK', not a class"):
        go(make(normal="OK"), fake)


def test_macro_f1_without_defect_names_is_refused_before_training(make: MakeExperiment, data: Path) -> None:
    (data / "test/dirt").rename(data / "test/Abnormal")
    shutil.rmtree(data / "test/划痕")
    with pytest.raises(EvaluationError, match=r"primary: 'macro_f1' needs the defects' names"):
        prepare(make())
    assert prepare(make(primary="accuracy")).steps == 6


def test_output_inside_the_data_is_refused(make: MakeExperiment) -> None:
    with pytest.raises(SettingsError, match=r"output: .* lies in the data folder"):
        prepare(make(output="data/out"))


def test_processes_may_not_be_negative(make: MakeExperiment) -> None:
    with pytest.raises(SettingsError, match=r"processes: found -1"):
        choose_workers(make(train={"device": "cpu"}), -1)
    assert choose_workers(make(train={"device": "cpu"}), None).processes >= 1


@pytest.fixture
def folds(tmp_path: Path, draw: Any) -> Path:
    """Two folds: images 1 to 3 of a class are tested in the first, 4 to 6 in the second; 11 validates in both."""
    for fold, tested in enumerate(((1, 2, 3), (4, 5, 6))):
        rows = []
        for label in ("Normal", "划痕", "dirt"):
            for number in range(1, 12):
                part = "test" if number in tested else "val" if number == 11 else "train"
                path = draw(tmp_path / f"folds/fold-{fold}/{part}/{label}/{number}.png", label, number)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                file = f"{part}/{label}/{number}.png"
                rows.append([file, label, part, f"board {number % 3}", f"{label}/{number}.png", digest])
        with (tmp_path / f"folds/fold-{fold}/split.csv").open("w", encoding="utf-8-sig", newline="") as file_:
            csv.writer(file_).writerows([["file", "class", "split", "group", "source", "sha256"], *rows])
    return tmp_path / "folds"


def test_folds_use_images_of_their_own_training_sources_and_are_pooled(
    make: MakeExperiment, fake: Work, folds: Path, make_generated: Callable[..., Path]
) -> None:
    # Images 1 and 2 are tested in fold 0, so their images join in fold 1 alone; 7 trains in both.
    sources = [("dirt", folds / f"fold-1/train/dirt/{number}.png") for number in (1, 2, 7)]
    make_generated(sources, name="of folds")
    arms = [{"kind": "baseline"}, {"kind": "classical"}, {"kind": "generated", "sets": ["of folds"]}]
    config = make(data="folds", folds=2, arm=arms)
    result = go(config, fake)
    assert len(fake.worked) == 3 * 2 * 2
    assert fake.worked[0] == "baseline seed-0 fold-0"
    joined = {
        fold: {one.source_sha256 for one in read_generated(Path(config.output) / f"sets/generated/fold-{fold}").images}
        for fold in (0, 1)
    }
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in sources]
    assert joined == {0: {hashes[2]}, 1: set(hashes)}
    assert dict(result.arm("generated").added) == {"dirt": 4}
    # Each of 18 images is tested once over the folds, and groups are known over both.
    assert result.images == 18
    assert result.groups == 3
    pooled = result.arm("generated").arm.seeds[0].predictions
    assert len(set(pooled.images)) == 18
    assert result.arm("generated").result.evaluations[0].images == 18
    assert any("folds are pooled" in text(note) for note in result.notes)
    assert {one.fold for one in result.cells} == {0, 1}


def test_an_image_tested_twice_is_refused(make: MakeExperiment, folds: Path, draw: Any) -> None:
    draw(folds / "fold-1/test/dirt/1.png", "dirt", 1)
    (folds / "fold-1/train/dirt/1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png: tested in .*fold-0 too"):
        prepare(make(data="folds", folds=2, arm=[{"kind": "baseline"}]))


@pytest.mark.parametrize(("asked", "words"), [(3, "found 2 folders fold-*"), (0, "holds folds; say how many")])
def test_another_number_of_folds_is_refused(make: MakeExperiment, folds: Path, asked: int, words: str) -> None:
    with pytest.raises(DataError, match=words.replace("*", r"\*")):
        prepare(make(data="folds", folds=asked, arm=[{"kind": "baseline"}]))


def test_fewer_folds_than_there_are_are_refused(make: MakeExperiment, folds: Path) -> None:
    shutil.copytree(folds / "fold-1", folds / "fold-2")
    with pytest.raises(DataError, match=r"found 3 folders fold-\*, expected fold-0 to fold-1"):
        prepare(make(data="folds", folds=2, arm=[{"kind": "baseline"}]))


def test_folds_as_trainer_split_makes_them_fit(make: MakeExperiment, photos: Path, tmp_path: Path) -> None:
    split_folds(photos, tmp_path / "made", folds=3)
    prepared = prepare(make(data="made", folds=3, arm=[{"kind": "baseline"}]))
    assert sum(len(fold.dataset.test) for fold in prepared.folds) == 36
    assert [cell.fold for cell in prepared.cells] == [0, 1, 2, 0, 1, 2]


def test_a_cell_of_other_settings_is_known_before_it_is_run(make: MakeExperiment, fake: Work) -> None:
    config = make()
    go(config, fake)
    prepared, other = prepare(config), prepare(make(train={"epochs": 2, "imgsz": 32, "device": "cpu"}))
    assert all(is_done(job) for job in plan_jobs(prepared, plan_sets(prepared)))
    assert not any(is_done(job) for job in plan_jobs(other, plan_sets(other)))


def test_arms_that_share_a_control_must_have_as_many_images_of_each_class(make: MakeExperiment, fake: Work) -> None:
    arms: list[dict[str, Any]] = [
        {"kind": "baseline"},
        {"kind": "classical"},
        {"kind": "generated", "name": "low", "sets": ["output"]},
        {"kind": "generated", "name": "high", "sets": ["output"], "control": "low"},
    ]
    result = go(make(arm=arms, seeds=1), fake)
    assert [one.control.other for one in result.judgements] == ["classical", "classical"]
    arms[3]["share"] = 0.2
    with pytest.raises(SettingsError, match=r"'high': has \d+ generated images of 'dirt', but 'low'.*has 10"):
        prepare(make(arm=arms, seeds=1, output="other"))
