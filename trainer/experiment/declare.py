"""What was decided before the first run, in `experiment.json`, and that it stays decided."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcore.files import read_json, write_json
from sdcore.messages import Message, message

from ..errors import SettingsError
from .as_json import EXPERIMENT_NAME, FORMAT, VERSION
from .config import ExperimentConfig


@dataclass(frozen=True)
class Declaration:
    """The metric declared, and whether the file was changed since."""

    declared: dict[str, Any]
    """`primary`, `at` (UTC, ISO 8601) and `sha256` of the settings as understood."""
    revisions: tuple[dict[str, Any], ...]
    """Changes while finished cells were there: `at`, `sha256`, `changed` keys, `finished` cells."""
    late: int
    """Cells that were finished before anything was declared; 0 as it should be."""

    def notes(self) -> list[Message]:
        """What a reader must know of it."""
        found = [message("declared_late", late=self.late, file=EXPERIMENT_NAME)] if self.late else []
        found += [
            message("declaration_changed", changed=", ".join(one["changed"]), finished=one["finished"])
            for one in self.revisions
        ]
        return found


def declare(config: ExperimentConfig, *, finished: int, now: str) -> Declaration:
    """Write the declaration, or hold the file to the one that is there.

    Args:
        config: the experiment.
        finished: cells that are done already.
        now: UTC, ISO 8601.

    Raises:
        SettingsError: another primary metric than was declared before the finished cells, or an `experiment.json`
            that is not ours.
        OSError: it cannot be written.
    """
    path = Path(config.output) / EXPERIMENT_NAME
    there = _read(path)
    content = as_declared(config)
    digest = _hash_settings(content)
    if there is None or not finished:
        made = Declaration({"primary": config.primary, "at": now, "sha256": digest}, (), finished)
    else:
        declared = there["declared"]
        if declared["primary"] != config.primary:
            raise SettingsError(
                f"primary: found {config.primary!r}, but {path} declared {declared['primary']!r} on {declared['at']}, "
                f"before {finished} cells were finished; put that back, or start anew with another 'output'"
            )
        revisions = list(there.get("revisions", []))
        before = there.get("config", {})
        if _hash_settings(before) != digest:
            changed = sorted(key for key in {*before, *content} if before.get(key) != content.get(key))
            revisions.append({"at": now, "sha256": digest, "changed": changed, "finished": finished})
        made = Declaration(declared, tuple(revisions), int(there.get("late", 0)))
    write_json(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "state": "running",
            "declared": made.declared,
            "revisions": list(made.revisions),
            "late": made.late,
            "config": content,
        },
    )
    return made


def as_declared(config: ExperimentConfig) -> dict[str, Any]:
    """The settings as plain data; where the output lies decides nothing."""
    content = config.model_dump(mode="json", exclude={"output"})
    content["train"].pop("threads")
    for arm in content["arm"]:
        if arm["curated"]:
            arm.pop("curated")  # what a file says that does not name it
    return content


def _hash_settings(content: dict[str, Any]) -> str:
    """Hex sha256 of settings in a fixed form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
        if content["format"] != FORMAT or not {"primary", "at"} <= content["declared"].keys():
            raise ValueError("not of this program")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path}: not an {EXPERIMENT_NAME} of this program ({error}); choose another 'output', or remove it"
        ) from error
    return content
