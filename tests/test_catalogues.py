"""Every catalogue of messages, in all packages: nothing is left untranslated."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from string import Formatter

import pytest

import sdcore
from sdcore.messages import MessageCatalogue

ROOT = Path(sdcore.__file__).parent.parent
WITHOUT_CHINESE = {"other_language", "auroc_formula"}
"""Keys whose Chinese has no Chinese character of its own."""


def find_catalogues() -> dict[str, MessageCatalogue]:
    found = {}
    for package in ("sdclient", "trainer", "generator"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "MessageCatalogue(" not in path.read_text(encoding="utf-8"):
                continue
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = importlib.import_module(name)
            for each, value in vars(module).items():
                if isinstance(value, MessageCatalogue) and value not in found.values():
                    found[f"{name}.{each}"] = value
    return found


CATALOGUES = find_catalogues()


def placeholders(text: str) -> list[tuple[str, str, str | None]]:
    return sorted((name, spec or "", how) for _, name, spec, how in Formatter().parse(text) if name is not None)


def test_catalogues_are_found() -> None:
    expected = ("sdclient.review.words", "trainer.words_reports", "trainer.words_findings")
    assert {f"{module}.WORDS" for module in expected} <= CATALOGUES.keys()


@pytest.mark.parametrize("name", CATALOGUES)
def test_both_languages_have_words_with_the_same_placeholders(name: str) -> None:
    catalogue = CATALOGUES[name]
    for key in catalogue:
        words = catalogue[key]
        assert words.en.strip(), key
        assert words.zh.strip(), key
        assert set(placeholders(words.en)) == set(placeholders(words.zh)), key


@pytest.mark.parametrize("name", CATALOGUES)
def test_chinese_is_chinese(name: str) -> None:
    catalogue = CATALOGUES[name]
    for key in catalogue:
        words = catalogue[key]
        chinese = re.search(r"[\u4e00-\u9fff]", words.zh)
        has_words = re.search(r"[A-Za-z]{2,}", re.sub(r"\{.*?\}", "", words.en))
        assert chinese or not has_words or words.en == words.zh or key in WITHOUT_CHINESE, key
        assert not re.search(r"[\u4e00-\u9fff）][,;?!(]|[,;?!][\u4e00-\u9fff（]", words.zh), key
        assert not re.search(r"[，。；：？！]", words.en), key
