from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdcore.errors import SettingsError
from tests.support.reports import STYLES, Page, follow, markdown_rows, page_of
from trainer import messages
from trainer.cli import cli
from trainer.evaluation.compare import compare, comparison_as_json
from trainer.messages import p_value, percent, text
from trainer.models.predictions import write_predictions
from trainer.report import ReportInputs, collect_inputs, render_report, write_report
from trainer.report.compare_report import MOST_FLIPS
from trainer.report.elements import (
    Cell,
    Row,
    Table,
    as_line,
    as_table,
    choose_format,
    head_cell,
    number_cell,
    row_head_cell,
)
from trainer.report.inputs import ArmFacts


@pytest.fixture(scope="module")
def single(make_case) -> ReportInputs:  # type: ignore[no-untyped-def]
    case = make_case()
    arms = [case.arm("a", seeds=1, skill=0.5, generated=False), case.arm("b", seeds=1, skill=3.0, generated=True)]
    return collect_inputs(compare(*arms), arms, case.data)


@pytest.fixture(scope="module", params=["inputs", "single"])
def any_inputs(request: pytest.FixtureRequest) -> ReportInputs:
    found: ReportInputs = request.getfixturevalue(request.param)
    return found


def test_every_visible_figure_equals_what_the_pure_functions_give(any_inputs: ReportInputs) -> None:
    page = page_of(any_inputs)
    block = json.loads(page.block)
    assert block["comparison"] == json.loads(json.dumps(comparison_as_json(any_inputs.comparison)))
    assert len(page.figures) > 150
    for pointer, value, shown in page.figures:
        expected = follow(block, pointer)
        assert (float(value) if value else None) == expected, pointer
        styles = {style(expected) for style in STYLES if expected is not None or style in STYLES[:3]}
        assert shown in styles, (pointer, shown)


def test_recalls_stand_with_their_corrected_p_values(inputs: ReportInputs) -> None:
    figures = {pointer: shown for pointer, _, shown in page_of(inputs).figures}
    for key, contrast in (
        ("against_baseline", inputs.comparison.against_baseline),
        ("against_control", inputs.comparison.against_control),
    ):
        assert contrast is not None
        assert [one.name for one in contrast.recalls] == list(inputs.comparison.classes)
        for one in contrast.recalls:
            place = f"/comparison/{key}/recalls/{one.name}"
            assert one.p_holm is not None
            assert figures[f"{place}/p_holm"] == p_value(one.p_holm)
            assert figures[f"{place}/second"] == percent(one.second)
            assert figures[f"{place}/support"] == str(one.support)


def test_what_a_difference_takes_is_said_where_it_was_asked(inputs: ReportInputs, single: ReportInputs) -> None:
    worth = inputs.comparison.against_baseline.worth
    assert worth is not None
    assert text(worth.sentence) in page_of(inputs).words
    assert "To see a difference of" not in page_of(single).words


def test_every_training_has_its_diagnosis(inputs: ReportInputs) -> None:
    page = page_of(inputs)
    lines = [text(one.line) for arm in inputs.arms for one in arm.diagnoses]
    assert len(lines) == 8
    for line in lines:
        assert line in page.words


def test_chosen_cuts_are_judged_on_test_images_or_missed_in_words(inputs: ReportInputs, single: ReportInputs) -> None:
    page = page_of(inputs)
    figures = {pointer: shown for pointer, _, shown in page.figures}
    truth = inputs.arms[1].operating[2].chosen
    assert truth is not None
    assert figures["/operating/augmented/2/chosen/miss_rate/value"] == percent(truth.miss_rate.value)
    assert figures["/operating/augmented/2/chosen/overkill_rate/count"] == str(truth.overkill_rate.count)
    assert figures["/operating/augmented/2/chosen/promised"] == "5.00 %"
    assert "No cut was chosen" not in page.words
    assert "No cut was chosen" in page_of(single).words


