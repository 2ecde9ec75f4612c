from __future__ import annotations

import pytest

from sdclient.serve.diffusion_engine import class_in_prompt

CLASSES = ("Normal", "exposed_copper", "copper", "open", "漏铜", "pad bumps", "scratch-deep")


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("open", "open"),
        ("OPEN", "open"),
        ("", None),
        ("a photo of a board", None),
        ("macro photo of a circuit board pad, open, sharp", "open"),
        ("copper traces on a board, open", "open"),  # a whole piece wins over a word
        ("open, copper", "open"),
        ("an open between copper traces", "copper"),  # of several words the longest
        ("exposed copper on a pad", "exposed_copper"),
        ("photo of EXPOSED-COPPER", "exposed_copper"),
        ("(open:1.3), photo", "open"),
        ("((open)), [scratch deep]", "open"),
        ("photo <lora:copper:0.8> of an open", "open"),
        ("opened box", None),
        ("reopen", None),
        ("焊盘漏铜照片", "漏铜"),
        ("焊盘，漏铜，清晰", "漏铜"),
        ("Pad_Bumps", "pad bumps"),
        ("scratch deep BREAK copper", "scratch-deep"),
        ("ＯＰＥＮ", "open"),
        ("normal", "Normal"),
    ],
)
def test_the_class_is_found_by_its_name(prompt: str, name: str | None) -> None:
    found = class_in_prompt(prompt, CLASSES)
    assert (None if found is None else CLASSES[found]) == name


def test_of_names_as_long_as_each_other_the_first_in_the_prompt_wins() -> None:
    assert class_in_prompt("a pin near a pit", ["pit", "pin"]) == 1
