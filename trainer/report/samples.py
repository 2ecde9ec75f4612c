"""Generated folders on disk -> sample pictures inside the report."""

from __future__ import annotations

import base64
import io
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from sdclient.manifest import ImageRecord, Manifest, ManifestError
from sdclient.manifest_curation import Curation
from sdcore.images.decode import to_rgb
from sdcore.messages import Message, message

from .inputs import GeneratedSet, MadeImage, SourceSample

SIDE_PX = 160
"""Longest side of an embedded picture; smaller ones stay as they are."""

_LOSSLESS_UP_TO_PX = 112
_SAMPLES = 12
_IMAGES_A_SOURCE = 5


def collect_generated_set(summary: Mapping[str, Any]) -> GeneratedSet:
    """One source of each class beside images made from it; of a curated set, accepted ones.

    Args:
        summary: a set as a run's data.json records it: path, engine, model, count.
    """
    folder = Path(str(summary["path"]))
    curated = bool(summary.get("curated"))
    records: list[ImageRecord] = []
    run: dict[str, Any] = {}
    missing: Message | None = None
    try:
        with Manifest(folder) as manifest:
            accepted = Curation(manifest).accepted_files() if curated else None
            run = manifest.run()
            records = [record for record in manifest.images() if accepted is None or record.file in accepted]
    except (ManifestError, sqlite3.Error, ValueError) as error:
        missing = message("samples_unreadable", error=str(error))
    sources = folder / str(run["sources"]) if "sources" in run else None
    samples = _pick(records, folder, sources)
    if records and not any(sample.generated for sample in samples):
        samples = ()
        missing = message("samples_gone", folder=str(folder))
    parameters = run.get("parameters", summary.get("asked", {}))
    return GeneratedSet(
        folder=folder.as_posix(),
        images=int(summary["count"]),
        engines=tuple(str(summary["engine"]).split("; ")),
        models=tuple(str(summary["model"]).split("; ")) if summary.get("model") else (),
        parameters={name: str(value) for name, value in parameters.items() if value not in (None, "")},
        samples=samples,
        missing=missing,
        recorded=int(summary["recorded"]) if curated else None,
    )


def embed_image(path: Path) -> str | None:
    """A picture file as a data URI, shrunk to a thumbnail; None when it is gone or unreadable."""
    try:
        with Image.open(path) as image:
            picture = to_rgb(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    # JPEG would show its own blocks on pictures this small.
    kind = "PNG" if max(picture.size) <= _LOSSLESS_UP_TO_PX else "JPEG"
    picture.save(content, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _pick(records: list[ImageRecord], folder: Path, sources: Path | None) -> tuple[SourceSample, ...]:
    first_source: dict[str, str] = {}
    for record in records:
        first_source.setdefault(record.class_name, record.source)
    samples = []
    for class_name, source in list(first_source.items())[:_SAMPLES]:
        uri = embed_image(sources / source) if sources is not None else None
        siblings = sorted(
            (one for one in records if one.source == source and one.class_name == class_name),
            key=lambda one: one.k,
        )
        samples.append(
            SourceSample(
                class_name=class_name,
                source=uri,
                source_name=source,
                generated=tuple(
                    thumbnail for one in siblings[:_IMAGES_A_SOURCE] if (thumbnail := _thumbnail(folder, one))
                ),
            )
        )
    return tuple(samples)


def _thumbnail(folder: Path, record: ImageRecord) -> MadeImage | None:
    uri = embed_image(folder / record.file)
    strength = record.asked.get("denoising_strength")
    known = float(strength) if isinstance(strength, int | float) and not isinstance(strength, bool) else None
    return MadeImage(uri, record.file, known, record.seed) if uri else None