def test_the_worst_mistakes_are_shown_with_how_sure_they_are(single: ReportInputs) -> None:
    inputs, page = single, page_of(single)
    assert inputs.worst is not None
    assert f"Missed defects: {len(inputs.worst.misses)}" in page.words
    assert f"Good images called defective: {len(inputs.worst.overkill)}" in page.words
    shown = [(one.image, one.sureness) for one in (*inputs.worst.misses[:12], *inputs.worst.overkill[:12])]
    assert shown
    alternatives = [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]
    for image, sureness in shown:
        assert image in alternatives
        assert f"{percent(sureness)} sure" in page.words
    bare = Page(render_report(replace(inputs, worst=None))).words
    assert "Worst mistakes" not in bare


def test_the_balance_is_shown_before_and_after(inputs: ReportInputs) -> None:
    figures = {pointer: shown for pointer, _, shown in page_of(inputs).figures}
    assert figures["/balance/基线/classes/焊盘凹凸/total"] == "6"
    assert "/balance/基线/classes/焊盘凹凸/generated" not in figures
    assert figures["/balance/augmented/classes/焊盘凹凸/generated"] == "24"
    assert figures["/balance/augmented/classes/焊盘凹凸/generated_share"] == "80.00 %"
    assert figures["/balance/augmented/all/total"] == "150"
    assert figures["/balance/augmented/all/generated_share"] == percent(46 / 150)


def test_a_control_that_repeats_real_images_shows_how_many(inputs: ReportInputs) -> None:
    facts = list(inputs.arms)
    facts[2] = replace(facts[2], counts=tuple(replace(one, repeated=5) for one in facts[2].counts))
    page = Page(render_report(replace(inputs, arms=tuple(facts))))
    figures = {pointer: shown for pointer, _, shown in page.figures}
    assert figures["/balance/control/classes/焊盘凹凸/repeated"] == "5"
    assert figures["/balance/control/all/repeated"] == "20"
    assert figures["/balance/control/all/total"] == "124"
    assert not any(pointer.startswith("/balance/augmented") and "repeated" in pointer for pointer in figures)


def test_the_verdict_comes_first(inputs: ReportInputs) -> None:
    page = page_of(inputs)
    assert page.words.index(text(inputs.comparison.verdict.sentence)) < page.words.index("Rates side by side")
    identities = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert identities[0] == "verdict"
    for note in inputs.comparison.notes:
        assert text(note) in page.words


def test_the_page_needs_nothing_from_outside(any_inputs: ReportInputs) -> None:
    text = render_report(any_inputs)
    page = page_of(any_inputs)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:image/", "#")), (tag, target)
        assert tag not in {"link", "iframe", "object", "embed"}
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert ("html", {"lang": "en"}) in page.tags


def test_no_identity_is_used_twice(any_inputs: ReportInputs) -> None:
    page = page_of(any_inputs)
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    links = {attributes["xlink:href"] for _, attributes in page.tags if "xlink:href" in attributes}
    assert links
    assert {str(link).removeprefix("#") for link in links} <= set(identities)


def test_every_picture_has_words_for_those_who_do_not_see_it(any_inputs: ReportInputs) -> None:
    pictures = [attributes for tag, attributes in page_of(any_inputs).tags if tag == "img"]
    assert pictures
    assert all(attributes.get("alt") for attributes in pictures)


def test_an_engine_that_is_not_stable_diffusion_is_said_prominently(inputs: ReportInputs) -> None:
    page = page_of(inputs)
    assert "The generated images did not come from Stable Diffusion" in page.words
    assert page.words.index("did not come from") < page.words.index("What changed")
    assert "“classical, not Stable Diffusion”" in page.words


def test_a_genuine_engine_has_no_notice(inputs: ReportInputs) -> None:
    engines = ("Stable Diffusion WebUI",)
    genuine = replace(
        inputs,
        arms=tuple(replace(arm, engines=engines) for arm in inputs.arms),
        generated_sets=tuple(replace(one, engines=engines) for one in inputs.generated_sets),
    )
    assert "did not come from" not in Page(render_report(genuine)).words


