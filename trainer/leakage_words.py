"""What the guard against leakage let pass, in words; and the refusal of it for those who ask for strictness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .dataset import Dataset
from .errors import LeakageError
from .findings import Finding
from .leakage import Guarded, named
from .near import NEAR_NAME


def words_on(dataset: Dataset, guarded: Guarded, near: Sequence[Finding], unread: Sequence[Path]) -> list[str]:
    """One sentence for each kind of thing that was let pass; none when all is clean.

    Args:
        dataset: the parts.
        guarded: what the guard counted.
        near: look-alikes across parts.
        unread: validation and test files that cannot be decoded.
    """
    train, held_out = dataset.root / "train", len(dataset.val) + len(dataset.test)
    words = []
    if guarded.marked:
        foreign = f" ({guarded.foreign} of them from sources that are not there)" if guarded.foreign else ""
        words.append(
            f"{len(guarded.marked)} of {len(dataset.train)} images in {train} were generated{foreign}, the first is "
            f"{guarded.marked[0].path}: they count as generated, not as real"
        )
    if guarded.sources_gone:
        words.append(
            f"{guarded.sources_gone} source(s) of generated images: neither in {train} nor where they were generated "
            "from, so compared with validation and test by their bytes alone"
        )
    if guarded.single_coloured:
        words.append(
            f"{guarded.single_coloured} single-coloured pictures have a twin in another of train, val and test: "
            "allowed, since they tell nothing of what they were taken of; --strict refuses them"
        )
    if near:
        words.append(
            f"{len(near)} of {held_out} validation and test pictures look like one that is trained on, the first is "
            f"{near[0].files[0]}: perhaps the same part twice (aligned boards all look alike); {NEAR_NAME} in the run "
            "shows them, --strict refuses them"
        )
    if unread:
        words.append(
            f"{len(unread)} of {held_out} validation and test pictures cannot be decoded, the first is {unread[0]}: "
            "compared by their bytes alone; 'trainer check' lists them"
        )
    return words


def refuse_doubtful(dataset: Dataset, guarded: Guarded, near: Sequence[Finding], sheet: Path | None) -> None:
    """Refuse look-alikes and single-coloured pictures across parts.

    Args:
        dataset: the parts.
        guarded: what the guard counted.
        near: look-alikes across parts.
        sheet: the page that shows them; None when there is none.

    Raises:
        LeakageError: there are any.
    """
    held_out = len(dataset.val) + len(dataset.test)
    if near:
        see = sheet if sheet is not None else f"'trainer check {dataset.root} --sheet check.html'"
        raise LeakageError(
            f"{dataset.root}: {named([f'{one.files[0]} looks like {one.files[1]}' for one in near])}: {len(near)} of "
            f"{held_out} validation and test pictures look like one that is trained on, perhaps the same part twice, "
            f"which flatters the score; see {see}, then keep what belongs together in one group of 'trainer split', "
            "or leave out --strict if they are only alike"
        )
    if guarded.single_coloured:
        raise LeakageError(
            f"{dataset.root}: {guarded.single_coloured} single-coloured pictures have a twin in another of train, val "
            "and test; remove them, or leave out --strict, since they tell nothing of what they were taken of"
        )
