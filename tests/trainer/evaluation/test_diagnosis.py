"""Diagnosis of synthetic loss curves, its advice, and early stopping."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.optimize import minimize

from trainer.config import TrainConfig, make_config
from trainer.evaluation.diagnosis import Diagnosis, EarlyStopping, describe_kind, diagnose, should_stop
from trainer.evaluation.history import Conditions, EpochRecord, History, rank_of
from trainer.evaluation.loss_trends import best_of, smoothing_floor, warmup_length
from trainer.messages import text

SEVEN = Conditions(classes=7, label_smoothing=0.1, epochs_planned=30)
TIME = np.arange(30.0)


def records(
    train: Sequence[float],
    val: Sequence[float],
    *,
    lr: Sequence[float] | None = None,
    f1: Sequence[float] | None = None,
) -> list[EpochRecord]:
    """With a noise of 1 %, the same every time."""
    rng = np.random.default_rng(0)
    return [
        EpochRecord(
            epoch=place + 1,
            train_loss=float(train[place]) * math.exp(0.01 * rng.standard_normal()),
            val_loss=float(val[place]) * math.exp(0.01 * rng.standard_normal()),
            val_accuracy=0.5,
            val_macro_f1=0.5 if f1 is None else float(f1[place]),
            lr=1e-3 if lr is None else float(lr[place]),
            images_per_s=100.0,
            seconds=1.0,
        )
        for place in range(len(train))
    ]


FALL = 0.45 + 1.55 * np.exp(-TIME / 15)
FLAT = np.full(30, 1.4)
VEE = 1 + 0.05 * np.abs(TIME - 10)
LEARNED = np.full(30, 0.47)
COSINE = 1e-3 * (0.01 + 0.99 * (1 + np.cos(np.pi * TIME / 29)) / 2)


@pytest.mark.parametrize(
    ("train", "val", "lr", "kind", "words"),
    [
        (FALL, FALL, None, "learning", "training loss -"),
        (FALL, VEE, None, "overfitting", "epochs 19-30"),
        (LEARNED, VEE, None, "overfitting", "validation loss"),
        (FALL, np.where(TIME < 12, 1.8 - 0.07 * TIME, 1.5), None, "overfitting", "above its level about epoch"),
        (FLAT, FLAT, None, "plateau", "training loss"),
        (FLAT, FLAT, COSINE, "finished", "the learning rate is spent (1 % of its highest)"),
        (LEARNED, FLAT, None, "finished", "least possible 0.446"),
        (LEARNED, 1.5 * FLAT, None, "overfitting", "no better than guessing (1.95)"),
        (np.exp(TIME / 20), FLAT, None, "diverging", "training loss +"),
        (np.where(TIME < 20, FALL, 2.6), FLAT, None, "diverging", "training loss"),
        (np.where(TIME < 5, 20 * (TIME + 1), 1.8), FLAT, COSINE, "diverging", "went up to"),
        (FALL, FLAT, None, "inconclusive", "validation loss"),
        (FLAT, np.exp(TIME / 20), None, "inconclusive", "validation loss +"),
    ],
)
def test_each_shape_has_its_name(
    train: Sequence[float], val: Sequence[float], lr: Sequence[float] | None, kind: str, words: str
) -> None:
    diagnosis = diagnose(records(train, val, lr=lr), SEVEN)
    assert diagnosis.kind == kind
    assert text(diagnosis.line).startswith(f"{kind} {text(describe_kind(diagnosis.kind), 'zh')}: ")
    assert words in text(diagnosis.line)
    assert "\n" not in text(diagnosis.line)
    assert diagnosis.advice


def test_a_tie_of_all_epochs_is_flat_and_not_an_error() -> None:
    same = [replace(one, train_loss=1.4, val_loss=1.4) for one in records(FLAT, FLAT)]
    diagnosis = diagnose(same, SEVEN)
    assert diagnosis.kind == "plateau"
    assert diagnosis.evidence.best_epoch == 1


def test_no_epoch_and_few_epochs_say_how_many_are_missing() -> None:
    assert "no epoch" in text(diagnose([]).line)
    few = diagnose(records(FALL, FALL)[:5], SEVEN)
    assert few.kind == "inconclusive"
    assert "5 epochs; a slope needs 8, so 3 more" in text(few.line)
    warming = diagnose(records(FALL, FALL, lr=np.linspace(1e-5, 1e-3, 30))[:9], SEVEN)
    assert "0 epochs after 9 of warm-up" in text(warming.line)
    assert [text(one) for one in warming.advice] == ["Train for 17 epochs or more."]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_divergence_in_that_epoch(value: float) -> None:
    broken = records(FALL, FALL)
    broken[6] = replace(broken[6], val_loss=value)
    diagnosis = diagnose(broken, SEVEN)
    assert diagnosis.kind == "diverging"
    assert f"validation loss is {value} in epoch 7" in text(diagnosis.line)
    assert "--lr 0.0001" in text(diagnosis.advice[0])


def test_what_the_warm_up_does_is_not_judged() -> None:
    lr = np.where(TIME < 10, (TIME + 1) * 1e-4, 1e-3)
    rising_first = np.where(TIME < 10, 0.5 + 0.3 * TIME, 3.4 * np.exp(-(TIME - 9) / 10))
    diagnosis = diagnose(records(rising_first, rising_first, lr=lr), SEVEN, window=20)
    assert diagnosis.evidence.warmup == 10
    assert diagnosis.kind == "learning"
    assert warmup_length([1.0, 1.0, 0.5]) == warmup_length([math.nan] * 3) == warmup_length([]) == 0


@pytest.mark.parametrize(("f1", "words"), [(0.3 + 0.02 * TIME, "still rises"), (0.9 - 0.02 * TIME, "falls too")])
def test_overfitting_says_what_macro_f1_does(f1: Sequence[float], words: str) -> None:
    assert words in text(diagnose(records(FALL, VEE, f1=f1), SEVEN).advice[0])


def test_advice_takes_the_schedule_and_the_level_into_account() -> None:
    guessing = diagnose(records(np.full(30, 1.94), FLAT + 0.6), SEVEN)
    assert guessing.kind == "plateau"
    assert "that of guessing (ln 7 = 1.95)" in text(guessing.advice[0])
    halfway = diagnose(records(FLAT, FLAT, lr=COSINE)[:18], SEVEN)
    assert halfway.kind == "plateau"
    assert "let it end" in text(halfway.advice[0])
    high = diagnose(records(FLAT, FLAT, lr=COSINE), SEVEN)
    assert any("train longer (--epochs 60), faster (--lr 0.003)" in text(sentence) for sentence in high.advice)
    assert not any("longer schedule" in text(sentence) for sentence in high.advice)
    falling = diagnose(records(FLAT, FALL, lr=COSINE), SEVEN)
    assert falling.kind == "finished"
    assert any("longer schedule may gain more" in text(sentence) for sentence in falling.advice)
    unknown = diagnose(records(FLAT, FLAT, lr=COSINE))
    assert any("unknown" in text(sentence) for sentence in unknown.advice)
    assert "--epochs 60" in text(diagnose(records(FALL, FALL), SEVEN).advice[0])
    assert "10 epochs are left" in text(diagnose(records(FALL, FALL)[:20], SEVEN).advice[0])


def test_a_record_without_f1_is_judged_by_accuracy() -> None:
    epochs = [replace(one, val_macro_f1=math.nan, val_accuracy=0.1 * (one.epoch % 7)) for one in records(FALL, FALL)]
    best = best_of(epochs)
    assert best is not None
    assert best.epoch in (6, 13, 20, 27)
    assert best_of([replace(epochs[0], val_accuracy=math.nan)]) is None


def test_a_window_that_holds_no_slope_is_refused() -> None:
    with pytest.raises(ValueError, match="window: found 7"):
        diagnose(records(FALL, FALL), window=7)


@pytest.mark.parametrize(("classes", "smoothing"), [(2, 0.1), (7, 0.1), (7, 0.0), (3, 0.9), (1, 0.5)])
def test_the_floor_is_the_least_that_a_search_finds(classes: int, smoothing: float) -> None:
    target = np.full(classes, smoothing / classes)
    target[0] += 1 - smoothing

    def cross_entropy(logits: np.ndarray) -> float:
        return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - target @ logits)

    found = minimize(cross_entropy, np.zeros(classes), method="BFGS", options={"gtol": 1e-9})
    assert smoothing_floor(classes, smoothing) == pytest.approx(found.fun, abs=1e-5)


@pytest.mark.parametrize(("classes", "smoothing"), [(0, 0.1), (2, -0.1), (2, 1.1)])
def test_a_floor_of_nothing_is_refused(classes: int, smoothing: float) -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        smoothing_floor(classes, smoothing)


def said(kind: str, best_ago: int | None) -> Diagnosis:
    template = diagnose([])
    return replace(template, kind=kind, evidence=replace(template.evidence, best_ago=best_ago))  # type: ignore[arg-type]


def test_a_training_stops_only_after_several_alarms_in_a_row_without_a_new_best() -> None:
    alarm, fine = said("overfitting", 9), said("learning", 9)
    assert not should_stop([])
    assert not should_stop([alarm, alarm])
    assert should_stop([fine, alarm, alarm, alarm])
    assert not should_stop([alarm, alarm, fine, alarm, alarm])
    assert not should_stop([alarm, alarm, said("overfitting", 2)])
    assert should_stop([alarm, alarm, said("overfitting", None)])
    assert should_stop([fine, alarm], after=1)
    with pytest.raises(ValueError, match="after: found 0"):
        should_stop([alarm], after=0)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    folder = Path(__file__).parents[3] / "bench"
    modules = {}
    for name in ("synthetic_curves", "diagnosis_on_synthetic"):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        modules[name] = module
    return modules["diagnosis_on_synthetic"]


def test_false_alarms_are_rare_at_five_percent_noise(bench: ModuleType) -> None:
    """On curves of known truth that the thresholds were not chosen on."""
    counts: dict[str, Counter[str]] = {}
    for epochs, correlation in ((30, 0.0), (30, 0.6), (60, 0.3)):
        for truth, counter in bench.confusion(bench.draw(10, epochs, 0.05, correlation, 500)).items():
            counts.setdefault(truth, Counter()).update(counter)
    for truth, counter in counts.items():
        assert bench.false_alarms(truth, counter) <= 0.05 * counter.total(), (truth, counter)
    assert counts["overfitting"]["overfitting"] >= 0.9 * counts["overfitting"].total()
    assert counts["diverging"]["diverging"] >= 0.85 * counts["diverging"].total()
    assert counts["learning"]["learning"] >= 0.5 * counts["learning"].total()


def test_overfitting_is_stopped_before_its_end(bench: ModuleType) -> None:
    rng = np.random.default_rng(7)
    one = bench.sample("overfitting", "vee", 60, rng, noise=0.05, correlation=0.3)
    end = bench.is_stopped(one)
    assert end is not None
    assert end < 60


def record(epoch: int, macro_f1: float = 0.5, loss: float = 1.0, train_loss: float = 1.0) -> EpochRecord:
    return EpochRecord(epoch, train_loss, loss, macro_f1, macro_f1, 1e-3, 100.0, 1.0)


def epochs_until_stop(config: TrainConfig, records: list[EpochRecord]) -> tuple[int, str | None]:
    watch = EarlyStopping(config, [], n_classes=2, announce=False)
    for count in range(1, len(records) + 1):
        watch.update(records[:count])
        if watch.reason is not None:
            return count, watch.reason
    return len(records), None


def test_patience_counts_epochs_since_the_best() -> None:
    f1 = [0.1, 0.3, 0.2, 0.25, 0.31, 0.3, 0.3, 0.3, 0.9]
    records = [record(epoch, value) for epoch, value in enumerate(f1, start=1)]
    assert epochs_until_stop(make_config(patience=3), records) == (8, "no better val_macro_f1 in 3 epochs")
    assert epochs_until_stop(make_config(patience=4), records) == (9, None)
    assert epochs_until_stop(make_config(), records) == (9, None)


def test_patience_watches_the_named_figure() -> None:
    records = [record(epoch, macro_f1=epoch / 10, loss=1 + epoch / 10) for epoch in range(1, 8)]
    assert epochs_until_stop(make_config(patience=2), records) == (7, None)
    assert epochs_until_stop(make_config(patience=2, monitor="val_loss"), records) == (
        3,
        "no better val_loss in 2 epochs",
    )


def test_a_tie_is_not_better_and_the_loss_decides_it() -> None:
    same = [record(epoch, 0.5, 1.0) for epoch in range(1, 5)]
    assert epochs_until_stop(make_config(patience=2), same)[0] == 3
    falling = [record(epoch, 0.5, 1.0 / epoch) for epoch in range(1, 5)]
    assert epochs_until_stop(make_config(patience=2), falling) == (4, None)


def test_a_figure_that_is_no_number_is_never_the_best() -> None:
    records = [record(1, 0.5, 1.0), record(2, 0.5, math.nan), record(3, math.nan, 0.1)]
    assert History(tuple(records)).best.epoch == 1
    assert History(tuple(reversed(records))).best_by("val_loss").epoch == 3
    assert rank_of(records[1], "val_loss") < rank_of(records[0], "val_loss")
    assert epochs_until_stop(make_config(patience=2), records)[0] == 3


@pytest.mark.parametrize(("monitor", "best"), [("val_macro_f1", 2), ("val_accuracy", 3), ("val_loss", 1)])
def test_each_figure_has_its_own_best_epoch(monitor: str, best: int) -> None:
    records = (
        EpochRecord(1, 1.0, 0.1, 0.2, 0.2, 1e-3, 1.0, 1.0),
        EpochRecord(2, 1.0, 0.2, 0.3, 0.9, 1e-3, 1.0, 1.0),
        EpochRecord(3, 1.0, 0.3, 0.9, 0.3, 1e-3, 1.0, 1.0),
    )
    assert History(records).best_by(monitor).epoch == best


def test_the_last_epoch_is_no_early_stop() -> None:
    records = [record(epoch, 0.5 - epoch / 10) for epoch in range(1, 4)]
    assert epochs_until_stop(make_config(patience=2, epochs=3), records) == (3, None)


def overfitting(count: int) -> list[EpochRecord]:
    return [
        record(k, loss=0.5 + 0.5 * abs(k - 15) / 15, train_loss=2.0 * 0.9**k + 0.01 * (k % 2))
        for k in range(1, count + 1)
    ]


def test_overfitting_stops_on_request_alone() -> None:
    records = overfitting(60)
    stopped, reason = epochs_until_stop(make_config(epochs=100, stop_on="overfit"), records)
    assert 15 < stopped < 60
    assert reason == "overfitting in 3 epochs in a row"
    assert epochs_until_stop(make_config(epochs=100), records) == (60, None)


def test_a_watch_that_starts_late_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(epochs=100, stop_on="overfit")
    records = overfitting(60)
    stopped, reason = epochs_until_stop(config, records)
    late = EarlyStopping(config, records[:stopped], n_classes=2, announce=True)
    assert late.reason == reason
    assert "overfit" in late.line.lower()
    assert capsys.readouterr().err == ""
    assert EarlyStopping(config, records[: stopped - 1], n_classes=2, announce=True).reason is None


def test_a_change_of_diagnosis_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = EarlyStopping(make_config(epochs=100), [], n_classes=2, announce=True)
    assert watch.line == ""
    records = overfitting(40)
    for count in range(1, 41):
        watch.update(records[:count])
    said = capsys.readouterr().err.splitlines()
    assert any("overfit" in line.lower() for line in said)
    assert len(said) < 8
