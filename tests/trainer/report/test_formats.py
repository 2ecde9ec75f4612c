from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdcore.errors import SettingsError
from tests.support.reports import markdown_rows, page_of
from trainer import messages
from trainer.cli import cli
from trainer.models.predictions import write_predictions
from trainer.report import ReportInputs, render_report
from trainer.report.elements import Cell, Row, Table, as_line, as_table, choose_format, head, number, row_head


@pytest.mark.parametrize(
    ("name", "asked", "kind"),
    [
        ("r.html", None, "html"),
        ("r.HTM", None, "html"),
        ("报告.md", None, "md"),
        ("r.json", "json", "json"),
        ("report", "md", "md"),
        ("r.txt", "html", "html"),
    ],
)
def test_the_ending_or_the_option_says_the_format(name: str, asked, kind: str) -> None:  # type: ignore[no-untyped-def]
    assert choose_format(Path(name), asked) == kind


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("r.html", "md", "its ending says html, but --format says md; name the file .md"),
        ("r.txt", None, r"found the ending \.txt; expected \.html"),
        ("report", None, "found the ending none"),
    ],
)
def test_a_contradiction_is_refused_in_words(name: str, asked, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingsError, match=words):
        choose_format(Path(name), asked)


def test_json_is_the_block_of_the_page_in_either_language(inputs: ReportInputs) -> None:
    block = json.loads(page_of(inputs).block)
    assert json.loads(render_report(inputs, kind="json")) == block
    assert render_report(inputs, kind="json", language="zh") == render_report(inputs, kind="json")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_markdown_has_every_table_of_the_page(inputs: ReportInputs, language) -> None:  # type: ignore[no-untyped-def]
    text = render_report(inputs, kind="md", language=language)
    page = page_of(inputs, language)
    assert len(page.rows) > 50
    assert markdown_rows(text) == sorted(page.rows)
    verdict = inputs.comparison.verdict
    assert text.index(messages.text(verdict.sentence, language)) < text.index("\n## ")
    assert "<" not in text.replace("\\<", "").replace("<data>", "")
    assert "\n\n\n" not in text
    assert "data:image" not in text


def test_signs_of_markdown_in_names_stay_letters() -> None:
    assert as_line("a|b *c*\n<d> `e` [f] $g$") == r"a\|b \*c\* \<d\> \`e\` \[f\] \$g\$"
    table = Table("", ((head("a|b"),),), (Row((row_head("x\ny", sub=("", " ", "z")),)),))
    assert as_table(table) == "| a\\|b |\n| --- |\n| x y (z) |"


def test_a_head_in_two_rows_becomes_one() -> None:
    upper = (head("class", rows=2), head("A", columns=2))
    lower = (head("real"), head("all", sub=("sum",)))
    body = (Row((row_head("open"), number("1"), number("2"))), Row((row_head("short"), Cell(columns=2))))
    assert as_table(Table("", (upper, lower), body)).splitlines() == [
        "| class | A real | A all (sum) |",
        "| --- | ---: | ---: |",
        "| open | 1 | 2 |",
        "| short |  |  |",
    ]
    assert as_table(Table("", ((head("only"),),), ())) == "| only |\n| --- |"


def test_the_command_writes_each_format_and_refuses_contradictions_at_once(tmp_path: Path) -> None:
    labels = ["Normal", "open"] * 4
    for name, sure in (("a", 0.4), ("b", 0.9)):
        rows = [[sure, 1 - sure] if label == "Normal" else [1 - sure, sure] for label in labels]
        write_predictions(tmp_path / f"{name}.csv", [f"{n}.png" for n in range(8)], labels, ["Normal", "open"], rows)

    def run(*options: object):  # type: ignore[no-untyped-def]
        given = ["compare", tmp_path / "a.csv", tmp_path / "b.csv", *options]
        return CliRunner().invoke(cli, [str(one) for one in given])

    refused = run("--report", tmp_path / "r.html", "--format", "json")
    assert refused.exit_code == 1
    assert "its ending says html, but --format says json" in refused.stderr
    assert not (tmp_path / "r.html").exists()
    assert run("--format", "md").exit_code == 2
    for name, start in (
        ("r.md", "# 生成图像有帮助吗"),
        ("r.json", "{"),
        ("r.html", '<!doctype html>\n<html lang="zh">'),
    ):
        assert run("--report", tmp_path / name, "--lang", "zh").exit_code == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    assert "--lang zh" in (tmp_path / "r.md").read_text(encoding="utf-8")
