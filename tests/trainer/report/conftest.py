"""Runs, a generated folder and test images on disk, small and made here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.report_case import Case, build_case, build_inputs
from trainer.report import ReportInputs


@pytest.fixture(scope="module")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Case]:
    return lambda: build_case(tmp_path_factory.mktemp("报告"))


@pytest.fixture(scope="module")
def inputs(make_case: Callable[[], Case]) -> ReportInputs:
    return build_inputs(make_case())
