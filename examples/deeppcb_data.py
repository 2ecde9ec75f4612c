"""Lay DeepPCB's crops out as train/, val/ and test/ with one folder a class, by their own split.

    python examples/deeppcb_data.py PATH data [--column train_longtail]
    generator train data/train -o models/deeppcb64 --minutes 30 --flips --quarter-turns

PATH holds `images/<class>/*.png` and `split.csv`. Of the training rows those are taken that the column marks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deeppcb import lay_out
from steps import StepFailed


def main() -> int:
    """Lay out and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="folder with images/ and split.csv")
    parser.add_argument("data", type=Path, help="folder to write into")
    parser.add_argument("--column", default="train_longtail", help="marks the training rows; 'train' takes all")
    asked = parser.parse_args()
    try:
        layout = lay_out(asked.path, asked.data, asked.column)
    except StepFailed as error:
        print(f"deeppcb_data stopped: {error}", file=sys.stderr)
        return 1
    for split, classes in layout.counts.items():
        print(f"{split}: {', '.join(f'{name} {count}' for name, count in sorted(classes.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
