"""Figures and messages in words; every message is known in both languages, and no English is left on Chinese pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sdcore.images.folders import LabelledImage
from sdcore.messages import LANGUAGES, message
from tests.support.experiment_case import PLANNED, make_experiment
from tests.support.report_case import Case, build_case, build_inputs
from trainer.data.dataset import Dataset
from trainer.data.findings import Finding
from trainer.data.leakage import LeakageReport, leakage_warnings
from trainer.evaluation.compare import compare
from trainer.evaluation.diagnosis import diagnose
from trainer.evaluation.history import Conditions, EpochRecord
from trainer.evaluation.metrics import Rate
from trainer.evaluation.stats import Interval, Resampled
from trainer.evaluation.verdict import images_needed
from trainer.experiment.records import Declaration
from trainer.experiment.separability import separability
from trainer.messages import count, number, p_value, percent, percent_range, plain_range, signed, signed_range, text
from trainer.models.predictions import make_predictions
from trainer.report import ReportInputs, collect_experiment, render_experiment, render_report
from trainer.report.elements import ReportWords
from trainer.words_findings import WORDS as FINDINGS
from trainer.words_reports import WORDS


@pytest.fixture(scope="module")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Case]:
    return lambda: build_case(tmp_path_factory.mktemp("报告"))


@pytest.fixture(scope="module")
def inputs(make_case: Callable[[], Case]) -> ReportInputs:
    return build_inputs(make_case())


def test_undefined_is_a_word_never_a_zero() -> None:
    assert percent(None) == number(None) == signed(None) == "undefined"
    assert percent(0.0) == "0.00 %"


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    assert signed(-0.0004) == "+0.000"
    assert signed(-0.0006) == "-0.001"


def test_figures_are_written_alike() -> None:
    assert percent(0.0417) == "4.17 %"
    assert count(3.0) == "3"
    assert count(10 / 3) == "3.3"
    assert p_value(0.00012) == "< 0.001"
    assert p_value(0.03125) == "0.031"
    assert Rate(2, 9).fraction == "2/9"
    assert percent_range(Interval(0.1, 0.25)) == "10.00–25.00 %"
    assert signed_range(Interval(-0.1, 0.25)) == "-0.100 to +0.250"
    assert signed_range(None) == "none"
    assert percent_range(None) == ""
    assert percent_range(Interval(0.123, 1.0), digits=1) == "12.3–100.0 %"
    assert plain_range(Interval(0.1, 0.25)) == "0.100–0.250"
    assert plain_range(None) == "none"


TERMS = (
    "Normal Abnormal F1 AUROC McNemar Holm Clopper Pearson Stable Diffusion TP FP FN TN UTC trainer evaluate RUN DATA"
)
TERMS += " max miss rate save format html seed"


VOID = {"meta", "img", "br"}


class ToTranslate(HTMLParser):
    """The words of a page that are not marked as staying as they are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self._open: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        stays = dict(attrs).get("translate") == "no" or tag in ("style", "script") or any(self._open)
        if tag not in VOID:
            self._open.append(stays)
        self.words += [value or "" for name, value in attrs if name in ("alt", "aria-label") and not stays]

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._open):
            self.words.append(data)


def left_in_english(page: str, names: Sequence[str]) -> set[str]:
    text = "\n".join(ToTranslate(page).words)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "")
    return set(re.findall(r"[A-Za-z]{2,}", text)) - set(TERMS.split())


def test_no_english_sentence_is_left_on_the_chinese_page(inputs: ReportInputs) -> None:
    names = [*(arm.name for arm in inputs.arms), *inputs.comparison.classes, "mousebite/1.png", "open/1.png", "/1.png"]
    assert left_in_english(render_report(inputs, language="zh"), names) == set()
    assert "against" in left_in_english(render_report(inputs), names)


def test_no_english_sentence_is_left_in_an_experiment(make_case) -> None:  # type: ignore[no-untyped-def]
    case = make_case()
    inputs = collect_experiment(make_experiment(case), output=case.root)
    names = [*(name for name, *_ in PLANNED), *inputs.result.classes, "/1.png"]
    assert left_in_english(render_experiment(inputs, language="zh"), names) == set()


def test_the_language_is_said_to_the_browser(inputs: ReportInputs) -> None:
    text = render_report(inputs, language="zh")
    assert text.count('lang="zh"') == text.count('<html lang="zh">') == 1


def test_a_users_own_words_stay_as_they_are() -> None:
    found = ReportWords("zh").sentence("Something <new>.")
    assert found == "Something <new>."
    assert ReportWords("zh")("classes_undefined", reason=found) == "各类别的指标未定义：Something &lt;new&gt;.。"


def test_what_is_put_into_words_cannot_become_markup() -> None:
    assert "&lt;b&gt;" in ReportWords()("gained", first="<b>", second="x", count=1)
    assert "<b>" in ReportWords(markup=False)("gained", first="<b>", second="x", count=1)
    with pytest.raises(KeyError):
        ReportWords()("gained", first="a")


