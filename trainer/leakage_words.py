"""What the guard against leakage let pass, as messages; and the refusal of it for those who ask for strictness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdcore.messages import Message, message

from .dataset import Dataset
from .errors import LeakageError
from .findings import Finding
from .leakage import Guarded, named
from .near import NEAR_NAME


def words_on(dataset: Dataset, guarded: Guarded, near: Sequence[Finding], unread: Sequence[Path]) -> list[Message]:
    """One message for each kind of thing that was let pass; none when all is clean.

    Args:
        dataset: the parts.
        guarded: what the guard counted.
        near: look-alikes across parts.
        unread: validation and test files that cannot be decoded.
    """
    train, held_out = str(dataset.root / "train"), len(dataset.val) + len(dataset.test)
    found = []
    if guarded.marked:
        foreign = (message("foreign_sources", count=guarded.foreign),) if guarded.foreign else ()
        found.append(
            message(
                "generated_in_train",
                count=len(guarded.marked),
                all=len(dataset.train),
                train=train,
                foreign=foreign,
                first=str(guarded.marked[0].path),
            )
        )
    if guarded.sources_gone:
        found.append(message("sources_gone", count=guarded.sources_gone, train=train))
    if guarded.single_coloured:
        found.append(message("single_coloured", count=guarded.single_coloured))
    if near:
        found.append(message("look_alikes", count=len(near), all=held_out, first=near[0].files[0], file=NEAR_NAME))
    if unread:
        found.append(message("undecodable", count=len(unread), all=held_out, first=str(unread[0])))
    return found


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
