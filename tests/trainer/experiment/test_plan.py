from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcore.errors import SettingsError
from trainer.experiment.config import ExperimentConfig, make_experiment, read_experiment
from trainer.experiment.plan import plan_arms, plan_cells

BASE: dict[str, Any] = {"data": "d", "output": "o", "primary": "macro_f1"}


def config_of(*arms: dict[str, Any], **settings: Any) -> ExperimentConfig:
    return make_experiment({**BASE, **settings, "arm": list(arms)}, origin="x", folder=Path())


def test_each_share_is_an_arm_with_a_control_of_its_own() -> None:
    arms = plan_arms(
        config_of(
            {"kind": "baseline"},
            {"kind": "classical"},
            {"kind": "generated", "sets": ["s"], "share": [0.1, 0.3]},
            {"kind": "generated", "name": "all", "sets": ["s"], "normal": False},
        )
    )
    assert [(one.name, one.kind, one.share, one.controls) for one in arms] == [
        ("baseline", "baseline", None, ""),
        ("classical generated 0.1", "classical", None, "generated 0.1"),
        ("classical generated 0.3", "classical", None, "generated 0.3"),
        ("classical all", "classical", None, "all"),
        ("generated 0.1", "generated", 0.1, ""),
        ("generated 0.3", "generated", 0.3, ""),
        ("all", "generated", None, ""),
    ]
    assert [one.normal for one in arms if one.kind == "generated"] == [None, None, False]


def test_arms_may_share_a_control() -> None:
    arms = plan_arms(
        config_of(
            {"kind": "baseline"},
            {"kind": "classical"},
            {"kind": "generated", "name": "low", "sets": ["s"]},
            {"kind": "generated", "name": "high", "sets": ["t"], "control": "low"},
        )
    )
    assert [(one.name, one.controls, one.shares_control) for one in arms] == [
        ("baseline", "", ""),
        ("classical", "low", ""),
        ("low", "", ""),
        ("high", "", "low"),
    ]


@pytest.mark.parametrize("control", ["nobody", "high", "third"])
def test_a_control_that_is_not_there_cannot_be_shared(control: str) -> None:
    config = config_of(
        {"kind": "baseline"},
        {"kind": "classical"},
        {"kind": "generated", "name": "low", "sets": ["s"]},
        {"kind": "generated", "name": "high", "sets": ["t"], "control": control},
        {"kind": "generated", "name": "third", "sets": ["u"], "control": "low"},
    )
    with pytest.raises(SettingsError, match=rf"'high': control = '{control}'.*expected one of low"):
        plan_arms(config)


def test_one_generated_arm_leaves_names_short() -> None:
    generated = {"kind": "generated", "sets": ["s"], "share": 0.2}
    arms = plan_arms(config_of({"kind": "baseline"}, generated, {"kind": "classical"}))
    assert [one.name for one in arms] == ["baseline", "generated", "classical"]


def test_cells_go_seed_by_seed_so_that_a_broken_off_experiment_has_whole_seeds() -> None:
    config = config_of({"kind": "baseline"}, {"kind": "oversampling"}, seeds=[3, 1], folds=2)
    cells = plan_cells(config, plan_arms(config))
    assert [one.folder for one in cells] == [
        "cells/baseline/seed-3/fold-0",
        "cells/oversampling/seed-3/fold-0",
        "cells/baseline/seed-3/fold-1",
        "cells/oversampling/seed-3/fold-1",
        "cells/baseline/seed-1/fold-0",
        "cells/oversampling/seed-1/fold-0",
        "cells/baseline/seed-1/fold-1",
        "cells/oversampling/seed-1/fold-1",
    ]
    assert cells[0].name == "baseline seed-3 fold-0"
    alone = config_of({"kind": "baseline"}, seeds=1)
    assert [one.folder for one in plan_cells(alone, plan_arms(alone))] == ["cells/baseline/seed-0"]


def test_a_name_that_a_share_makes_twice_is_refused() -> None:
    config = config_of(
        {"kind": "baseline"},
        {"kind": "classical"},
        {"kind": "generated", "sets": ["s"], "share": [0.1, 0.2]},
        {"kind": "generated", "name": "generated 0.1", "sets": ["t"]},
    )
    with pytest.raises(SettingsError, match=r"'classical generated 0\.1' would be the name of two arms"):
        plan_arms(config)


def test_the_example_file_is_one() -> None:
    config = read_experiment(Path(__file__).parents[3] / "examples" / "experiment.toml")
    arms = plan_arms(config)
    assert [one.name for one in arms if one.kind == "generated"] == [
        "generated 0.1",
        "generated 0.3",
        "generated 0.5",
        "with Normal",
    ]
    assert len(plan_cells(config, arms)) == 10 * 5
