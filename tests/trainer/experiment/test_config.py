from __future__ import annotations

from pathlib import Path

import pytest

from sdcore.errors import SettingsError
from trainer.experiment.config import is_folder_name, read_experiment

ARMS = """
[[arm]]
kind = "baseline"
[[arm]]
kind = "classical"
[[arm]]
kind = "generated"
sets = ["生成"]
"""
HEAD = 'data = "data"\noutput = "out"\nprimary = "macro_f1"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_with_its_defaults_and_paths_from_where_it_lies(tmp_path: Path) -> None:
    text = HEAD + 'seeds = 3\n[train]\nepochs = 7\nweights = "w.pt"\n' + ARMS + "share = 0.3\n"
    config = read_experiment(write(tmp_path, text))
    assert Path(config.data) == tmp_path / "data"
    assert Path(config.output) == tmp_path / "out"
    assert config.seeds == (0, 1, 2)
    assert (config.folds, config.normal, config.train.epochs) == (0, "Normal", 7)
    assert config.train.weights is not None
    assert Path(config.train.weights) == tmp_path / "w.pt"
    assert [one.title for one in config.arm] == ["baseline", "classical", "generated"]
    assert [Path(one) for one in config.arm[2].sets] == [tmp_path / "生成"]
    assert config.arm[2].share == (0.3,)


def test_seeds_may_be_named(tmp_path: Path) -> None:
    assert read_experiment(write(tmp_path, HEAD + "seeds = [7, 3]\n" + ARMS)).seeds == (7, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data = ", r"experiment\.toml: not TOML: .*; texts need quotes"),
        (HEAD.replace("primary", "primry") + ARMS, r"experiment\.toml: primary: missing"),
        (HEAD + "colour = 1\n" + ARMS, r"experiment\.toml: colour: no such key; expected one of data, output, primary"),
        (HEAD.replace("macro_f1", "f1") + ARMS, r"primary: found 'f1'; .*'macro_f1', 'accuracy'"),
        (HEAD + "seeds = 0\n" + ARMS, r"seeds: found 0; expected 1 or more"),
        (HEAD + "seeds = [1, 1]\n" + ARMS, r"seeds: found \[1, 1\]; expected one or more whole numbers"),
        (HEAD + 'seeds = "x"\n' + ARMS, r"seeds: found 'x'; expected a number of seeds, or a list"),
        (HEAD + "[train]\nepoch = 1\n" + ARMS, r"\[train\] epoch: no such key; expected one of model, epochs"),
        (
            HEAD + ARMS + "shares = 0.1\n",
            r"\[\[arm\]\] number 3: shares: no such key; expected one of kind, name, sets",
        ),
        (HEAD + "folds = 1\n" + ARMS, r"folds: found 1; expected 0 for one division"),
        (HEAD + "[train]\nepochs = 0\n" + ARMS, r"\[train\] epochs: found 0; input should be greater"),
        (HEAD + "[train]\nseed = 1\n" + ARMS, r"\[train\] seed: found 1; leave it out, the experiment's 'seeds'"),
        (HEAD + "[train]\npatience = 3\n" + ARMS, r"\[train\] patience: found 3; .* unequal numbers of steps"),
        (HEAD + '[train]\nbatch_size = "auto"\n' + ARMS, r"\[train\] batch_size: found 'auto'; expected a number"),
        (HEAD + "[classical]\nscale = 2\n" + ARMS, r"\[classical\]: scale: found 2; expected less"),
        (HEAD + ARMS + "share = 1.0\n", r"\[\[arm\]\] number 3: share: found .*; 1 is not a share"),
        (HEAD + ARMS + "share = [0.1, 0.1]\n", r"\[\[arm\]\] number 3: share: .* is given twice"),
        (HEAD + ARMS.replace('sets = ["生成"]', ""), r"\[\[arm\]\] number 3: sets: missing; expected output folders"),
        (HEAD + ARMS.replace("baseline", "basline"), r"\[\[arm\]\] number 1: kind: found 'basline'; .*'baseline'"),
        (HEAD + ARMS + 'name = "a/b"\n', r"number 3: name: found 'a/b'; expected a name that a folder can have"),
        (HEAD + ARMS + 'name = "Baseline"\n', r"arm: 'baseline' is the name of two arms"),
        (HEAD + ARMS + '[[arm]]\nkind = "baseline"\nname = "b"\n', r'arm: 2 of kind = "baseline"; expected one'),
        (HEAD + '[[arm]]\nkind = "oversampling"\n', r'arm: 0 of kind = "baseline"; expected one'),
        (HEAD + ARMS.replace('[[arm]]\nkind = "classical"\n', ""), r"go together: .* add the other one"),
        (HEAD + ARMS + '[[arm]]\nkind = "oversampling"\nshare = 0.1\n', r"share: only an arm of kind = \"generated\""),
        (
            HEAD + '[train]\nclass_weights = "balanced"\n' + ARMS + '[[arm]]\nkind = "oversampling"\n',
            r"train\.class_weights: found 'balanced' beside",
        ),
        (HEAD + "arm = 1\n", r"arm: found 1"),
        (HEAD + "train = 1\n" + ARMS, r"train: found 1"),
    ],
)
def test_a_mistake_is_one_line_with_file_table_key_found_and_expected(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError, match=words) as caught:
        read_experiment(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_utf8_are_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read"):
        read_experiment(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_bytes(b'data = "\xff"')
    with pytest.raises(SettingsError, match=r"x\.toml: not UTF-8"):
        read_experiment(tmp_path / "x.toml")


@pytest.mark.parametrize("name", ["generated 0.3", "生成", "a-b_c"])
def test_names_that_a_folder_can_have(name: str) -> None:
    assert is_folder_name(name)


@pytest.mark.parametrize("name", ["", " a", "a.", ".a", "a:b", "CON", "com1.x", "a\nb", "x" * 101])
def test_names_that_no_folder_can_have_everywhere(name: str) -> None:
    assert not is_folder_name(name)
