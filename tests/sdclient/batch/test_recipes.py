"""Prompts with gaps: what is filled in, what is left alone, what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from sdclient.batch.recipes import check_placeholders, fill_prompt, read_wildcard, wildcard_names, wildcards_of_table
from sdcore.errors import SettingsError

VALUES = {"class": "漏铜", "number": 3, "k": 8}
LIGHT = {"light": ("ring light", "dark field")}


def filled(text: str, *, seed: int = 0, setting: str = "prompt", wildcards: dict[str, tuple[str, ...]] = LIGHT) -> str:
    return fill_prompt(text, setting, seed, wildcards, VALUES)


def lines_of(folder: Path, text: str | bytes) -> tuple[str, ...]:
    (folder / "wildcards").mkdir()
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    (folder / "wildcards" / "light.txt").write_bytes(data)
    return read_wildcard("light", folder, "run.toml: prompt")


def test_placeholders_are_filled_from_the_image() -> None:
    assert filled("{class} {number}, {k}, {class}") == "漏铜 3, 8, 漏铜"


@pytest.mark.parametrize(
    "text", ["", "pad, (oxidised:1.2)", "{red|blue} pad", "{ class }", "{}", "a } b { c", "_light_", "__ __", "snake__"]
)
def test_text_without_placeholders_is_left_as_it_is(text: str) -> None:
    check_placeholders(text, "prompt")
    assert list(wildcard_names(text)) == []
    assert filled(text) == text


def test_a_wildcard_becomes_one_of_its_lines_evenly() -> None:
    drawn = Counter(filled("__light__ photo", seed=seed) for seed in range(4000))
    assert set(drawn) == {"ring light photo", "dark field photo"}
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-3


def test_a_wildcard_that_occurs_twice_is_drawn_twice() -> None:
    pairs = Counter(filled("__light__, __light__", seed=seed) for seed in range(4000))
    assert len(pairs) == 4
    assert stats.chisquare(list(pairs.values())).pvalue > 1e-3


def test_the_negative_prompt_draws_for_itself() -> None:
    same = sum(
        filled("__light__", seed=s) == filled("__light__", seed=s, setting="negative_prompt") for s in range(4000)
    )
    assert stats.binomtest(same, 4000, 0.5).pvalue > 1e-3


def test_a_line_may_hold_a_placeholder_but_a_class_name_is_never_filled_in() -> None:
    lines = {"of": ("photo of {class}",)}
    assert fill_prompt("__of__", "prompt", 0, lines, {**VALUES, "class": "__of__ {k}"}) == "photo of __of__ {k}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("__light__", ["light"]),
        ("a__光线__b", ["光线"]),
        ("__a-b_c__ __2__", ["a-b_c", "2"]),
        ("__a__ and __a__", ["a", "a"]),
        ("___a___", ["a"]),
        ("__a____b__", ["a", "b"]),
        ("__a__b__", ["a"]),
        ("__a_b___c__", ["a_b"]),
    ],
)
def test_wildcards_are_found(text: str, names: list[str]) -> None:
    assert list(wildcard_names(text)) == names


def test_an_unknown_placeholder_is_named_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"run.toml: prompt: unknown placeholder \{classs\}.*\{class\}, \{number\}"):
        check_placeholders("a {class}, a {classs}", "run.toml: prompt")


def test_a_wildcard_file_gives_its_lines_without_blanks_and_comments(tmp_path: Path) -> None:
    assert lines_of(tmp_path, "\ufeff环形光\r\n\r\n  # later\n  dark field  \n") == ("环形光", "dark field")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "light.txt: holds no text"),
        ("# all\n\n", "light.txt: holds no text"),
        ("环形光".encode("gbk"), "light.txt: not UTF-8"),
        ("in {color}", r"light.txt: unknown placeholder \{color\}"),
        ("from __side__", "light.txt: .*__side__.*not filled in"),
    ],
)
def test_an_invalid_wildcard_file_is_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        lines_of(tmp_path, text)


def test_a_missing_wildcard_file_is_named_with_its_prompt_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"run.toml: prompt: wildcard __light__: .*light.txt.*\[wildcards\] light"):
        read_wildcard("light", tmp_path, "run.toml: prompt")


def test_without_a_run_file_a_wildcard_says_where_its_lines_belong() -> None:
    with pytest.raises(SettingsError, match=r"prompt: wildcard __light__ has no lines.*wildcards/light.txt"):
        read_wildcard("light", None, "prompt")


def test_a_table_gives_the_lines_of_wildcards() -> None:
    assert wildcards_of_table({"光线": ["a", "b"]}, "run.toml") == {"光线": ("a", "b")}


def test_a_line_may_hold_its_own_name_which_stays_text() -> None:
    """The way to write two underscores on both sides of a word, as the name of a LoRA may have."""
    wildcards = wildcards_of_table({"my": ["__my__"]}, "run.toml")
    assert fill_prompt("<lora:old__my__file:1>", "prompt", 0, wildcards, VALUES) == "<lora:old__my__file:1>"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"light": []}, "light is an empty list"),
        ({"light": "ring"}, "light is 'ring'; expected a list of texts"),
        ({"light": ["ring", 3]}, "expected a list of texts"),
        ({"a b": ["ring"]}, "'a b' cannot name a wildcard"),
        ({"_a": ["ring"]}, "'_a' cannot name a wildcard"),
        ({"a_": ["ring"]}, "'a_' cannot name a wildcard"),
        ({"a__b": ["ring"]}, "'a__b' cannot name a wildcard"),
        ({"light": ["__side__"]}, "__side__"),
        ({"light": ["{kind}"]}, r"unknown placeholder \{kind\}"),
    ],
)
def test_an_invalid_table_of_wildcards_is_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=rf"run.toml: \[wildcards\].*{words}"):
        wildcards_of_table(table, "run.toml: [wildcards]")
