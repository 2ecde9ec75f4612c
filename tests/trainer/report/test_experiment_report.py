from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.experiment_case import PLANNED, make_experiment
from tests.support.reports import STYLES, Page, follow, markdown_rows
from trainer.experiment.judge import Judgement
from trainer.experiment.result import experiment_as_json
from trainer.messages import text
from trainer.report import ExperimentInputs, collect_experiment, render_experiment, write_experiment_report
from trainer.report.experiment_report import flatten


@pytest.fixture(scope="module")
def inputs(make_case) -> ExperimentInputs:  # type: ignore[no-untyped-def]
    case = make_case()
    result = make_experiment(case)
    return collect_experiment(result, output=case.root, commands=["trainer experiment e.toml"], notes=["Drawn boards."])


@pytest.fixture(scope="module")
def page(inputs: ExperimentInputs) -> Page:
    return Page(render_experiment(inputs))


def test_every_visible_figure_equals_what_the_pure_functions_give(inputs: ExperimentInputs, page: Page) -> None:
    block = json.loads(page.block)
    assert block["experiment"] == json.loads(json.dumps(experiment_as_json(inputs.result)))
    assert len(page.figures) > 300
    for pointer, value, shown in page.figures:
        expected = follow(block, pointer)
        assert (float(value) if value else None) == expected, pointer
        styles = {style(expected) for style in STYLES if expected is not None or style in STYLES[:3]}
        assert shown in styles, (pointer, shown)


def test_the_answer_comes_first_for_every_generated_arm(inputs: ExperimentInputs, page: Page) -> None:
    before = page.words.index("Rates side by side")
    for one in inputs.result.judgements:
        assert page.words.index(text(one.sentence)) < before
    assert [one.arm for one in inputs.result.judgements] == ["img2img 焊盘", "img2img half"]


def test_every_arm_training_and_set_is_named(inputs: ExperimentInputs, page: Page) -> None:
    for name, *_ in PLANNED:
        assert page.words.count(name) > 5
    assert page.words.count("the learning rate is spent") == len(inputs.result.cells) == 12
    assert "abababababababab" in page.words
    assert "trainer experiment e.toml" in page.words
    assert "2026-01-01T00:00:00+00:00" in page.words
    assert [row[4] for row in page.rows if "finished已收敛" in row[-1]] == ["1.5"] * 12
    assert (
        sum(attributes.get("alt", "").startswith("generated from") for tag, attributes in page.tags if tag == "img")
        == 12
    )  # type: ignore[union-attr]


def test_whether_generated_images_can_be_told_is_shown_or_said_why_not(page: Page) -> None:
    figures = {pointer: shown for pointer, _, shown in page.figures}
    assert figures["/experiment/arms/img2img 焊盘/real_or_generated/auroc"] == "0.938"
    assert figures["/experiment/arms/img2img half/real_or_generated/auroc"] == "undefined"
    assert "no class has 20 real and 20 generated images" in page.words


def test_an_experiment_without_generated_arms_has_no_verdict(inputs: ExperimentInputs) -> None:
    kept = replace(
        inputs.result, arms=inputs.result.arms[:2], judgements=(), cells=inputs.result.cells[:4], data={"sets": []}
    )
    bare = replace(inputs, result=kept, arms=inputs.arms[:2], generated_sets=(), worst=())
    words = Page(render_experiment(bare)).words
    assert "nothing to judge" in words
    assert "Rates side by side" in words
    for part in ("Each generated arm beside", "told from real", "Lineage", "did not come from"):
        assert part not in words


@pytest.mark.parametrize("language", ["en", "zh"])
def test_markdown_has_the_figures_of_the_page(inputs: ExperimentInputs, language: str) -> None:
    found = Page(render_experiment(inputs, language=language))  # type: ignore[arg-type]
    assert len(found.rows) > 80
    assert markdown_rows(render_experiment(inputs, language=language, kind="md")) == sorted(found.rows)  # type: ignore[arg-type]


def test_json_is_the_block_of_the_page(inputs: ExperimentInputs, page: Page) -> None:
    assert json.loads(render_experiment(inputs, kind="json")) == json.loads(page.block)


def test_the_chinese_sentence_has_the_figures_of_the_english_one(inputs: ExperimentInputs) -> None:
    def numbers(words: str) -> list[str]:
        return sorted(re.findall(r"[+-]?\d+\.\d+", words))

    def chinese(one: Judgement) -> str:
        return text(one.sentence, "zh")

    for one in inputs.result.judgements:
        assert numbers(chinese(one)) == numbers(text(one.sentence))
        assert len(numbers(text(one.sentence))) >= 10
        assert "Holm" in chinese(one)
        assert ("暂定" in chinese(one)) == one.provisional


def test_settings_are_flattened_with_their_places() -> None:
    nested = {"a": {"b": 1, "c": None}, "d": [1, 2], "e": [{"f": "x"}], "g": []}
    assert list(flatten(nested)) == [("a.b", "1"), ("d", "1, 2"), ("e.0.f", "x")]


def test_the_report_is_written_in_the_format_of_its_name(tmp_path: Path, inputs: ExperimentInputs) -> None:
    path = tmp_path / "报告.json"
    write_experiment_report(path, inputs.result, output=tmp_path)
    block = json.loads(path.read_text(encoding="utf-8"))
    # Nothing of the cells lies here.
    assert {name: len(curves) for name, curves in block["curves"].items()} == {name: 0 for name, *_ in PLANNED}
