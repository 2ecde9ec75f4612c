"""A whole training: resumed, refused, saved."""

from __future__ import annotations

import csv
import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from generator.config import TrainConfig
from generator.diffusion import run as run_module, train as train_module
from generator.diffusion.session import DiffusionSession
from generator.diffusion.train import train
from generator.errors import ModelError
from sdcore.errors import ModelFileError, OutOfMemory, SettingsError
from sdcore.progress import Interrupted
from tests.support.generator_data import draw_classes, drawn

Tiny = Callable[..., TrainConfig]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Ctrl-C during step `steps` of this process, without a signal."""
    done: list[int] = []
    original = DiffusionSession.step

    def counted(self: DiffusionSession, share: float) -> float:
        done.append(1)
        return original(self, share)

    @contextmanager
    def asked() -> Iterator[Callable[[], bool]]:
        yield lambda: len(done) >= steps

    monkeypatch.setattr(DiffusionSession, "step", counted)
    monkeypatch.setattr(train_module, "deferred_interrupts", asked)


def test_a_training_leaves_a_model_a_history_and_a_sheet(photos: Path, tmp_path: Path, tiny: Tiny) -> None:
    result = train(photos, tmp_path / "m", tiny(), progress=False)
    assert [row["step"] for row in rows(tmp_path / "m")] == ["2", "4"]
    assert (result.steps, result.resumed_after, result.was_there) == (4, 0, False)
    best = min(rows(tmp_path / "m"), key=lambda row: float(row["val_loss"]))
    assert str(result.weights_of_step) == best["step"]
    assert result.val_loss == pytest.approx(float(best["val_loss"]), rel=1e-4)
    with Image.open(tmp_path / "m" / "sheet.png") as sheet:
        assert sheet.height > 3 * 96
    assert not list((tmp_path / "m").rglob("*.part"))


def test_the_same_seed_gives_the_same_bits_and_another_one_others(photos: Path, tmp_path: Path, tiny: Tiny) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(photos, tmp_path / name, tiny(seed=seed, keep="last", val_share=0), progress=False)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_stopped_by_ctrl_c_it_goes_on_to_the_same_bits(
    photos: Path, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(steps=7, keep="last", flips=True, quarter_turns=True)
    train(photos, tmp_path / "whole", config, progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Interrupted, match=r"stopped after step 3, all of it saved in .*; the same command goes on"):
            train(photos, tmp_path / "parts", config, progress=False)
    result = train(photos, tmp_path / "parts", config, progress=False)
    assert (result.resumed_after, result.steps) == (3, 7)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_killed_it_goes_on_from_the_last_save_to_the_same_bits(
    photos: Path, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(steps=6, save_every=2)
    train(photos, tmp_path / "whole", config, progress=False)
    original = DiffusionSession.step

    def killed(self: DiffusionSession, share: float) -> float:
        if self.steps_done == 3:
            raise SystemExit("killed")
        return original(self, share)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionSession, "step", killed)
        with pytest.raises(SystemExit):
            train(photos, tmp_path / "parts", config, progress=False)
    (tmp_path / "parts" / "unet" / ".config.json.1.part").write_bytes(b"half")
    assert train(photos, tmp_path / "parts", config, progress=False).resumed_after == 2
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["2", "4", "6"]
    assert not list((tmp_path / "parts").rglob("*.part"))


def test_a_finished_training_is_left_alone_and_goes_on_with_more_steps(
    photos: Path, tmp_path: Path, tiny: Tiny
) -> None:
    train(photos, tmp_path / "m", tiny(), progress=False)
    before = weights(tmp_path / "m")
    again = train(photos, tmp_path / "m", tiny(), progress=False)
    assert again.was_there
    assert same(before, weights(tmp_path / "m"))
    more = train(photos, tmp_path / "m", tiny(steps=6), progress=False)
    assert (more.resumed_after, more.steps, more.was_there) == (4, 6, False)


@pytest.mark.parametrize("changed", [{"network": {"size_px": 32}}, {"lr": 1e-3}])
def test_another_setting_is_refused_until_overwritten(
    photos: Path, tmp_path: Path, tiny: Tiny, changed: dict[str, Any]
) -> None:
    train(photos, tmp_path / "m", tiny(), progress=False)
    with pytest.raises(
        SettingsError, match=r"holds a training with (size_px 16, asked for 32|lr 0\.0005).*--overwrite"
    ):
        train(photos, tmp_path / "m", tiny(**changed), progress=False)
    assert not train(photos, tmp_path / "m", tiny(**changed), overwrite=True, progress=False).was_there


def test_other_images_or_classes_are_refused_until_overwritten(photos: Path, tmp_path: Path, tiny: Tiny) -> None:
    train(photos, tmp_path / "m", tiny(), progress=False)
    draw_classes(photos, {"open": 7})
    with pytest.raises(SettingsError, match="other images"):
        train(photos, tmp_path / "m", tiny(steps=9), progress=False)
    shutil.rmtree(photos / "裂纹")
    with pytest.raises(SettingsError, match="other images"):
        train(photos, tmp_path / "m", tiny(steps=9), progress=False)


def test_a_model_without_its_state_is_not_trained_over(photos: Path, tmp_path: Path, tiny: Tiny) -> None:
    train(photos, tmp_path / "m", tiny(), progress=False)
    (tmp_path / "m" / "resume.pt").unlink()
    with pytest.raises(SettingsError, match=r"not its resume\.pt"):
        train(photos, tmp_path / "m", tiny(), progress=False)


def test_a_damaged_state_and_a_file_in_the_way_are_named(photos: Path, tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "resume.pt").write_bytes(b"not a state")
    with pytest.raises(ModelError, match=r"resume\.pt: the state.*--overwrite"):
        train(photos, tmp_path / "m", tiny(), progress=False)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match="a file; expected a folder"):
        train(photos, tmp_path / "file", tiny(), progress=False)


def test_a_disk_that_fills_up_in_mid_save_keeps_what_was_saved(
    photos: Path, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(steps=6, save_every=2, keep="last")
    train(photos, tmp_path / "whole", config, progress=False)
    original, saves = Path.write_bytes, [0]

    def full(self: Path, content: bytes) -> int:
        # The second of the states, by torch's zip archive: temporary names do not tell what they become.
        if self.suffix == ".part" and bytes(content[:2]) == b"PK":
            saves[0] += 1
            if saves[0] == 2:
                original(self, bytes(content)[:100])
                raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return original(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"No space left.*resume\.pt") as caught:
            train(photos, tmp_path / "m", config, progress=False)
    assert caught.value.filename == str(tmp_path / "m" / "resume.pt")
    assert not list((tmp_path / "m").rglob("*.part"))
    assert train(photos, tmp_path / "m", config, progress=False).resumed_after == 2
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "m"))


def test_a_disk_that_is_full_beforehand_is_told_before_the_work(
    photos: Path, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(run_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(SettingsError, match=r"1 MiB free on this disk, but saving takes \d+"):
        train(photos, tmp_path / "m", tiny(), progress=False)


@pytest.mark.parametrize(
    "failure", [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_memory_that_runs_out_is_told_with_a_smaller_batch(
    photos: Path, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fails(self: DiffusionSession, share: float) -> float:
        raise failure

    monkeypatch.setattr(DiffusionSession, "step", fails)
    with pytest.raises(OutOfMemory, match=r"batches of 4 at 16 px; try --batch-size 2"):
        train(photos, tmp_path / "m", tiny(), progress=False)


def test_a_device_that_is_not_there_is_refused(photos: Path, tmp_path: Path, tiny: Tiny) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SettingsError, match="'cuda' asked for"):
        train(photos, tmp_path / "m", tiny(device="cuda"), progress=False)


def test_a_rising_validation_loss_is_said_and_the_best_weights_are_kept(
    photos: Path, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5, 0.3, 0.9])
    monkeypatch.setattr(run_module.Validation, "loss", lambda *args, **options: next(losses))
    result = train(photos, tmp_path / "m", tiny(steps=6), progress=False)
    assert (result.weights_of_step, result.val_loss) == (4, 0.3)
    assert "lowest at step 4 (0.300) and rose to 0.900" in result.notes[0]


def test_colour_and_long_images_are_learned_too(tmp_path: Path, tiny: Tiny) -> None:
    data = draw_classes(tmp_path / "data", {"Normal": 6, "open": 6}, size=(40, 16), colour=True)
    drawn("open", 8, size=(12, 30), colour=True).save(data / "open" / "tall.png")
    train(data, tmp_path / "m", tiny(flips=True, quarter_turns=True, val_share=0), progress=False)
    assert weights(tmp_path / "m")["conv_in.weight"].shape[1] == 48