def test_sources_stand_beside_their_images_with_strength_and_seed(inputs: ReportInputs) -> None:
    page = page_of(inputs)
    assert page.words.count("strength 0.25seed 1001") == 3
    alternatives = [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]
    assert alternatives.count("generated from 焊盘凹凸/1.png") == 4


def test_settings_that_differ_between_arms_are_marked(inputs: ReportInputs) -> None:
    facts = list(inputs.arms)
    facts[1] = replace(facts[1], settings={**facts[1].settings, "epochs": "99"})
    marked = Page(render_report(replace(inputs, arms=tuple(facts)))).tags
    # Seeds differ in number here, so their row is marked too.
    assert sum(attributes.get("class") == "differs" for _, attributes in marked) == 2


def test_words_of_the_user_cannot_become_markup(inputs: ReportInputs) -> None:
    wicked = '</script><script>alert(1)</script>"&'
    comparison = replace(inputs.comparison, baseline=replace(inputs.comparison.baseline, name=wicked))
    text = render_report(replace(inputs, comparison=comparison, commands=(wicked,)))
    assert "<script>alert" not in text
    assert json.loads(Page(text).block)["commands"] == [wicked]


def test_flipped_images_are_capped_and_all_counted(single: ReportInputs) -> None:
    flip = single.comparison.gained[0]
    many = tuple(replace(flip, image=f"{n}.png") for n in range(MOST_FLIPS + 5))
    words = Page(render_report(replace(single, comparison=replace(single.comparison, gained=many)))).words
    assert f"Wrong in a, right in b: {MOST_FLIPS + 5}" in words
    assert f"The first {MOST_FLIPS} are shown." in words
    assert f"{MOST_FLIPS - 1}.png" in words
    assert f"{MOST_FLIPS}.png" not in words


def test_predictions_alone_make_a_report_without_training_parts(single: ReportInputs) -> None:
    bare = ReportInputs(comparison=single.comparison, arms=(ArmFacts("a"), ArmFacts("b")))
    words = Page(render_report(bare)).words
    assert "Rates side by side" in words
    for part in ("Training curves", "Training images", "Sources and what", "Training settings", "did not come"):
        assert part not in words


def test_labels_without_names_say_that_rates_by_class_are_undefined(make_case) -> None:  # type: ignore[no-untyped-def]
    case = make_case()
    arms = [case.arm(name, seeds=1, skill=skill, generated=False) for name, skill in (("a", 1.0), ("b", 2.0))]
    coarse = []
    for arm in arms:
        one = arm.seeds[0]
        labels = tuple("Normal" if label == "Normal" else "Abnormal" for label in one.predictions.labels)
        coarse.append(replace(arm, seeds=(replace(one, predictions=replace(one.predictions, labels=labels)),)))
    page = Page(render_report(collect_inputs(compare(*coarse), coarse, case.data)))
    assert "Rates by class are undefined: 36 of 76 labels say only 'Abnormal'" in page.words
    assert "undefined" in page.words
    assert "nan" not in page.block.lower().replace("nanosecond", "")


def test_the_file_is_written_whole(tmp_path, single: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "出" / "report.html"
    write_report(path, single)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(path.parent.iterdir()) == [path]


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
    table = Table("", ((head_cell("a|b"),),), (Row((row_head_cell("x\ny", sub=("", " ", "z")),)),))
    assert as_table(table) == "| a\\|b |\n| --- |\n| x y (z) |"


def test_a_head_in_two_rows_becomes_one() -> None:
    upper = (head_cell("class", rows=2), head_cell("A", columns=2))
    lower = (head_cell("real"), head_cell("all", sub=("sum",)))
    body = (
        Row((row_head_cell("open"), number_cell("1"), number_cell("2"))),
        Row((row_head_cell("short"), Cell(columns=2))),
    )
    assert as_table(Table("", (upper, lower), body)).splitlines() == [
        "| class | A real | A all (sum) |",
        "| --- | ---: | ---: |",
        "| open | 1 | 2 |",
        "| short |  |  |",
    ]
    assert as_table(Table("", ((head_cell("only"),),), ())) == "| only |\n| --- |"


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
