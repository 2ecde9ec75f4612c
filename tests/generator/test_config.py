from __future__ import annotations

from typing import Any

import pytest

from generator.config import make_config, what_differs
from sdcore.errors import SettingsError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, r"--minutes or --steps"),
        ({"steps": 0}, r"steps: found 0; input should be greater"),
        ({"steps": 1, "network": {"size_px": 60}}, r"60 is not a multiple of 16.*take 48 or 64"),
        ({"steps": 1, "network": {"size_px": 17, "packing": 1}}, r"17 is not a multiple of 4.*take 16 or 20"),
        ({"steps": 1, "network": {"widths": (64, 100)}}, r"widths: 100 is not a multiple"),
        ({"steps": 1, "network": {"widths": ()}}, r"0 levels"),
        ({"steps": 1, "network": {"packing": 3}}, r"network.packing: found 3"),
        ({"steps": 1, "nope": 3}, r"nope: found 3; extra inputs"),
        ({"steps": 1, "drop_class": 1.0}, r"drop_class: found 1.0"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_was_found(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_config(**settings)


def test_a_training_may_go_on_with_another_end_or_machine_but_not_with_other_pixels() -> None:
    there = make_config(steps=5).model_dump(mode="json")
    assert what_differs(there, make_config(minutes=3, device="cpu", threads=2, sheet_every=0)) is None
    assert what_differs(there, make_config(steps=5, lr=1e-3)) == "lr 0.0005, asked for 0.001"
    other = make_config(steps=5, network={"size_px": 96})
    assert what_differs(there, other) == "size_px 64, asked for 96"


def test_a_setting_that_an_older_training_does_not_name_counts_as_other() -> None:
    there = make_config(steps=5).model_dump(mode="json")
    del there["balance"]
    assert what_differs(there, make_config(steps=5)) == "balance None, asked for True"
