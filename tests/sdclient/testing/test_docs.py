"""Every example of docs/testing.md, run as it stands there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def namespace() -> dict[str, Any]:
    """All blocks in one module, as a reader would paste them."""
    found: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), found)
    return found


NAMES = namespace()
EXAMPLES = {name: value for name, value in NAMES.items() if name.startswith("test_")}


def test_each_fault_has_an_example() -> None:
    from sdclient.testing import FaultPlan

    planning = {"refuse", "reset", "truncate", "delay", "status", "out_of_memory", "nan", "substitute", "short_reply"}
    public = {name for name, value in vars(FaultPlan).items() if not name.startswith("_") and callable(value)}
    assert public - planning == {"assert_all_used", "clear", "count_refusal", "release_all", "take"}
    text = "\n".join(BLOCKS)
    assert {name for name in planning if f".faults.{name}(" in text} == planning
    assert len(EXAMPLES) >= len(planning)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name: str, request: pytest.FixtureRequest) -> None:
    example = EXAMPLES[name]
    assert isinstance(example, FunctionType)
    example(**{argument: request.getfixturevalue(argument) for argument in inspect.signature(example).parameters})
