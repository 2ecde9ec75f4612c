"""Where the images of a DATA folder lie: `train/`, `val/` and `test/`, each with one folder per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdcore.images.folders import LabelledImage, list_labelled_images

from .errors import DataError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """The images of a DATA folder, each part in a fixed order (by class, then by name)."""

    root: Path
    classes: tuple[str, ...]
    """Names of the folders in `train/`, sorted; a classifier's outputs stand in this order."""
    train: tuple[LabelledImage, ...]
    val: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]
    """Empty when there is no `test/`. Its labels may be classes, or two words such as Normal and Abnormal."""

    def part(self, name: str) -> tuple[LabelledImage, ...]:
        """The images of "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def read_dataset(root: Path) -> Dataset:
    """List the images of a DATA folder and check that its parts fit together.

    Raises:
        DataError: a part is missing or empty, fewer than two classes, a validation class that training does not
            have or the other way round, or test labels that are neither classes nor Normal/Abnormal.
    """
    for name in ("train", "val"):
        if not (root / name).is_dir():
            raise DataError(
                f"{root}: no folder {name}/ in it; expected train/, val/ and test/ with one folder per class, "
                "as 'trainer split' makes them"
            )
    train = list_labelled_images(root / "train")
    val = list_labelled_images(root / "val")
    test = list_labelled_images(root / "test") if (root / "test").is_dir() else ()
    classes = tuple(sorted({image.label for image in train}))
    if len(classes) < 2:
        raise DataError(f"{root / 'train'}: one class only ({classes[0]!r}); expected two or more to tell apart")
    in_val = {image.label for image in val}
    unknown = sorted(in_val - set(classes))
    if unknown:
        raise DataError(
            f"{root / 'val' / unknown[0]}: class {unknown[0]!r} is not in train/ ({', '.join(classes)}); "
            "give it training images or remove it"
        )
    missing = sorted(set(classes) - in_val)
    if missing:
        raise DataError(
            f"{root / 'val'}: no images of class {missing[0]!r}; every class needs one or more, since the best "
            "epoch is chosen by them; run 'trainer split' again or add some"
        )
    _check_test_labels(root / "test", {image.label for image in test}, classes)
    return Dataset(root, classes, train, val, test)


def _check_test_labels(folder: Path, labels: set[str], classes: tuple[str, ...]) -> None:
    unknown = sorted(labels - set(classes))
    # A set judged only Normal/Abnormal has one word of its own, for all defects together.
    if unknown and (len(unknown) > 1 or len(labels) > 2):
        raise DataError(
            f"{folder / unknown[0]}: class {unknown[0]!r} is not in train/ ({', '.join(classes)}); expected these "
            "classes, or just two folders such as Normal and Abnormal"
        )
