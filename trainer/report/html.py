"""ReportInputs -> one HTML file with nothing outside it; pure but for the last write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import notation
from .._atomic import write_bytes_atomically
from ..arm_result import ArmResult
from ..contrast import Contrast
from ..metrics import NAMED_WRONG, RATE_DEFINITIONS
from ..verdict import COMPARED, HELPED, HURT, MIXED, NO_DIFFERENCE
from .data import report_data
from .figures import draw_differences, draw_losses, loss_range
from .inputs import ArmFacts, ClassCount, ReportInputs, sum_counts

MOST_FLIPS = 24
"""Flipped images shown each way; the count is always of all."""

_VERDICTS = {
    HELPED: ("Helped", "有帮助", "good"),
    HURT: ("Hurt", "变差", "bad"),
    MIXED: ("Mixed", "有得有失", "mixed"),
    NO_DIFFERENCE: ("No difference shown", "未见差异", "none"),
}
_ROLES = (("baseline", "A", "基线"), ("candidate", "B", "待比较"), ("control", "C", "对照"))


@dataclass(frozen=True)
class _ArmView:
    """One arm as the template sees it."""

    key: str
    """Its name in the JSON block: baseline, candidate or control."""
    letter: str
    chinese: str
    place: int
    """0, 1 or 2: which of the page's colours."""
    result: ArmResult
    facts: ArmFacts
    losses: Markup | None

    @property
    def generates(self) -> bool:
        """Whether it was trained on generated images."""
        return any(one.generated for one in self.facts.counts)

    @property
    def balance_columns(self) -> int:
        """Columns it takes in the table of training images: total, what it is made of, and perhaps a bar."""
        return 1 + self.has_bar + (self.generates or self.repeats) + 2 * self.generates + self.repeats

    @property
    def has_bar(self) -> bool:
        """Whether its training images are drawn too; a control's bars would repeat those of the arm it controls."""
        return not self.repeats

    @property
    def repeats(self) -> bool:
        """Whether real images stand in its training list more than once."""
        return any(one.repeated for one in self.facts.counts)


@dataclass(frozen=True)
class _ContrastView:
    """Two arms against each other, with their drawing."""

    key: str
    contrast: Contrast
    figure: Markup


@dataclass(frozen=True)
class _BalanceRow:
    """A class, or all of them, in every arm."""

    name: str
    is_sum: bool
    counts: dict[str, ClassCount | None]
    """By the arm's key; None where that arm does not know the class."""


def render_report(inputs: ReportInputs) -> str:
    """The report as HTML text.

    Every figure of the comparison stands twice: in the JSON block `report-data`, and in a visible element whose
    `data-metric` is its JSON pointer in that block and whose `data-value` is the unrounded number.
    """
    comparison = inputs.comparison
    arms = _view_arms(inputs)
    template = _environment().get_template("report.html.j2")
    return template.render(
        inputs=inputs,
        comparison=comparison,
        several_seeds=max(len(arm.seeds) for arm in comparison.arms) > 1,
        data=report_data(inputs),
        verdict=_VERDICTS[comparison.verdict.word],
        arms=arms,
        contrasts=_view_contrasts(inputs),
        balance=_balance_rows(arms),
        largest=max((one.total for arm in arms for one in arm.facts.counts), default=0),
        definitions=RATE_DEFINITIONS,
        named_wrong=NAMED_WRONG,
        compared=COMPARED,
        settings=_settings(inputs),
        most_flips=MOST_FLIPS,
    )


def write_report(path: Path, inputs: ReportInputs) -> None:
    """Write the report atomically.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes_atomically(path, render_report(inputs).encode("utf-8"))


def _view_arms(inputs: ReportInputs) -> list[_ArmView]:
    axis = loss_range([curve for arm in inputs.arms for curve in arm.curves])
    views = []
    for place, (result, facts) in enumerate(zip(inputs.comparison.arms, inputs.arms, strict=True)):
        key, letter, chinese = _ROLES[place]
        losses = None
        if facts.curves:
            drawn = draw_losses(facts.curves, arm=place, loss_axis=axis, identity=f"loss-{key}")
            losses = Markup(drawn)  # noqa: S704 - drawn by us, with no words of the user in it
        views.append(_ArmView(key, letter, chinese, place, result, facts, losses))
    return views


def _view_contrasts(inputs: ReportInputs) -> list[_ContrastView]:
    comparison = inputs.comparison
    contrasts = {"against_baseline": comparison.against_baseline}
    if comparison.against_control is not None:
        contrasts["against_control"] = comparison.against_control
    return [
        _ContrastView(key, one, Markup(draw_differences(one.differences, identity=key)))  # noqa: S704 - as above
        for key, one in contrasts.items()
    ]


def _balance_rows(arms: list[_ArmView]) -> list[_BalanceRow]:
    """A row a class and one for all; none when no arm says what it was trained on."""
    names = dict.fromkeys(one.class_name for arm in arms for one in arm.facts.counts)
    if not names:
        return []
    by_arm = {arm.key: {one.class_name: one for one in arm.facts.counts} for arm in arms}
    rows = [_BalanceRow(name, False, {key: counts.get(name) for key, counts in by_arm.items()}) for name in names]
    sums = {arm.key: sum_counts(arm.facts.counts) if arm.facts.counts else None for arm in arms}
    return [*rows, _BalanceRow("all classes", True, dict(sums))]


def _settings(inputs: ReportInputs) -> dict[str, list[str]]:
    """Each setting with its value in every arm; "" where an arm does not have it."""
    names = dict.fromkeys(name for arm in inputs.arms for name in arm.settings)
    return {name: [arm.settings.get(name, "") for arm in inputs.arms] for name in names}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=notation.percent,
        number=notation.number,
        signed=notation.signed,
        count=notation.count,
        p_value=notation.p_value,
        pointer=_pointer_part,
        exact=_exact,
    )
    return environment


def _pointer_part(name: str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _exact(value: float | None) -> str:
    """The unrounded number; "" when undefined."""
    return "" if value is None else repr(value)
