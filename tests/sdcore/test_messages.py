from __future__ import annotations

import pickle

import pytest
from markupsafe import Markup

from sdcore.messages import Message, MessageCatalogue, Words, message

CATALOGUE = MessageCatalogue(
    {
        "missed": Words("{count} of {of} missed in {name!r}", "{name!r} 中漏检 {count}/{of}"),
        "rate": Words("a rate of {rate:.1f} %", "比率 {rate:.1f} %"),
        "both": Words("{first}; see {parts}.", "{first}；见 {parts}。"),
        "no": Words("nothing", "无"),
    }
)
MISSED = message("missed", count=3, of=40, name="<b>")


def test_a_message_is_written_in_either_language() -> None:
    assert CATALOGUE.text(MISSED) == "3 of 40 missed in '<b>'"
    assert CATALOGUE.text(MISSED, "zh") == "'<b>' 中漏检 3/40"
    assert CATALOGUE.text(message("rate", rate=2.25), "zh") == "比率 2.2 %"


def test_a_message_may_hold_others() -> None:
    whole = message("both", first=MISSED, parts=(message("no"), message("rate", rate=1.0)))
    assert CATALOGUE.text(whole) == "3 of 40 missed in '<b>'; see nothinga rate of 1.0 %."
    assert CATALOGUE.text(whole, "zh") == "'<b>' 中漏检 3/40；见 无比率 1.0 %。"
    assert CATALOGUE.text(message("both", first="x", parts=())) == "x; see ."


def test_values_are_escaped_in_markup_unless_they_are_markup() -> None:
    assert "<b>" not in CATALOGUE.markup(MISSED)
    whole = message("both", first=Markup("<i>1</i>"), parts=(MISSED,))
    assert CATALOGUE.markup(whole) == "<i>1</i>; see 3 of 40 missed in &#39;&lt;b&gt;&#39;."


def test_equal_messages_are_one() -> None:
    assert {MISSED, message("missed", name="<b>", of=40, count=3)} == {MISSED}
    assert message("missed", count=4, of=40, name="<b>") != MISSED
    assert pickle.loads(pickle.dumps(MISSED)) == MISSED


def test_a_key_or_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        CATALOGUE.text(Message("unknown", {}))
    with pytest.raises(KeyError):
        CATALOGUE.markup(message("rate"))


def test_one_language_can_be_had_as_a_whole() -> None:
    assert CATALOGUE.by_key("zh")["no"] == "无"
    assert list(CATALOGUE.by_key("en")) == list(CATALOGUE)
    assert "no" in CATALOGUE
    assert CATALOGUE["no"] == Words("nothing", "无")
