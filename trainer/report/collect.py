"""Gathers from runs and folders on disk what a report shows."""

import platform
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from sdclient.manifest import ManifestError
from sdclient.manifest.curation import Curation
from sdclient.manifest.database import ImageRecord, Manifest
from sdcore.files import read_json
from sdcore.messages import Message, message
from sdcore.pages import thumbnail_uri

from ..config import ABNORMAL
from ..errors import DataError, SettingsError
from ..evaluation.arms import TEST_FOLDER, Arm, SeedPredictions
from ..evaluation.compare import Comparison
from ..evaluation.diagnosis import diagnose
from ..evaluation.history import HISTORY_NAME, find_recorded_trainings
from ..models.decision_threshold import read_operating_point
from . import inputs
from .compare_report import MOST_FLIPS

_SOFTWARE = ("sd-defects", "torch", "torchvision", "yolov5", "numpy", "scipy", "pillow")


def collect_inputs(
    comparison: Comparison,
    arms: Sequence[Arm],
    data: Path | None,
    *,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    abnormal: str | None = ABNORMAL,
) -> inputs.ReportInputs:
    """Gather what a report shows; what is no longer on disk is left out, and the report says so.

    Args:
        comparison: of `arms`.
        arms: baseline, candidate and, where there is one, control.
        data: the DATA folder, for thumbnails of test images; None when there is none.
        notes: the user's own caveats, for example that the images are drawn.

    Raises:
        SettingsError: a run's operating_point.json cannot be used.
        DataError: a run's config.json, data.json or results.csv is damaged.
    """
    summaries = [_read_json(_first_run(arm), "data.json") for arm in arms]
    sets: dict[str, Mapping[str, Any]] = {}
    for summary in summaries:
        for one in summary.get("generated_sets", []):
            sets.setdefault(str(one["path"]), one)
    worst = inputs.worst_mistakes(arms[1], normal=comparison.normal, abnormal=abnormal)
    shown = [flip.image for flips in (comparison.gained, comparison.lost) for flip in flips[:MOST_FLIPS]]
    shown += [one.image for mistakes in (worst.misses, worst.overkill) for one in mistakes[: inputs.MOST_WORST]]
    return inputs.ReportInputs(
        comparison=comparison,
        arms=tuple(
            _facts(arm, summary, normal=comparison.normal, abnormal=abnormal)
            for arm, summary in zip(arms, summaries, strict=True)
        ),
        generated_sets=tuple(collect_generated_set(one) for one in sets.values()),
        worst=worst,
        thumbnails=embed_test_images(shown, data),
        versions=software_versions(),
        commands=tuple(commands),
        notes=tuple(notes),
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def embed_test_images(images: Iterable[str], data: Path | None) -> dict[str, str]:
    """Thumbnails of test images by name; those that are gone are left out."""
    if data is None:
        return {}
    uris = {image: thumbnail_uri(data / TEST_FOLDER / image) for image in dict.fromkeys(images)}
    return {image: uri for image, uri in uris.items() if uri is not None}


def read_curves(seed: str, run: Path) -> tuple[inputs.Curve, inputs.SeedDiagnosis] | None:
    """The losses of a training with their diagnosis; None when no epoch was recorded.

    Raises:
        DataError: its results.csv, config.json or data.json is damaged.
    """
    if not (run / HISTORY_NAME).is_file():
        return None
    recorded = find_recorded_trainings(run)[0]
    epochs = recorded.history.epochs
    found = diagnose(epochs, recorded.conditions)
    curve = inputs.Curve(
        seed=seed,
        epochs=tuple(one.epoch for one in epochs),
        train_loss=tuple(one.train_loss for one in epochs),
        val_loss=tuple(one.val_loss for one in epochs),
    )
    return curve, inputs.SeedDiagnosis(seed, found.kind, found.line, found.advice)


def curve_of(one: SeedPredictions, *, normal: str, abnormal: str | None) -> inputs.OperatingCurve:
    """The operating curve of a training, with the cut that was chosen for its run, if any.

    Raises:
        SettingsError: its operating_point.json cannot be used, or is of another Normal class.
    """
    point = None if one.run is None else read_operating_point(one.run)
    if point is not None and point.normal != normal:
        raise SettingsError(
            f"{one.run}: its operating point calls {point.normal!r} normal, but --normal is {normal!r}; choose the "
            "operating point again"
        )
    return inputs.operating_curve(one.seed, one.predictions, normal=normal, abnormal=abnormal, point=point)


def _facts(arm: Arm, summary: Mapping[str, Any], *, normal: str, abnormal: str | None) -> inputs.ArmFacts:
    runs = [(one.seed, one.run) for one in arm.seeds if one.run is not None]
    # First, so that a damaged file is named before the long work.
    settings = _merge([_read_settings(run) for _, run in runs])
    recorded = [found for seed, run in runs if (found := read_curves(seed, run)) is not None]
    engines = [part for one in summary.get("generated_sets", []) for part in str(one["engine"]).split("; ")]
    return inputs.ArmFacts(
        name=arm.name,
        counts=tuple(
            inputs.ClassCount(
                class_name,
                real=int(counts.get("real", 0)),
                generated=int(counts.get("generated", 0)),
                repeated=int(counts.get("repeated", 0)),
            )
            for class_name, counts in summary.get("train", {}).items()
        ),
        engines=tuple(dict.fromkeys(engines)),
        settings=settings,
        curves=tuple(curve for curve, _ in recorded),
        diagnoses=tuple(found for _, found in recorded),
        operating=tuple(curve_of(one, normal=normal, abnormal=abnormal) for one in arm.seeds),
    )


def _read_settings(run: Path) -> dict[str, str]:
    """The settings of a run, and the machine and software it ran with."""
    return {
        **dict(_flatten(_read_json(run, "config.json"))),
        **dict(_flatten(_read_json(run, "environment.json"), "environment.")),
    }


def _first_run(arm: Arm) -> Path | None:
    return arm.seeds[0].run


def _read_json(run: Path | None, name: str) -> dict[str, Any]:
    """The content of a run's JSON file; empty when there is none."""
    if run is None or not (run / name).is_file():
        return {}
    try:
        return read_json(run / name)
    except ValueError as error:
        raise DataError(f"{run / name}: not readable as JSON: {error}; train into a new folder") from error


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)


