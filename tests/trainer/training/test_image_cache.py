"""Decoded images in memory, in mapped files and on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sdcore.errors import DataError
from trainer.config import TrainingJob, make_config
from trainer.training import image_cache
from trainer.training.image_cache import cache_folder, decode_all, fits_device, memory_limit, move_to_device
from trainer.training.train import train

DrawPicture = Callable[..., Path]


@pytest.fixture
def paths(tmp_path: Path, draw: DrawPicture) -> list[Path]:
    return [draw(tmp_path / "图片" / "划痕" / f"焊盘 {k}.png", "划痕", k, size=40) for k in range(6)]


def test_a_mapped_file_holds_the_same_bits_as_memory(paths: list[Path], tmp_path: Path) -> None:
    memory = decode_all(paths, 32, progress=False)
    mapped = decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "缓存")
    assert (memory.storage, mapped.storage) == ("memory", "mapped file")
    assert torch.equal(memory.images, mapped.images)
    assert memory.images.shape == (6, 3, 32, 32)
    assert len({image.numpy().tobytes() for image in memory.images}) == 6


def test_the_limit_is_the_last_byte(paths: list[Path], tmp_path: Path) -> None:
    needed = 6 * 3 * 32 * 32
    assert decode_all(paths, 32, progress=False, limit_bytes=needed, folder=tmp_path).storage == "memory"
    assert decode_all(paths, 32, progress=False, limit_bytes=needed - 1, folder=tmp_path).storage == "mapped file"


def test_a_mapped_file_is_found_again_until_an_image_changes(
    paths: list[Path], tmp_path: Path, draw: DrawPicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mapped() -> torch.Tensor:
        return decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "cache").images

    first = mapped().clone()
    real = image_cache.decode
    monkeypatch.setattr(image_cache, "decode", lambda path, imgsz: pytest.fail("decoded again"))
    assert torch.equal(mapped(), first)
    monkeypatch.setattr(image_cache, "decode", real)
    draw(paths[0], "dirt", 99, size=40)
    os.utime(paths[0], ns=(1, 1))
    changed = mapped()
    assert not torch.equal(changed[0], first[0])
    assert torch.equal(changed[1:], first[1:])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_writing_to_the_images_leaves_the_file_as_it_is(paths: list[Path], tmp_path: Path) -> None:
    first = decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "cache").images
    before = first.clone()
    first.zero_()
    assert torch.equal(decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "cache").images, before)


def test_a_damaged_file_is_made_again(paths: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    expected = decode_all(paths, 32, progress=False).images
    decode_all(paths, 32, progress=False, limit_bytes=0, folder=cache)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:500])
    assert torch.equal(decode_all(paths, 32, progress=False, limit_bytes=0, folder=cache).images, expected)


def test_an_unreadable_image_is_named_and_leaves_no_file(paths: list[Path], tmp_path: Path) -> None:
    paths[3].write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"焊盘 3\.png: cannot be read as an image"):
        decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_image_that_went_away_is_named(paths: list[Path], tmp_path: Path) -> None:
    paths[2].unlink()
    with pytest.raises(DataError, match=r"焊盘 2\.png: cannot be read"):
        decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "cache")


def test_a_full_disk_is_said_before_anything_is_decoded(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(DataError, match=r"are needed for the decoded images .* SD_DEFECTS_CACHE"):
        decode_all(paths, 32, progress=False, limit_bytes=0, folder=tmp_path / "cache")


def test_no_images_are_an_empty_tensor() -> None:
    assert decode_all([], 32, progress=False).images.shape == (0, 3, 32, 32)


def test_the_limit_is_what_was_asked_else_half_of_what_is_free() -> None:
    assert memory_limit(0.5) == 500_000_000
    assert memory_limit(0) == 0
    assert 0 < memory_limit() < 2**50


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SD_DEFECTS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SD_DEFECTS_CACHE")
    for system, part in (("linux", ".cache"), ("darwin", "Caches"), ("win32", "Local")):
        monkeypatch.setattr("sys.platform", system)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.delenv("LOCALAPPDATA", raising=False)
        assert cache_folder().name == "sd-defects"
        assert part in cache_folder().parts


def test_a_gpu_takes_images_up_to_a_share_of_its_memory(paths: list[Path]) -> None:
    assert fits_device(400, 1000)
    assert not fits_device(401, 1000)
    decoded = decode_all(paths, 32, progress=False)
    assert move_to_device(decoded, torch.device("cpu")) is decoded


def test_training_from_a_mapped_file_gives_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SD_DEFECTS_CACHE", str(tmp_path / "缓存"))
    config = make_config(epochs=1, imgsz=32, batch_size=16, device="cpu")
    train(TrainingJob(data, tmp_path / "memory", config), progress=False)
    train(TrainingJob(data, tmp_path / "mapped", config, cache_gb=0), progress=False)
    assert len(list((tmp_path / "缓存").glob("pictures-*.npy"))) == 2
    assert (tmp_path / "memory" / "last.pt").read_bytes() == (tmp_path / "mapped" / "last.pt").read_bytes()
    assert '"pictures": "mapped file"' in (tmp_path / "mapped" / "environment.json").read_text(encoding="utf-8")
