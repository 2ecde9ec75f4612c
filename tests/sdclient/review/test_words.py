"""The texts of the review page in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sdclient.review import app
from sdclient.review.app import render
from sdclient.review.words import WORDS

STATIC = Path(app.__file__).parent / "static"
TEMPLATES = Path(app.__file__).parent / "templates"
MADE_UP = {"decided_", "decided_many_", "state_", "fact_"}


def test_no_word_hides_a_method_of_the_catalogue() -> None:
    assert not {key for key in WORDS if hasattr(dict, key)}


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (*STATIC.glob("*.js"), *TEMPLATES.glob("*.j2")))
    used = set(re.findall(r'say\("(\w+)"', text)) | set(re.findall(r"\bt\.(\w+)", text))
    assert used <= set(WORDS)
    loose = {word for word in WORDS if not re.search(rf'["`.]{word}\b', text)}
    assert not {word for word in loose if not any(word.startswith(start) for start in MADE_UP | {"order_"})}


@pytest.mark.parametrize("template", ["review.html.j2", "draw.html.j2"])
def test_names_from_outside_are_escaped(template: str) -> None:
    bad = "<script>alert(1)</script>"
    values = {"classes": [bad, '"><img src=x>'], "can_draw": True, "beside_review": True, "grow_px": 1, "feather_px": 1}
    html = render(template, "en", page_key="key", name=bad, **values)
    assert bad not in html
    assert "<img src=x>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    "path", sorted(STATIC.glob("*.js")) + sorted(TEMPLATES.glob("*.j2")), ids=lambda path: path.name
)
def test_nothing_is_fetched_from_elsewhere_or_read_as_markup(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\sstyle=|\son\w+=", text)
