from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sdcore.errors import SettingsError
from trainer.data.provenance import GeneratedImage
from trainer.errors import GeneratedSetError
from trainer.experiment.config import ExperimentConfig, make_experiment, read_experiment
from trainer.experiment.plan import choose_images, images_for_share, largest_share, plan_arms, plan_cells

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


def images_of(**counts: int) -> list[GeneratedImage]:
    return [
        GeneratedImage(Path(f"{label}/{n}.png"), label, hashlib.sha256(f"{label}{n}".encode()).hexdigest(), "s")
        for label, count in counts.items()
        for n in range(count)
    ]


@pytest.mark.parametrize(("share", "real"), [(0.1, 683), (0.3, 683), (0.5, 100), (0.333, 7)])
def test_so_many_images_make_up_the_share(share: float, real: int) -> None:
    count = images_for_share(share, real)
    assert count / (count + real) == pytest.approx(share, abs=0.5 / real)


def test_a_share_takes_every_class_in_its_proportion() -> None:
    chosen = choose_images(images_of(a=60, b=30, c=10), share=0.2, real=200, seed=0, where="arm")
    assert Counter(one.label for one in chosen) == {"a": 30, "b": 15, "c": 5}


def test_no_class_is_dropped_for_being_small() -> None:
    chosen = choose_images(images_of(a=97, b=2, c=1), share=0.1, real=90, seed=0, where="arm")
    assert Counter(one.label for one in chosen) == {"a": 8, "b": 1, "c": 1}


def test_the_choice_is_that_of_the_seed_and_a_larger_share_holds_a_smaller_one() -> None:
    images = images_of(a=50, b=50)
    small, again, large, other = (
        choose_images(images, share=share, real=100, seed=seed, where="arm")
        for share, seed in ((0.2, 1), (0.2, 1), (0.4, 1), (0.2, 2))
    )
    assert small == again
    assert small != other
    assert set(small) <= set(large)
    assert [images.index(one) for one in small] == sorted(images.index(one) for one in small)


def test_the_order_of_the_list_does_not_decide() -> None:
    images = images_of(a=20, b=20)
    forth, back = (choose_images(one, share=0.2, real=40, seed=0, where="arm") for one in (images, images[::-1]))
    assert set(forth) == set(back)


def test_without_a_share_all_are_taken() -> None:
    images = images_of(a=3)
    assert choose_images(images, share=None, real=1, seed=0, where="arm") == tuple(images)


def test_too_few_images_name_the_largest_share() -> None:
    words = r"arm 'x': share 0\.5 .* takes 100 generated ones, found 50; the largest share possible is 0\.333"
    with pytest.raises(GeneratedSetError, match=words) as caught:
        choose_images(images_of(a=50), share=0.5, real=100, seed=0, where="arm 'x'")
    assert largest_share(50, 100) == 0.333
    assert choose_images(images_of(a=50), share=0.333, real=100, seed=0, where="")
    assert "\n" not in str(caught.value)


def test_a_share_smaller_than_the_number_of_classes_is_refused() -> None:
    with pytest.raises(GeneratedSetError, match=r"takes 1 generated ones, fewer than the 2 classes"):
        choose_images(images_of(a=5, b=5), share=0.1, real=10, seed=0, where="arm")


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(GeneratedSetError, match=r"arm: no generated image is left"):
        choose_images([], share=None, real=10, seed=0, where="arm")