def _merge(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """One value for each name; all values where the seeds of an arm differ."""
    names = dict.fromkeys(name for one in settings for name in one)
    return {name: ", ".join(dict.fromkeys(one.get(name, "") for one in settings)) for name in names}


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that this report was made with."""
    installed = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return {"Python": platform.python_version(), **{name: installed[name] for name in _SOFTWARE if name in installed}}


_SAMPLES = 12
_IMAGES_A_SOURCE = 5


def collect_generated_set(summary: Mapping[str, Any]) -> inputs.GeneratedSet:
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
    return inputs.GeneratedSet(
        folder=folder.as_posix(),
        images=int(summary["count"]),
        engines=tuple(str(summary["engine"]).split("; ")),
        models=tuple(str(summary["model"]).split("; ")) if summary.get("model") else (),
        parameters={name: str(value) for name, value in parameters.items() if value not in (None, "")},
        samples=samples,
        missing=missing,
        recorded=int(summary["recorded"]) if curated else None,
    )


def _pick(records: list[ImageRecord], folder: Path, sources: Path | None) -> tuple[inputs.SourceSample, ...]:
    first_source: dict[str, str] = {}
    for record in records:
        first_source.setdefault(record.class_name, record.source)
    samples = []
    for class_name, source in list(first_source.items())[:_SAMPLES]:
        uri = thumbnail_uri(sources / source) if sources is not None else None
        siblings = sorted(
            (one for one in records if one.source == source and one.class_name == class_name), key=lambda one: one.k
        )
        samples.append(
            inputs.SourceSample(
                class_name=class_name,
                source=uri,
                source_name=source,
                generated=tuple(
                    thumbnail for one in siblings[:_IMAGES_A_SOURCE] if (thumbnail := _thumbnail(folder, one))
                ),
            )
        )
    return tuple(samples)


def _thumbnail(folder: Path, record: ImageRecord) -> inputs.MadeImage | None:
    uri = thumbnail_uri(folder / record.file)
    strength = record.asked.get("denoising_strength")
    known = float(strength) if isinstance(strength, int | float) and not isinstance(strength, bool) else None
    return inputs.MadeImage(uri, record.file, known, record.seed) if uri else None
