"""Every message key that the trainer's code can produce stands in its catalogue, and no entry is left over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import trainer
from trainer import words_reports
from trainer.evaluation.diagnosis import DiagnosisKind
from trainer.evaluation.verdict import COMPARED, HELPED, HURT, MIXED, NO_DIFFERENCE
from trainer.experiment.judge import Kind as ArmKind
from trainer.words_findings import WORDS

ROOT = Path(trainer.__file__).parent
KINDS = {f"kind_{kind}" for kind in get_args(DiagnosisKind)}
VERDICTS = {HELPED, HURT, MIXED, NO_DIFFERENCE}
COMPUTED = {
    "describe_kind": KINDS,
    "describe_difference": set(COMPARED),
    "give_verdict": VERDICTS,
    "_sentence": VERDICTS,
}
"""Function -> the keys that it makes from a value."""


def calls() -> Iterator[tuple[str, ast.expr, ast.FunctionDef]]:
    """Every `message(...)`: the file, the key, and the function around it."""
    for path in sorted(ROOT.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "message":
                        yield path.name, node.args[0], function


def produced_keys() -> set[str]:
    found = set()
    for file, key, function in calls():
        if isinstance(key, ast.Constant):
            found.add(str(key.value))
            continue
        chosen = [
            part.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(key, ast.Name) and ast.unparse(node.targets[0]) == key.id
            for part in ast.walk(node.value)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        assert chosen or function.name in COMPUTED, f"{file}: {function.name} makes a key that this test does not know"
        found.update(chosen or COMPUTED[function.name])
    return found


def test_every_key_of_a_finding_is_in_the_catalogue_and_is_used() -> None:
    assert produced_keys() == set(WORDS)


def test_every_key_of_a_report_is_in_the_catalogue_and_is_used() -> None:
    paths = [*ROOT.glob("report/*.py"), *ROOT.glob("report/templates/*.j2"), ROOT / "evaluation" / "verdict.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    keys = set(words_reports.WORDS)
    asked = set(re.findall(r'\bwords(?:\.gloss)?\(\s*"([\w ]+)"', text))
    asked |= {f"{key}_{end}" for key in re.findall(r'words\.several\("(\w+)"', text) for end in ("one", "many")}
    begun = {key for key in asked if key.endswith("_")}  # the template adds the rest
    assert asked - begun <= keys
    assert all(any(key.startswith(start) for key in keys) for start in begun)
    made = [f"{key}_formula" for key in ("macro_f1", "weighted_f1", "auroc")] + list(get_args(ArmKind))
    loose = {key for key in keys - asked if f'"{key}"' not in text}
    assert not {key for key in loose - {*made} if not any(key.startswith(start) for start in begun)}
