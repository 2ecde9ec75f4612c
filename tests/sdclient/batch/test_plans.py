"""A runner takes a plan as it was made in Python: by counts, by names, or as sources with numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings
from sdclient.client import WebUI
from sdclient.errors import PlanError
from sdclient.manifest import Manifest
from sdclient.plan import Plan, make_plan
from tests.support.fake_webui import FakeWebUI


@pytest.fixture
def counted_sources(tmp_path: Path) -> Path:
    """Two numbered sources of "焊盘", one of "dirt"."""
    for name in ("焊盘/1.png", "焊盘/2.png", "dirt/1.jpg"):
        path = tmp_path / "counted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 40).save(path)
    return tmp_path / "counted"


def runner(webui: WebUI, sources: Path, output: Path, **options: Any) -> BatchRunner:
    return BatchRunner(
        webui, sources, output, GenerationSettings(native_px=64, batch_size=1), GenerateOptions(**options)
    )


def test_a_plan_from_counts_makes_what_it_says(webui: WebUI, counted_sources: Path, tmp_path: Path) -> None:
    plan = Plan.from_counts({"焊盘": 2, "dirt": 1}, target=4)
    made = [record.file for record in runner(webui, counted_sources, tmp_path / "out").run(plan)]
    assert sorted(made) == sorted(["焊盘/1_1.png", "焊盘/2_1.png", "dirt/1_1.png", "dirt/1_2.png", "dirt/1_3.png"])


def test_results_come_one_by_one_and_the_rest_is_made_on_the_next_run(
    webui: WebUI, fake: FakeWebUI, counted_sources: Path, tmp_path: Path
) -> None:
    plan, output = Plan.from_counts({"焊盘": 2, "dirt": 1}, per_source=20), tmp_path / "out"
    results = runner(webui, counted_sources, output).run(plan)
    first = next(results)
    assert (output / first.file).is_file()
    assert len(fake.requests) < 60, "the first image waited for the last"
    results.close()  # type: ignore[attr-defined]
    with Manifest(output) as manifest:
        kept = {record.file for record in manifest.images()}
    rest = {record.file for record in runner(webui, counted_sources, output).run(plan)}
    assert not kept & rest
    assert len(kept | rest) == 60


def test_a_bar_is_shown_on_request_alone(
    webui: WebUI, counted_sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan.from_counts({"焊盘": 2, "dirt": 1}, per_source=1)
    list(runner(webui, counted_sources, tmp_path / "quiet").run(plan))
    assert capsys.readouterr().err == ""
    list(runner(webui, counted_sources, tmp_path / "shown").run(plan, progress=True))
    assert "generate: 100%" in capsys.readouterr().err


def test_a_plan_of_more_sources_than_there_are_is_refused_before_anything_is_asked(
    webui: WebUI, fake: FakeWebUI, counted_sources: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match="names dirt/2, which is not among the sources"):
        next(runner(webui, counted_sources, tmp_path / "out").run(Plan.from_counts({"dirt": 2}, per_source=1)))
    assert fake.requests == []


def test_counts_and_names_give_the_same_plan() -> None:
    counts = {"Normal": 7, "dirt": 3, "short": 11}
    by_name = make_plan({name: [f"{n}.png" for n in range(1, count + 1)] for name, count in counts.items()}, target=9)
    by_count = Plan.from_counts(counts, target=9)
    assert by_count.rows == by_name.rows
    assert {(c, f"{s}.png"): n for (c, s), n in by_count.owed.items()} == by_name.owed


def test_a_count_below_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match=r"'dirt' has -1 sources; expected 0 or more"):
        Plan.from_counts({"dirt": -1}, target=4)
