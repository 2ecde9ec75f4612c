"""Batch size and memory layout that "auto" means on this machine."""

from __future__ import annotations

import pytest
import torch

from trainer.config import make_config
from trainer.tasks.classification import Classification
from trainer.training.tuning import CPU_BATCH_SIZE, faster_layout, largest_batch, tune_to_machine


@pytest.mark.parametrize(
    ("room", "most", "expected"),
    [(100, 1000, 64), (64, 1000, 64), (63, 1000, 32), (10**9, 100, 64), (1, 1000, 2), (10**9, 2, 2), (10**9, 3, 2)],
)
def test_the_batch_doubles_until_it_no_longer_fits(room: int, most: int, expected: int) -> None:
    asked: list[int] = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= room

    assert largest_batch(fits, most=most) == expected
    assert asked == sorted(set(asked))
    assert sum(size > room for size in asked) <= 1


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"channels_last": 1.0, "contiguous": 2.0}, "channels_last"),
        ({"channels_last": 2.0, "contiguous": 1.0}, "contiguous"),
        ({"channels_last": 1.0, "contiguous": 1.0}, "channels_last"),
    ],
)
def test_the_faster_layout_is_taken_and_the_seconds_are_told(times: dict[str, float], expected: str) -> None:
    assert faster_layout(times.__getitem__) == (expected, times)


def test_on_a_cpu_auto_means_fixed_choices_so_that_runs_repeat() -> None:
    config = make_config(batch_size="auto", device="cpu")
    task = Classification(("a", "b"), config)
    tuned = tune_to_machine(config, task, n_images=10_000, progress=False)
    assert (tuned.batch_size, tuned.layout) == (CPU_BATCH_SIZE, "channels_last")
    assert tune_to_machine(tuned, task, n_images=10, progress=False) == tuned


def test_where_bits_may_differ_both_layouts_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    config = make_config(imgsz=32, batch_size=2, device="cpu", deterministic=False)
    tuned = tune_to_machine(config, Classification(("a", "b"), config), n_images=10, progress=True)
    assert tuned.layout in ("channels_last", "contiguous")
    words = capsys.readouterr().err
    assert f"layout {tuned.layout}: channels_last" in words
    assert "ms a step, contiguous" in words
    assert torch.equal(torch.rand(2), expected)
