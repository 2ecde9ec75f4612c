"""Pictures and opinions -> findings. Pure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sdcore.images.similarity import is_changed, retake_similarity

from .classifier import Opinions
from .figures import Share, mean_of, share_of
from .making import MadePictures
from .manifold import SetComparison, compare_sets
from .material import Material, RealPicture, image_of
from .nearness import NearnessJudge
from .results import Answer, AtStrength, ClassFindings, OutOfNoise
from .settings import ReportSettings
from .strengths import StrengthLimits, find_limits

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Looked:
    """What the classifier said of everything, each in the order of its pictures."""

    learned: Opinions
    held_out: Opinions
    by_strength: tuple[Opinions, ...]
    pure: Opinions


@dataclass(frozen=True, eq=False)
class _Flags:
    """Of every source, at every strength: (strengths, sources)."""

    kept: Flags
    changed: Flags
    named: Flags
    """(sources,) whether the classifier calls the source itself by its class."""


class Judge:
    """Puts figures to a report's pictures.

    Args:
        classes: of the model.
        material: the real pictures.
        made: the made ones.
        looked: what the classifier says of all.
        settings: of the report.
        nearness: judges the pictures out of noise.
        progress: show a bar on stderr.
    """

    def __init__(
        self,
        classes: Sequence[str],
        material: Material,
        made: MadePictures,
        looked: Looked,
        settings: ReportSettings,
        nearness: NearnessJudge,
        *,
        progress: bool = True,
    ) -> None:
        self._classes, self._material, self._made, self._looked = classes, material, made, looked
        self._settings, self._nearness = settings, nearness
        self._labels = np.array([one.label for one in made.sources])
        self._groups = np.array([one.group for one in made.sources])
        self._flags = _Flags(
            np.stack([one.predicted == self._labels for one in looked.by_strength]),
            _changed(made, progress=progress),
            looked.learned.predicted[self._places_of(made.sources)] == self._labels,
        )

    def classes(self) -> tuple[ClassFindings, ...]:
        """Findings of each class, in the model's order."""
        return tuple(self._class(label) for label in range(len(self._classes)))

    def together(self, classes: Sequence[ClassFindings]) -> tuple[AtStrength, ...]:
        """All classes at each strength: counts of all images, and means over classes of what compares sets."""
        everything = np.ones(len(self._labels), dtype=bool)
        return tuple(
            AtStrength(
                strength,
                *self._shares(place, everything),
                mean_comparison([one.at[place].compared for one in classes]),
            )
            for place, strength in enumerate(self._settings.strengths)
        )

    def out_of_noise(self, classes: Sequence[ClassFindings]) -> OutOfNoise:
        """All classes."""
        kept = self._looked.pure.predicted == np.array(self._made.pure_labels)
        compared = mean_comparison([one.out_of_noise.compared for one in classes])
        return OutOfNoise(share_of(kept, _apart(len(kept))), compared)

    def answer(self, among: Flags | None = None) -> Answer:
        """The question of keeping and changing.

        Args:
            among: (sources,) which sources; all by default.
        """
        low, high = self._settings.asked
        inside = [place for place, one in enumerate(self._settings.strengths) if low <= one <= high]
        chosen = np.ones(len(self._labels), dtype=bool) if among is None else among
        groups = np.tile(self._groups[chosen], len(inside)).tolist()
        kept, changed = (flags[inside][:, chosen].ravel() for flags in (self._flags.kept, self._flags.changed))
        named = np.tile(self._flags.named[chosen], len(inside))
        return Answer(
            tuple(self._settings.strengths[place] for place in inside),
            share_of(kept, groups),
            share_of(kept[named], np.array(groups)[named].tolist()),
            share_of(changed, groups),
            share_of(kept & changed, groups),
            self._settings.keep_rate,
            self._settings.change_rate,
        )

    def limits(self, at: Sequence[AtStrength]) -> StrengthLimits:
        """The strengths to be recommended by these counts."""
        return find_limits(
            [one.strength for one in at],
            [one.kept_of_named for one in at],
            [one.changed for one in at],
            keep_rate=self._settings.keep_rate,
            change_rate=self._settings.change_rate,
        )

    def _class(self, label: int) -> ClassFindings:
        looked, of_class = self._looked, self._labels == label
        learned, held = self._material.of_class(label)
        held_places = [place for place, one in enumerate(self._material.held_out) if one.label == label]
        held_features, held_groups = looked.held_out.features[held_places], [one.group for one in held]
        groups = self._groups[of_class].tolist()

        def compare(features: npt.NDArray[np.float32], their_groups: Sequence[str]) -> SetComparison:
            return self._compare(features, their_groups, held_features, held_groups)

        at = tuple(
            AtStrength(strength, *self._shares(place, of_class), compare(opinions.features[of_class], groups))
            for place, (strength, opinions) in enumerate(zip(self._settings.strengths, looked.by_strength, strict=True))
        )
        pure = np.array(self._made.pure_labels) == label
        named = looked.held_out.predicted[held_places] == label
        apart = _apart(int(pure.sum()))
        sources = [one for one in self._made.sources if one.label == label]
        return ClassFindings(
            name=self._classes[label],
            learned=len(learned),
            held_out=len(held),
            sources=len(sources),
            sources_named=share_of(self._flags.named[of_class], groups),
            named=share_of(named, held_groups),
            floor_sources=compare(looked.learned.features[self._places_of(sources)], groups),
            floor_held_out=self._floor(held_features, held_groups),
            at=at,
            out_of_noise=OutOfNoise(
                share_of(looked.pure.predicted[pure] == label, apart), compare(looked.pure.features[pure], apart)
            ),
            nearness=self._nearness.of_class(label),
            limits=self.limits(at),
            asked=self.answer(of_class),
        )

    def _places_of(self, sources: Sequence[RealPicture]) -> list[int]:
        place_of = {one.file: place for place, one in enumerate(self._material.learned)}
        return [place_of[one.file] for one in sources]

    def _shares(self, place: int, among: Flags) -> tuple[Share, Share, Share]:
        """Kept, kept of those whose source is named rightly, and changed."""

        def share(flags: Flags, chosen: Flags) -> Share:
            return share_of(flags[place, chosen], self._groups[chosen].tolist())

        kept, changed, named = self._flags.kept, self._flags.changed, among & self._flags.named
        return share(kept, among), share(kept, named), share(changed, among)

    def _floor(self, features: npt.NDArray[np.float32], groups: Sequence[str]) -> SetComparison:
        """Held-out pictures against one another: whole groups on one side, up to as many as were made."""
        most = min(self._settings.per_class, len(groups) // 2)
        names = np.random.default_rng(self._settings.seed).permutation(sorted(set(groups))).tolist()
        taken: list[int] = []
        for name in names:
            members = [place for place, group in enumerate(groups) if group == name]
            if len(taken) + len(members) <= most:
                taken += members
        others = [place for place in range(len(groups)) if place not in set(taken)]
        return self._compare(
            features[taken], [groups[place] for place in taken], features[others], [groups[place] for place in others]
        )

    def _compare(
        self,
        made: npt.NDArray[np.float32],
        made_groups: Sequence[str],
        real: npt.NDArray[np.float32],
        real_groups: Sequence[str],
    ) -> SetComparison:
        return compare_sets(
            made,
            real,
            made_groups=made_groups,
            real_groups=real_groups,
            k=self._settings.k,
            draws=self._settings.draws,
            seed=self._settings.seed,
        )


def mean_comparison(found: Sequence[SetComparison]) -> SetComparison:
    """Means over classes, those left out for which a figure is undefined; the numbers of pictures are sums."""
    return SetComparison(
        sum(one.made for one in found),
        sum(one.real for one in found),
        mean_of([one.precision for one in found]),
        mean_of([one.recall for one in found]),
        mean_of([one.kernel_distance for one in found]),
    )


def _changed(made: MadePictures, *, progress: bool) -> Flags:
    found = np.zeros((len(made.by_strength), len(made.sources)), dtype=bool)
    bar: tqdm[Any] = tqdm(made.sources, desc="comparing", unit="source", disable=not progress, file=sys.stderr)
    for place, source in enumerate(bar):
        image = image_of(source.pixels)
        floor = retake_similarity(image)
        for row, pictures in enumerate(made.by_strength):
            found[row, place] = is_changed(image_of(pictures[place]), image, floor)
    return found


def _apart(count: int) -> list[str]:
    return [str(number) for number in range(count)]
