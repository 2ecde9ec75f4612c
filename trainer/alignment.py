"""The same test images in the same order, so that arms can be compared image by image; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .arms import Arm
from .errors import EvaluationError
from .metrics import IntArray
from .predictions import Predictions


def align(other: Predictions, reference: Predictions, first: str, second: str) -> Predictions:
    """`other` with the images and classes in the order of `reference`.

    Args:
        other: predictions of any arm.
        reference: predictions that set the order.
        first: what the reference's arm is called in messages.
        second: what the other's arm is called.

    Raises:
        EvaluationError: images, labels or classes differ.
    """
    if set(other.classes) != set(reference.classes):
        raise EvaluationError(
            f"the class lists differ: {first} has {', '.join(reference.classes)}; {second} has "
            f"{', '.join(other.classes)}; compare models that were trained on the same classes"
        )
    place = {image: index for index, image in enumerate(other.images)}
    apart = set(place) ^ set(reference.images)
    if apart:
        image = min(apart)
        only = second if image in place else first
        raise EvaluationError(
            f"the test sets differ: {image!r} and {len(apart) - 1} other image(s) are in one of them alone "
            f"(this one in {only}); judge both on the same DATA"
        )
    rows = [place[image] for image in reference.images]
    labels = tuple(other.labels[row] for row in rows)
    for row, expected, found in zip(rows, reference.labels, labels, strict=True):
        if expected != found:
            raise EvaluationError(
                f"the test sets differ: {other.where(row)} is labelled {found!r} in {second} and {expected!r} in "
                f"{first}; judge both on the same DATA"
            )
    columns = [other.classes.index(name) for name in reference.classes]
    return replace(
        other,
        images=reference.images,
        labels=labels,
        classes=reference.classes,
        predicted=tuple(other.predicted[row] for row in rows),
        probabilities=other.probabilities[np.ix_(rows, columns)],
        groups=tuple(other.groups[row] for row in rows) if other.groups else None,
        lines=tuple(other.lines[row] for row in rows) if other.lines else (),
    )


def number_groups(arms: Sequence[Arm], reference: Predictions) -> tuple[IntArray, int | None]:
    """(N,) group number of each reference image, and the number of groups when anyone knows them.

    Where no two images share one, every image stands alone and the number is None.
    """
    for arm in arms:
        for one in arm.seeds:
            if one.predictions.groups is not None:
                group_of = dict(zip(one.predictions.images, one.predictions.groups, strict=True))
                names = [group_of[image] for image in reference.images]
                levels, numbers = np.unique(names, return_inverse=True)
                # A group an image is what one writes who does not know any.
                known = len(levels) if len(levels) < len(names) else None
                return numbers.astype(np.int64), known
    return np.arange(len(reference.images), dtype=np.int64), None
