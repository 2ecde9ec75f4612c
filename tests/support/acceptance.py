"""A judge whose limits a test sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sdclient.batch.until_accepted import ImageJudge
from sdclient.manifest import Manifest


@dataclass(frozen=True)
class Verdict:
    file: str
    class_name: str
    source: str
    is_too_alike: bool
    is_unreal: bool

    @property
    def is_accepted(self) -> bool:
        return not self.is_too_alike and not self.is_unreal


@dataclass
class Limits:
    """Judges by the strength that an image was made with."""

    alike_below: float = 0.0
    unreal_above: float = 1.0
    by_source: dict[str, tuple[float, float]] = field(default_factory=dict)

    def open(self, _: Path, manifest: Manifest) -> ImageJudge:
        def judge() -> Iterable[Verdict]:
            for record in manifest.images():
                low, high = self.by_source.get(record.source, (self.alike_below, self.unreal_above))
                strength = record.asked["denoising_strength"]
                yield Verdict(record.file, record.class_name, record.source, strength < low, strength > high)

        return judge
