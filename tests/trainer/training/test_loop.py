"""The training loop: what it learns, repeats, resumes and refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

from sdcore.errors import SettingsError
from trainer.config import TrainConfig, make_config
from trainer.models.checkpoints import load_checkpoint
from trainer.tasks import TrainingImages
from trainer.tasks.classification import Classification, score
from trainer.training.loop import run_epochs
from trainer.training.session import TrainingSession, lr_share


def easy_images(seed: int, count: int = 16) -> TrainingImages:
    """Dark images are class 0, light ones class 1."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 60, (count, 3, 32, 32), generator=rng) + 150 * labels.view(-1, 1, 1, 1)
    return TrainingImages(images.to(torch.uint8), torch.arange(count), labels)


def settings(**changes: object) -> TrainConfig:
    return make_config(**{"epochs": 2, "imgsz": 32, "batch_size": 8, "device": "cpu", **changes})


def run_fit(config: TrainConfig) -> list[tuple[float, dict[str, torch.Tensor]]]:
    results = run_epochs(
        easy_images(0), easy_images(1, 6), Classification(("dark", "light"), config), config, progress=False
    )
    return [(result.record.train_loss, result.state) for result in results]


@pytest.mark.parametrize("balance", [False, True])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(balance: bool) -> None:
    one = run_fit(settings(seed=4, balance=balance))
    torch.manual_seed(12345)
    np.random.seed(12345)
    again, other = run_fit(settings(seed=4, balance=balance)), run_fit(settings(seed=5, balance=balance))
    for (loss, state), (loss_again, state_again) in zip(one, again, strict=True):
        assert loss == loss_again
        assert all(torch.equal(state[name], state_again[name]) for name in state)
    assert one[0][0] != other[0][0]


def test_training_leaves_the_callers_rng_and_threads_alone() -> None:
    torch.manual_seed(1)
    threads, expected = torch.get_num_threads(), torch.rand(3)
    torch.manual_seed(1)
    run_fit(settings(epochs=1, threads=2 if threads == 1 else 1))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), expected)


def test_easy_images_are_learnt() -> None:
    config = settings(epochs=12)
    task = Classification(("dark", "light"), config)
    results = list(run_epochs(easy_images(0, 32), easy_images(1, 8), task, config, progress=False))
    assert results[-1].record.train_loss < 0.5 * results[0].record.train_loss
    assert results[-1].record.val_accuracy == 1.0
    assert [result.record.epoch for result in results] == list(range(1, 13))
    assert all(result.record.images_per_s > 0 and result.record.seconds > 0 for result in results)


def test_a_loss_that_is_no_number_stops_with_advice() -> None:
    images = easy_images(0)
    # A rate this high is beyond what a user may set, so that the loss surely leaves the numbers.
    config = settings(epochs=50).model_copy(update={"lr": 1e30})
    with pytest.raises(SettingsError, match=r"the loss became .* try --lr"):
        list(run_epochs(images, images, Classification(("dark", "light"), config), config, progress=False))


def test_figures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 4)).astype(np.float32)
    labels = rng.choice([0, 1, 3], size=200)  # class 2 does not occur, but is predicted
    found = score(torch.from_numpy(logits), torch.from_numpy(labels), ("a", "Normal", "b", "c"))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.loss == pytest.approx(log_loss(labels, shares, labels=[0, 1, 2, 3]), rel=1e-5)
    assert found.accuracy == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert found.macro_f1 == pytest.approx(f1_score(labels, logits.argmax(1), labels=[0, 1, 3], average="macro"))
    defective, called = labels != 1, logits.argmax(1) != 1
    assert found.miss_rate == pytest.approx(1 - recall_score(defective, called))
    assert found.overkill_rate == pytest.approx(1 - recall_score(~defective, ~called))


def test_a_single_image_and_a_tie_have_figures() -> None:
    classes = ("Normal", "dirt")
    tie = score(torch.zeros((1, 2)), torch.tensor([0]), classes)
    assert (round(tie.loss, 6), tie.accuracy, tie.macro_f1) == (round(math.log(2), 6), 1.0, 1.0)
    assert (tie.miss_rate, tie.overkill_rate) == (None, 0.0)  # no defect there: undefined, not 0
    missed = score(torch.zeros((1, 2)), torch.tensor([1]), classes)
    assert (missed.accuracy, missed.macro_f1, missed.miss_rate, missed.overkill_rate) == (0.0, 0.0, 1.0, None)
    assert score(torch.zeros((1, 2)), torch.tensor([1]), ("a", "b")).miss_rate is None


