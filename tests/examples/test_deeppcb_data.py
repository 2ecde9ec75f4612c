from __future__ import annotations

import csv
from pathlib import Path

import deeppcb_data
import pytest
from PIL import Image


def test_images_are_laid_out_by_their_split_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["file", "class", "split", "train_longtail", "group"]]
    for number, split in enumerate(["train", "train", "train", "val", "test"]):
        (tmp_path / "pcb" / "images" / "open").mkdir(parents=True, exist_ok=True)
        Image.new("L", (96, 96), 9 * number).save(tmp_path / "pcb" / "images" / "open" / f"{number}.png")
        rows.append([f"open/{number}.png", "open", split, str(int(number < 2)), f"g{number}"])
    with (tmp_path / "pcb" / "split.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    monkeypatch.setattr("sys.argv", ["deeppcb_data", str(tmp_path / "pcb"), str(tmp_path / "data")])
    assert deeppcb_data.main() == 0
    assert capsys.readouterr().out.splitlines() == ["train: open 2", "val: open 1", "test: open 1"]
    assert sorted(path.name for path in (tmp_path / "data" / "train" / "open").iterdir()) == ["0.png", "1.png"]


def test_another_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["deeppcb_data", str(tmp_path), str(tmp_path / "data")])
    assert deeppcb_data.main() == 1
    assert "expected a DeepPCB folder" in capsys.readouterr().err
