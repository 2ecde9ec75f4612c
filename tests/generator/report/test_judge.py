"""Findings of pictures whose truth is known, for they were drawn and not made by a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generator.report.classifier import Classifier
from generator.report.material import GeneratedSamples, Material, RealPicture
from generator.report.neighbours import MemorisationCheck, Symmetry
from generator.report.results import make_settings
from generator.report.run import ClassifiedImages, FindingsBuilder
from generator.report.stats import precision_and_recall
from tests.support.generator_classifier import MakeClassifier, class_by_hand, features_by_hand
from tests.support.generator_data import CLASSES, drawn


def real(label: int, number: int, group: str = "") -> RealPicture:
    pixels = np.asarray(drawn(CLASSES[label], number))[None]
    return RealPicture(pixels, label, f"{CLASSES[label]}/{number}", group or f"{label} {number}")


SOURCES = [real(label, number, f"{label} {number // 2}") for label in (0, 1) for number in range(6)]
HELD_OUT = tuple(real(label, number) for label in (0, 1) for number in range(100, 108))


@pytest.fixture(scope="module")
def judge(make_classifier: MakeClassifier) -> FindingsBuilder:
    """Strength 0.3 leaves sources as they are, 0.5 draws other pictures of the class, 0.7 of another class."""
    material = Material((*SOURCES, real(2, 0)), HELD_OUT, ())
    siblings = tuple(real(one.label, 50 + number).pixels for number, one in enumerate(SOURCES))
    others = tuple(real(1 - one.label, 70 + number).pixels for number, one in enumerate(SOURCES))
    pure = (SOURCES[0].pixels, *(real(0, number).pixels for number in range(200, 205)))
    pure += tuple(np.ascontiguousarray(SOURCES[6].pixels[:, ::-1]) for _ in range(2))
    made = GeneratedSamples(
        tuple(SOURCES), (tuple(one.pixels for one in SOURCES), siblings, others), pure, (0,) * 6 + (1,) * 2
    )
    classifier = Classifier(make_classifier(), CLASSES)
    looked = ClassifiedImages(
        classifier.predict([one.pixels for one in material.learned]),
        classifier.predict([one.pixels for one in material.held_out]),
        tuple(classifier.predict(pictures) for pictures in made.by_strength),
        classifier.predict(pure),
    )
    nearness = MemorisationCheck(
        CLASSES,
        material,
        made,
        learned=looked.learned,
        held_out=looked.held_out,
        pure=looked.pure,
        symmetry=Symmetry(flips=True),
    )
    settings = make_settings(strengths=(0.3, 0.5, 0.7), asked=(0.3, 0.5), per_class=6, draws=20)
    return FindingsBuilder(CLASSES, material, made, looked, settings, nearness, progress=False)


def test_the_classifier_says_what_the_hand_says(make_classifier: MakeClassifier) -> None:
    pictures = [one.pixels for one in (*SOURCES, real(2, 0), real(2, 5))]
    found = Classifier(make_classifier(), CLASSES).predict(pictures)
    assert [CLASSES[place] for place in found.predicted] == [class_by_hand(one) for one in pictures]
    assert found.features == pytest.approx(np.stack([features_by_hand(one) for one in pictures]), abs=1e-5)
    turned = Classifier(make_classifier(("裂纹", "Normal", "open")), CLASSES).predict(pictures[:1])
    assert CLASSES[turned.predicted[0]] == "裂纹"  # its first output bears that name now


def test_counts_are_those_of_the_pictures(judge: FindingsBuilder) -> None:
    normal, opened, crack = judge.classes()
    assert [(one.kept.count, one.kept.of) for one in opened.at] == [(6, 6), (6, 6), (0, 6)]
    assert opened.at[0].changed.count == 0
    assert opened.at[2].changed.count == 6
    assert (normal.sources, normal.learned, normal.held_out, normal.named.count) == (6, 6, 8, 8)
    assert (crack.sources, crack.at[0].kept.rate, crack.limits.images) == (0, None, 0)
    answer = judge.answer()
    assert (answer.kept.count, answer.kept.of, answer.strengths) == (24, 24, (0.3, 0.5))
    assert answer.keeps is True
    assert (answer.kept_of_named.count, answer.kept_of_named.of) == (24, 24)
    assert answer.both.count == answer.changed.count == sum(one.at[1].changed.count for one in (normal, opened))


def test_a_source_that_the_classifier_does_not_name_loses_nothing(make_classifier: MakeClassifier) -> None:
    # Seven openings, two of them too faint to be seen as such; all that is made of them looks normal.
    sources = [real(1, number) for number in range(5)]
    faint = [RealPicture(real(0, number).pixels, 1, f"faint {number}", f"faint {number}") for number in (7, 8)]
    normal = tuple(real(0, number).pixels for number in range(20, 27))
    same = tuple(one.pixels for one in (*sources, *faint))
    made = GeneratedSamples((*sources, *faint), (same, normal), same[:1], (1,))
    material, classifier = Material((*sources, *faint), (), ()), Classifier(make_classifier(), CLASSES)
    pictures = [one.pixels for one in material.learned]
    learned, nothing = classifier.predict(pictures), classifier.predict([])
    looked = ClassifiedImages(
        learned, nothing, tuple(classifier.predict(one) for one in made.by_strength), classifier.predict(same[:1])
    )
    nearness = MemorisationCheck(
        CLASSES, material, made, learned=learned, held_out=nothing, pure=looked.pure, symmetry=Symmetry()
    )
    judge = FindingsBuilder(
        CLASSES, material, made, looked, make_settings(strengths=(0.3, 0.5)), nearness, progress=False
    )
    opened = judge.classes()[1]
    assert (opened.sources_named.count, opened.sources_named.of) == (5, 7)
    assert [(one.kept.count, one.kept.of) for one in opened.at] == [(5, 7), (0, 7)]
    assert [(one.kept_of_named.count, one.kept_of_named.of) for one in opened.at] == [(5, 5), (0, 5)]
    assert opened.limits.high == 0.32  # on the line from all at 0.3 to none at 0.5
    assert opened.limits.images == 5


def test_sets_are_compared_with_the_held_out_pictures_of_the_class(judge: FindingsBuilder) -> None:
    opened = judge.classes()[1]
    held = np.stack([features_by_hand(one.pixels) for one in HELD_OUT if one.label == 1])
    sources = np.stack([features_by_hand(one.pixels) for one in SOURCES if one.label == 1])
    expected = precision_and_recall(sources, held, 3)
    # Strength 0.3 gave the sources back, so it stands where the floor stands.
    for found in (opened.at[0].compared, opened.floor_sources):
        assert (found.precision.value, found.recall.value) == pytest.approx(expected)
        assert (found.made, found.real) == (6, 8)
    others = np.stack([features_by_hand(real(0, 70 + number).pixels) for number in range(6, 12)])
    found = opened.at[2].compared
    assert (found.precision.value, found.recall.value) == pytest.approx(precision_and_recall(others, held, 3))
    assert found.recall.value == 0.0
    distances = [one.compared.kernel_distance.value or 0.0 for one in opened.at]
    assert distances[2] > 5 * max(abs(one) for one in distances[:2])
    assert (opened.floor_held_out.made, opened.floor_held_out.real) == (4, 4)


def test_copies_and_mirrored_copies_are_found(judge: FindingsBuilder) -> None:
    normal, opened, crack = judge.classes()
    assert (opened.nearness.copies.count, opened.nearness.copies.of) == (2, 2)
    assert opened.nearness.pixel_ratio.value == pytest.approx(0, abs=1e-3)
    assert opened.nearness.pixel_nearer_rate == 1.0
    assert normal.nearness.copies.count >= 1
    assert normal.nearness.real_are == "held-out real pictures"
    assert crack.nearness.pixel_ratio.value is None


def test_means_over_classes_leave_out_the_undefined(judge: FindingsBuilder) -> None:
    classes = judge.classes()
    together = judge.together(classes)
    values = [one.at[1].compared.precision.value for one in classes]
    assert values[2] is None
    assert together[1].compared.precision.value == pytest.approx(np.mean([one for one in values if one is not None]))
    assert (together[1].kept.count, together[1].kept.of) == (12, 12)


def test_a_strength_range_nobody_tested_is_undefined(tmp_path: Path) -> None:
    from generator.report.page import answer_in_words
    from generator.report.results import Answer
    from generator.report.stats import share_of

    nothing = share_of([], [])
    assert "undefined" in answer_in_words(Answer((), nothing, nothing, nothing, nothing, 0.9, 0.5))[0]