def test_every_note_of_a_comparison_is_known_in_chinese(make_case) -> None:  # type: ignore[no-untyped-def]
    case = make_case()
    arms = [case.arm(name, seeds=1, skill=1.0, generated=False) for name in ("a", "b")]
    notes = list(compare(*arms, resamples=20).notes)

    def changed(**changes):  # type: ignore[no-untyped-def]
        swapped = []
        for arm in arms:
            one = arm.seeds[0].predictions
            fresh = make_predictions(
                one.images, changes.get("labels", one.labels), one.classes, changes.get("table", one.probabilities)
            )
            fresh = replace(fresh, groups=changes.get("groups"))
            swapped.append(replace(arm, seeds=(replace(arm.seeds[0], predictions=fresh),)))
        return compare(*swapped, resamples=20).notes

    truth = arms[0].seeds[0].predictions
    good = ["Normal"] * len(truth.images)
    notes += changed(groups=tuple(str(n % 5) for n in range(len(good))))
    notes += changed(labels=[name if name == "Normal" else "Abnormal" for name in truth.labels])
    notes += changed(labels=good)
    notes += changed(labels=["open"] * len(good))
    notes += changed(table=np.tile([1.0, 0.0, 0.0, 0.0], (len(good), 1)))
    notes += changed(table=np.roll(np.eye(4)[[truth.classes.index(name) for name in truth.labels]], 1, axis=1))
    assert len(set(notes)) >= 11
    for note in notes:
        chinese = text(note, "zh").replace("F1", "")
        assert sorted(re.findall(r"\d+", chinese)) == sorted(re.findall(r"\d+", text(note).replace("F1", "")))
        assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_what_a_difference_takes_is_known_in_chinese() -> None:
    draws = np.stack([np.zeros(400), np.linspace(-0.02, 0.02, 400)])
    for error, images in ((0.0, 10), (0.0, 100_000), (0.2, 10)):
        found = images_needed(0.02, Resampled(draws, np.array([0.0, error]), np.zeros((2, 400))), rows=(0, 1),
                              images=images, seeds=3)  # fmt: skip
        assert found is not None
        english, chinese = text(found.sentence), text(found.sentence, "zh")
        assert sorted(re.findall(r"[\d.]*\d", chinese)) == sorted(re.findall(r"[\d.]*\d", english))


def test_what_the_guard_let_pass_is_known_in_chinese() -> None:
    image = LabelledImage(Path("data/train/open/1.png"), "open")
    dataset = Dataset(Path("data"), ("Normal", "open"), (image,) * 25, (image,) * 9, (image,) * 10)
    sentences = [
        message("in_data", data="data", warning=words)
        for foreign in (0, 3)
        for words in leakage_warnings(
            dataset,
            LeakageReport((image, image), foreign, 4, 5),
            [Finding("near", "", ("val/open/2.png", "train/open/1.png"))],
            [Path("data/val/open/7.png")],
        )
    ]
    assert len(set(sentences)) == 6
    for sentence in sentences:
        english, chinese = text(sentence), text(sentence, "zh")
        assert sorted(re.findall(r"\d+", chinese)) == sorted(re.findall(r"\d+", english))


def test_what_an_experiment_says_of_itself_is_known_in_chinese() -> None:
    declaration = Declaration({}, ({"changed": ["seeds", "arm"], "finished": 3},), late=2)
    few = separability(np.zeros((2, 3)), [True, False], ["open"] * 2, ["a", "b"], seed=0)
    for sentence in (*declaration.notes(), few.reason):
        assert sentence is not None
        assert re.search(r"[\u4e00-\u9fff]", text(sentence, "zh"))


def epochs(train: Sequence[float], val: Sequence[float], lr: Sequence[float]) -> list[EpochRecord]:
    rows = zip(train, val, lr, strict=True)
    return [EpochRecord(n, float(t), float(v), 0.5, 0.5, float(r), 1.0, 1.0) for n, (t, v, r) in enumerate(rows, 1)]


def test_every_diagnosis_is_known_in_chinese() -> None:
    time = np.arange(30.0)
    fall, flat, rate = 0.45 + 1.55 * np.exp(-time / 15), np.full(30, 1.4), np.full(30, 1e-3)
    bowl, spent = 1 + 0.05 * np.abs(time - 10), 1e-3 * np.linspace(1, 0.01, 30)
    seven = Conditions(classes=7, label_smoothing=0.1, epochs_planned=30)
    found = [
        diagnose(rows, conditions)
        for rows, conditions in (
            ([], None),
            (epochs(fall[:3], fall[:3], rate[:3]), None),
            (epochs(fall, fall, rate), seven),
            (epochs(fall, bowl, rate), seven),
            (epochs(flat, flat, rate), seven),
            (epochs(flat, flat, spent), seven),
            (epochs(np.full(30, 0.47), np.full(30, 0.5), rate), seven),
            (epochs(np.full(30, 0.47), np.full(30, 2.4), rate), seven),
            (epochs([*fall[:5], float("nan")], fall[:6], rate[:6]), None),
            (epochs(fall[:6], [*fall[:5], float("inf")], rate[:6]), None),
            (epochs([*fall[:9], *np.full(21, 9.0)], flat, rate), seven),
            (epochs([*fall[:9], *np.full(21, 9.0)], flat, rate), None),
        )
    ]
    for sentence in (each for one in found for each in one.advice):
        figures = [sorted(re.findall(r"[\d.]*\d", text(sentence, language))) for language in LANGUAGES]
        assert figures[0] == figures[1]
    for line in (one.line for one in found):
        chinese = text(line, "zh")
        assert re.findall(r"\d+\.\d+", chinese) == re.findall(r"\d+\.\d+", text(line))
        assert not re.search(r"[a-z]{4,}", chinese), chinese


def test_chinese_has_its_own_punctuation(make_case, inputs: ReportInputs) -> None:  # type: ignore[no-untyped-def]
    case = make_case()
    experiment = collect_experiment(make_experiment(case), output=case.root)
    for page in (
        render_report(inputs, language="zh", kind="md"),
        render_experiment(experiment, language="zh", kind="md"),
        *WORDS.by_key("zh").values(),
        *FINDINGS.by_key("zh").values(),
    ):
        prose = "\n".join(line for line in page.splitlines() if not line.startswith("|"))
        assert not re.search(r"[\u4e00-\u9fff）][,;?!(]|[,;?!][\u4e00-\u9fff（]", prose), prose
