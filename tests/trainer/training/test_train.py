"""Whole trainings on small images: files, repeated calls, interrupts and early stopping."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from sdcore.errors import DataError, MissingExtra, SettingsError
from trainer.config import TrainConfig, TrainingJob, make_config
from trainer.errors import CheckpointError, LeakageError
from trainer.evaluation.history import read_history
from trainer.models.checkpoints import load_checkpoint
from trainer.models.predict import predict_folder
from trainer.training import run_folder
from trainer.training.train import train

MakeGenerated = Callable[..., Path]
RUN_FILES = {
    *("config.json", "data.json", "environment.json", "results.csv", "best.pt", "last.pt", "curves.png", "examples.png")
}


def tiny(**changes: object) -> TrainConfig:
    return make_config(**{"epochs": 1, "imgsz": 32, "batch_size": 16, "device": "cpu", **changes})


def read_json(path: Path) -> dict[str, object]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_a_run_holds_its_files_and_they_agree(trained_run: tuple[Path, Path]) -> None:
    run, _ = trained_run
    assert {path.name for path in run.iterdir()} == RUN_FILES
    history = read_history(run)
    best, last = load_checkpoint(run / "best.pt"), load_checkpoint(run / "last.pt")
    assert (best.epoch, best.val_macro_f1) == (history.best.epoch, history.best.val_macro_f1)
    assert last.epoch == len(history.epochs) == 2
    assert best.classes == ("Normal", "划痕")
    assert TrainConfig(**read_json(run / "config.json")) == tiny(epochs=2, batch_size=8, seed=3, layout="channels_last")
    summary = read_json(run / "data.json")
    assert summary["classes"] == ["Normal", "划痕"]
    assert summary["train"] == {name: {"real": 8, "generated": 0, "repeated": 0} for name in ("Normal", "划痕")}
    assert summary["val"] == summary["test"] == {"Normal": 3, "划痕": 3}
    assert read_json(run / "environment.json")["torch"] == torch.__version__


def test_the_saved_weights_score_what_the_history_says(trained_run: tuple[Path, Path]) -> None:
    run, data = trained_run
    found = predict_folder(run, data / "val", progress=False)
    right = [label == predicted for label, predicted in zip(found.labels, found.predicted, strict=True)]
    assert sum(right) / len(right) == pytest.approx(read_history(run).best.val_accuracy)


def test_several_seeds_are_several_runs_each_like_one_alone(data: Path, tmp_path: Path) -> None:
    results = train(TrainingJob(data, tmp_path / "runs", tiny(), seeds=[0, 5]), progress=False)
    assert [(result.run, result.seed) for result in results] == [
        (tmp_path / "runs" / "seed-0", 0),
        (tmp_path / "runs" / "seed-5", 5),
    ]
    train(TrainingJob(data, tmp_path / "alone", tiny(seed=5)), progress=False)
    assert (tmp_path / "alone" / "best.pt").read_bytes() == (tmp_path / "runs" / "seed-5" / "best.pt").read_bytes()
    assert (tmp_path / "runs" / "seed-0" / "best.pt").read_bytes() != (tmp_path / "alone" / "best.pt").read_bytes()


def test_generated_and_control_arms_show_equally_many_images(
    data: Path, tmp_path: Path, make_generated: MakeGenerated
) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / f"{k}.png") for k in (1, 2)], count=4)
    train(TrainingJob(data, tmp_path / "augmented", tiny(), generated=[output]), progress=False)
    train(TrainingJob(data, tmp_path / "control", tiny(), control_for=[output]), progress=False)
    augmented, control = (read_json(tmp_path / arm / "data.json")["train"] for arm in ("augmented", "control"))
    assert augmented["dirt"] == {"real": 8, "generated": 8, "repeated": 0}  # type: ignore[index]
    assert control["dirt"] == {"real": 8, "generated": 0, "repeated": 8}  # type: ignore[index]
    engines = read_json(tmp_path / "augmented" / "data.json")["generated_sets"]
    assert engines[0]["engine"] == "classical stand-in, not Stable Diffusion"  # type: ignore[index]


def test_leakage_stops_before_anything_is_written(data: Path, tmp_path: Path, make_generated: MakeGenerated) -> None:
    output = make_generated([("dirt", data / "test" / "dirt" / "12.png")])
    with pytest.raises(LeakageError, match="held out"):
        train(TrainingJob(data, tmp_path / "run", tiny(), generated=[output]), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_left_alone_and_another_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(TrainingJob(data, tmp_path / "run", tiny()), progress=False)[0]
    before = (tmp_path / "run" / "best.pt").stat().st_mtime_ns
    again = train(TrainingJob(data, tmp_path / "run", tiny()), progress=False)[0]
    assert (first.was_there, again.was_there) == (False, True)
    assert again.best == read_history(tmp_path / "run").best
    with pytest.raises(SettingsError, match=r"epochs 1, asked for 2; .*--overwrite"):
        train(TrainingJob(data, tmp_path / "run", tiny(epochs=2)), progress=False)
    shutil.copy(data / "train" / "dirt" / "1.png", data / "train" / "dirt" / "2.png")
    with pytest.raises(SettingsError, match="finished run with other images"):
        train(TrainingJob(data, tmp_path / "run", tiny()), progress=False)
    assert (tmp_path / "run" / "best.pt").stat().st_mtime_ns == before
    replaced = train(TrainingJob(data, tmp_path / "run", tiny(epochs=2), overwrite=True), progress=False)[0]
    assert (replaced.was_there, replaced.epochs) == (False, 2)


def test_a_run_and_a_folder_of_seeds_do_not_mix(data: Path, tmp_path: Path) -> None:
    train(TrainingJob(data, tmp_path / "run", tiny()), progress=False)
    with pytest.raises(SettingsError, match="is a run itself"):
        train(TrainingJob(data, tmp_path / "run", tiny(), seeds=[0, 1], overwrite=True), progress=False)
    (tmp_path / "seeds" / "seed-0").mkdir(parents=True)
    shutil.copy(tmp_path / "run" / "config.json", tmp_path / "seeds" / "seed-0" / "config.json")
    with pytest.raises(SettingsError, match="holds runs of several seeds"):
        train(TrainingJob(data, tmp_path / "seeds", tiny()), progress=False)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="file: a file"):
        train(TrainingJob(data, tmp_path / "file", tiny()), progress=False)


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(data: Path, tmp_path: Path, seeds: list[int]) -> None:
    with pytest.raises(SettingsError, match="each once"):
        train(TrainingJob(data, tmp_path / "run", tiny(), seeds=seeds), progress=False)


def test_an_unreadable_image_is_named_before_training(data: Path, tmp_path: Path) -> None:
    (data / "train" / "dirt" / "3.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"3\.png: cannot be read"):
        train(TrainingJob(data, tmp_path / "run", tiny()), progress=False)
    assert not (tmp_path / "run").exists()


def test_starting_weights_are_used(trained_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = trained_run
    config = tiny(batch_size=8, weights=str(run), lr=1e-9)
    train(TrainingJob(data, tmp_path / "run", config), progress=False)
    name = "model.9.linear.weight"
    before, after = (load_checkpoint(path / "best.pt").state[name] for path in (run, tmp_path / "run"))
    assert torch.allclose(before, after, atol=1e-6)
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: no such folder or file"):
        train(TrainingJob(data, tmp_path / "other", tiny(weights="nowhere.pt")), progress=False)


def test_a_run_is_not_replaced_for_weights_that_cannot_be_used(trained_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = trained_run
    (tmp_path / "damaged.pt").write_bytes(b"PK\x03\x04 half")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(CheckpointError, match=r"damaged\.pt"):
        train(TrainingJob(data, run, tiny(weights=str(tmp_path / "damaged.pt")), overwrite=True), progress=False)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_generated_images_can_be_all_that_is_drawn(data: Path, tmp_path: Path, make_generated: MakeGenerated) -> None:
    output = make_generated([("dirt", data / "train" / "dirt" / "1.png")], count=4)
    mixed = train(TrainingJob(data, tmp_path / "mixed", tiny(generated_share=1.0), generated=[output]), progress=False)
    assert mixed[0].epochs == 1
    assert json.loads((tmp_path / "mixed" / "config.json").read_text(encoding="utf-8"))["generated_share"] == 1.0
    with pytest.raises(SettingsError, match=r"generated_share: 0\.5 asked for, but no generated images"):
        train(TrainingJob(data, tmp_path / "plain", tiny(generated_share=0.5)), progress=False)


def test_patience_ends_a_run_which_then_counts_as_finished(data: Path, tmp_path: Path) -> None:
    # Nothing is learnt at this rate, so no epoch is better than the first by more than noise of its loss.
    config = tiny(epochs=40, patience=2, lr=1e-12, warmup_epochs=0, monitor="val_accuracy", ema_decay=0)
    first = train(TrainingJob(data, tmp_path / "run", config), progress=False)[0]
    assert 3 <= first.epochs < 40
    assert first.stopped == "no better val_accuracy in 2 epochs"
    assert first.best.epoch == first.epochs - 2
    again = train(TrainingJob(data, tmp_path / "run", config), progress=False)[0]
    assert (again.was_there, again.stopped, again.best) == (True, first.stopped, again.best)
    assert load_checkpoint(tmp_path / "run" / "best.pt").epoch == first.best.epoch


def test_the_plots_are_images_of_the_run(trained_run: tuple[Path, Path]) -> None:
    with Image.open(trained_run[0] / "curves.png") as curves, Image.open(trained_run[0] / "examples.png") as examples:
        assert curves.size[0] > 1000
        # Eight images of 96 px in four columns, each with a line of words above.
        assert examples.size == (4 * 100 + 4, 2 * 116 + 4)


def test_events_are_written_on_request_and_go_on_after_a_break(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny(epochs=3)
    real, calls = run_folder.save_resume_state, []

    def failing(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("broken off")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_folder, "save_resume_state", failing)
    with pytest.raises(OSError, match="broken off"):
        train(TrainingJob(data, tmp_path / "run", config, tensorboard=True), progress=False)
    monkeypatch.undo()
    train(TrainingJob(data, tmp_path / "run", config, tensorboard=True), progress=False)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    history = read_history(tmp_path / "run").epochs
    assert [point.step for point in events.Scalars("val_loss")] == [1, 2, 3]
    assert [point.value for point in events.Scalars("val_loss")] == pytest.approx([one.val_loss for one in history])


def test_events_without_their_package_are_refused_first(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"--tensorboard needs the extra 'tensorboard': pip install"):
        train(TrainingJob(data, tmp_path / "run", tiny(), tensorboard=True), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_older_version_is_known_by_the_defaults(trained_run: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(trained_run[0], tmp_path / "run")
    old = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    for name in ("schedule", "clip_norm", "patience", "layout", "weights_sha256"):
        del old[name]
    del old["augment"]["hue"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(old), encoding="utf-8")
    config = tiny(epochs=2, batch_size=8, seed=3)
    assert train(TrainingJob(trained_run[1], tmp_path / "run", config), progress=False)[0].was_there
    with pytest.raises(SettingsError, match="schedule 'cosine', asked for 'linear'"):
        train(
            TrainingJob(trained_run[1], tmp_path / "run", tiny(epochs=2, batch_size=8, seed=3, schedule="linear")),
            progress=False,
        )
