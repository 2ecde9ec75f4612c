"""Every example of docs/run-file.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sdclient.batch import GenerationSettings, RunSpec, load_run_file
from sdclient.batch.settings import DRAWN_NAMES
from sdcore.errors import SettingsError

PAGE = Path(__file__).parents[3] / "docs" / "run-file.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's folder, with the page's run.toml."""
    monkeypatch.chdir(tmp_path)
    (main,) = blocks("toml")
    Path("run.toml").write_text(main, encoding="utf-8")


@pytest.mark.usefixtures("in_folder")
def test_the_python_examples_run_one_after_the_other() -> None:
    names: dict[str, Any] = {}
    assert len(blocks("python")) == 6
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), names)


@pytest.mark.usefixtures("in_folder")
def test_each_mistake_is_told_in_the_words_of_the_page() -> None:
    mistakes, messages = blocks("toml mistake"), blocks("text")
    assert len(mistakes) == len(messages) == 2
    for mistake, message in zip(mistakes, messages, strict=True):
        Path("run.toml").write_text(mistake, encoding="utf-8")
        with pytest.raises(SettingsError) as caught:
            load_run_file(Path("run.toml"))
        assert str(caught.value) == message.strip()


def test_the_table_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*?) ?\|$", TEXT, re.MULTILINE))
    defaults = GenerationSettings().model_dump()
    expected = {name: str(default or ("0" if name == "seed" else "")) for name, default in defaults.items()}
    assert rows == {**expected, "native_px": "by the model's name"}
    drawn = set(re.findall(r"^\| `(\w+)` \| .*may be a list or a range", TEXT, re.MULTILINE))
    assert drawn == set(DRAWN_NAMES)


def test_both_forms_of_a_range_mean_the_same() -> None:
    one, other = ({"denoising_strength": form} for form in ("0.2:0.3", {"min": 0.2, "max": 0.3}))
    assert '`"0.2:0.3"` or `{min = 0.2, max = 0.3}`' in TEXT
    assert RunSpec.from_mapping(one, origin="one") == RunSpec.from_mapping(other, origin="one")
