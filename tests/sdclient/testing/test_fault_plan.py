"""The plan itself: what is planned happens, in order, as often as planned, and is counted."""

from __future__ import annotations

from typing import Any

import pytest

from sdclient.testing import FaultPlan, Held


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan(refuse=lambda times: None, stop_refusing=lambda: None)


def names(plan: FaultPlan, *paths: str) -> list[str | None]:
    faults = [plan.take(path) for path in paths]
    return [None if fault is None else fault.name for fault in faults]


def test_faults_happen_in_the_order_planned_and_as_often(plan: FaultPlan) -> None:
    plan.reset(times=2)
    plan.status(503)
    path = "/sdapi/v1/img2img"
    assert names(plan, path, path, path, path) == ["reset", "reset", "status 503", None]
    assert plan.used == 3
    plan.assert_all_used()


def test_without_a_path_faults_meet_generating_calls_alone(plan: FaultPlan) -> None:
    plan.reset(times=2)
    asked = ("/sdapi/v1/options", "/sdapi/v1/txt2img", "/internal/progress", "/sdapi/v1/img2img/")
    assert names(plan, *asked) == [None, "reset", None, "reset"]


def test_a_path_may_be_named_by_its_last_part_or_whole(plan: FaultPlan) -> None:
    plan.nan(on="options")
    plan.nan(on="/sdapi/v1/samplers")
    plan.nan(on="*")
    asked = ("/sdapi/v1/samplers", "/sdapi/v1/options", "/internal/ping", "/sdapi/v1/img2img")
    assert names(plan, *asked) == ["nan", "nan", "nan", None]


def test_a_later_fault_that_fits_does_not_wait_for_an_earlier_one_that_does_not(plan: FaultPlan) -> None:
    plan.reset(on="options")
    plan.nan()
    assert names(plan, "/sdapi/v1/img2img", "/sdapi/v1/options") == ["nan", "reset"]


def test_what_did_not_happen_is_named(plan: FaultPlan) -> None:
    plan.reset(times=3)
    plan.out_of_memory()
    plan.refuse(2)
    plan.take("/sdapi/v1/img2img")
    with pytest.raises(AssertionError, match=r"refuse \(0 of 2\), reset \(1 of 3\), out of memory \(0 of 1\)"):
        plan.assert_all_used()


def test_nothing_planned_is_all_used(plan: FaultPlan) -> None:
    plan.assert_all_used()
    assert plan.used == 0


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("reset", {"times": 0}), ("refuse", {"times": -1}), ("short_reply", {"missing": 0}), ("substitute", {})],
)
def test_a_fault_that_would_be_none_is_refused(plan: FaultPlan, method: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected 1 or more|name what to use"):
        getattr(plan, method)(**arguments)


def test_a_hold_ends_by_itself_and_a_missing_request_is_told() -> None:
    Held(longest_s=0).hold()
    with pytest.raises(AssertionError, match="no request came"):
        Held(longest_s=0).wait_until_arrived(timeout_s=0)
