"""A class's shares over the strengths, as an SVG drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .figures import Share
from .results import AtStrength
from .strengths import StrengthLimits

_WIDTH, _HEIGHT = 330, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 24
_KEPT, _CHANGED, _RANGE = "#1f6fb2", "#c2571a", "#e3efdc"


@dataclass(frozen=True)
class _Axes:
    """Strength and share, each 0 to 1 -> places in the drawing."""

    def x(self, strength: float) -> float:
        return round(_LEFT + strength * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, share: float) -> float:
        return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)


def draw_curves(at: Sequence[AtStrength], limits: StrengthLimits, *, keep_rate: float, change_rate: float) -> str:
    """The shares that keep their class and that change, with intervals and the recommended range, as one <svg>.

    Args:
        at: what was found at each strength.
        limits: a range is shaded where there is one.
        keep_rate: drawn as a dashed line.
        change_rate: drawn as a dashed line.
    """
    axes = _Axes()
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="shares over denoising strength">']
    if limits.is_range and limits.low is not None and limits.high is not None:
        left, right = axes.x(limits.low), axes.x(limits.high)
        parts.append(
            f'<rect x="{left}" y="{axes.y(1)}" width="{right - left:.1f}" height="{axes.y(0) - axes.y(1):.1f}" '
            f'fill="{_RANGE}"/>'
        )
    for share in (0.0, 0.5, 1.0):
        parts.append(_line(axes.x(0), axes.y(share), axes.x(1), axes.y(share), "#ddd"))
        parts.append(f'<text x="{_LEFT - 4}" y="{axes.y(share) + 4}" text-anchor="end">{share:.0%}</text>')
    parts += [
        f'<text x="{axes.x(strength)}" y="{_HEIGHT - 8}" text-anchor="middle">{strength:g}</text>'
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    parts.append(_line(axes.x(0), axes.y(keep_rate), axes.x(1), axes.y(keep_rate), _KEPT, dashed=True))
    parts.append(_line(axes.x(0), axes.y(change_rate), axes.x(1), axes.y(change_rate), _CHANGED, dashed=True))
    strengths = [one.strength for one in at]
    parts += _curve(axes, strengths, [one.kept_of_named for one in at], _KEPT)
    parts += _curve(axes, strengths, [one.changed for one in at], _CHANGED)
    return "".join([*parts, "</svg>"])


def _curve(axes: _Axes, strengths: Sequence[float], shares: Sequence[Share], colour: str) -> list[str]:
    parts, points = [], []
    for strength, share in zip(strengths, shares, strict=True):
        if share.rate is None or share.low is None or share.high is None:
            continue
        x, y = axes.x(strength), axes.y(share.rate)
        points.append(f"{x},{y}")
        parts.append(_line(x, axes.y(share.low), x, axes.y(share.high), colour))
        parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
    return [f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *parts]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashes}/>'