def test_the_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    config = settings(epochs=10, warmup_epochs=2)
    shares = [lr_share(step, 5, config) for step in range(50)]
    assert shares[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert shares[10] == pytest.approx(1.0)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(0.01)


def test_a_linear_schedule_falls_by_the_same_amount_each_step() -> None:
    config = settings(epochs=10, warmup_epochs=2, schedule="linear")
    shares = [lr_share(step, 5, config) for step in range(50)]
    assert shares[10] == pytest.approx(1.0)
    assert np.diff(shares[10:]) == pytest.approx(np.full(39, -0.99 / 39))
    assert shares[-1] == pytest.approx(0.01)


def session(**changes: object) -> TrainingSession:
    torch.manual_seed(0)
    config = settings(**{"layout": "channels_last", **changes})
    return TrainingSession(easy_images(0), Classification(("dark", "light"), config), config, torch.device("cpu"))


def gradients(one: TrainingSession) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in one.network.parameters() if weight.grad is not None])


def test_both_layouts_find_the_same_loss_and_gradient_within_rounding() -> None:
    one, other = session(), session(layout="contiguous")
    losses = [each.step(each.start_epoch()[0]).item() for each in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (gradients(one) - gradients(other)).norm() < 1e-3 * gradients(one).norm()


def test_a_long_gradient_is_shortened_and_a_short_one_left() -> None:
    free, held, short = session(clip_norm=0), session(clip_norm=0.01), session(clip_norm=1e6)
    for one in (free, held, short):
        one.step(one.start_epoch()[0])
    assert gradients(free).norm() > 0.02
    assert gradients(held).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert gradients(short).norm() == gradients(free).norm()


def test_weighted_loss_is_the_weighted_mean() -> None:
    labels = torch.tensor([0] * 12 + [1] * 4)
    images = TrainingImages(easy_images(0).images, torch.arange(16), labels)
    config = settings(layout="channels_last", class_weights="balanced", label_smoothing=0, clip_norm=0)
    torch.manual_seed(0)
    one = TrainingSession(images, Classification(("dark", "light"), config), config, torch.device("cpu"))
    seen: list[torch.Tensor] = []
    one.network.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    batch = one.start_epoch()[0]
    loss = one.step(batch).item()
    shares = torch.log_softmax(seen[0].double(), dim=1)
    weights = torch.tensor([16 / (2 * 12), 16 / (2 * 4)], dtype=torch.float64)[labels[batch]]
    expected = -(weights * shares[torch.arange(len(batch)), labels[batch]]).sum() / weights.sum()
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_frozen_layers_stay_to_the_last_bit_and_the_rest_learns(trained_run: tuple[Path, Path]) -> None:
    start = load_checkpoint(trained_run[0] / "best.pt")
    config = settings(epochs=1, weights=str(trained_run[0]), freeze=5, imgsz=32)
    (result,) = run_epochs(
        easy_images(0), easy_images(1, 6), Classification(("dark", "light"), config), config, progress=False
    )
    for name, tensor in result.state.items():
        layer = int(name.split(".")[1])
        same = torch.equal(tensor, start.state[name])
        assert same or layer >= 5, name
        assert not same or layer < 5 or "num_batches" in name or not tensor.is_floating_point(), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"balance": True, "class_weights": "balanced"}, "balance and class_weights both"),
        ({"balance": True, "generated_share": 0.5}, "balance and generated_share both"),
        ({"freeze": 3}, "freeze 3: layers of fresh weights"),
        ({"batch_size": "many"}, "^batch_size: found 'many'"),
        ({"augment": {"hue": 2}}, "^augment.hue: found 2"),
        ({"generated_share": 1.5}, "^generated_share: found 1.5"),
    ],
)
def test_settings_that_contradict_are_refused_in_words(changes: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_config(**changes)


def test_a_batch_size_still_open_is_refused() -> None:
    with pytest.raises(SettingsError, match="found 'auto'"):
        run_fit(settings(batch_size="auto"))


@pytest.mark.parametrize(("epochs", "steps", "warmup"), [(1, 1, 2.0), (1, 2, 0.0), (2, 1, 2.0)])
def test_the_shortest_runs_have_a_learning_rate(epochs: int, steps: int, warmup: float) -> None:
    config = settings(epochs=epochs, warmup_epochs=warmup)
    assert all(0 < lr_share(step, steps, config) <= 1 for step in range(epochs * steps))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("epochs", 0), ("imgsz", 33), ("imgsz", 0), ("lr", 0), ("lr", float("nan")), ("batch_size", 1), ("seed", -1)],
)
def test_a_setting_out_of_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"^{setting}: found"):
        make_config(**{setting: value})


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^epoch: "):
        make_config(epoch=3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test wants missing")
def test_a_missing_gpu_is_said() -> None:
    with pytest.raises(SettingsError, match="sees no such device"):
        run_fit(settings(device="cuda"))
