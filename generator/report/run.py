"""Model, data and classifier -> findings, and the files that tell of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from sdcore.diffusion_model import DiffusionModel, load_model
from sdcore.files import write_bytes_atomically
from sdcore.torch_runtime import explain_out_of_memory, torch_threads, usable_threads

from ..errors import DataError
from ..sheet import SheetRow, draw_sheet, heads_of, to_image
from .classifier import Classifier
from .judge import Judge, Looked, mean_comparison
from .making import MadePictures, make_pictures
from .material import Material, read_material
from .nearness import NearnessJudge
from .neighbours import Symmetry
from .page import draw_page
from .results import Findings
from .run_file import RUN_FILE_NAME, SamplingWords, recommended_run_file
from .settings import SAMPLER, ReportSettings

PAGE_NAME, JSON_NAME, SHEET_NAME = "report.html", "report.json", "sheet.png"
_PURE_SHOWN = 3
_CLASSES_SHOWN = 16
_LEAST_SIDE_PX = 16


def report(
    model_folder: Path, data: Path, classifier_file: Path, settings: ReportSettings, *, progress: bool = True
) -> Findings:
    """Make pictures with a model, and judge them.

    Args:
        model_folder: that `generator train` wrote.
        data: the data set it was trained on, with train/ and, better, val/.
        classifier_file: of `trainer export RUN --features`, trained on real pictures alone.
        settings: how many pictures, at which strengths.
        progress: show bars on stderr.

    Raises:
        ModelFileError: the model cannot be used.
        DataError: the data cannot, or is not what the model learned from.
        ModelFileError: the classifier cannot, or is of another class set.
        SettingsError: a setting cannot be used.
        OutOfMemory: memory does not hold a batch.
        MissingExtra: diffusers or onnxruntime is not installed.
    """
    threads = settings.threads or usable_threads()
    model = load_model(model_folder)
    if model.size_px < _LEAST_SIDE_PX:
        raise DataError(
            f"{model_folder}: a model of {model.size_px} px; expected {_LEAST_SIDE_PX} px or more to compare"
        )
    classifier = Classifier(classifier_file, model.classes, threads=threads)
    material = read_material(data, model, progress=progress)
    with torch_threads(threads), explain_out_of_memory(batch_size=32, size_px=model.size_px):
        made = make_pictures(model, material, settings, progress=progress)
    looked = _look(classifier, material, made)
    nearness = NearnessJudge(
        model.classes,
        material,
        made,
        learned=looked.learned,
        held_out=looked.held_out,
        pure=looked.pure,
        symmetry=Symmetry(model.flips, model.quarter_turns),
    )
    judge = Judge(model.classes, material, made, looked, settings, nearness, progress=progress)
    classes = judge.classes()
    together = judge.together(classes)
    return Findings(
        model=model_folder.resolve().name,
        model_sha256=model.sha256,
        size_px=model.size_px,
        data=data.as_posix(),
        classifier=classifier_file.as_posix(),
        classifier_checkpoint_sha256=classifier.checkpoint_sha256,
        settings=settings,
        classes=classes,
        together=together,
        out_of_noise=judge.out_of_noise(classes),
        floor_sources=mean_comparison([one.floor_sources for one in classes]),
        floor_held_out=mean_comparison([one.floor_held_out for one in classes]),
        limits=judge.limits(together),
        answer=judge.answer(),
        notes=(*material.notes, *_notes(model, classifier)),
        nearest=nearness.pairs(),
        sheet=_sheet(model, made, settings),
    )


def write_report(findings: Findings, folder: Path) -> tuple[Path, ...]:
    """Write `report.html`, `report.json`, `sheet.png` and `recommended.toml`, each in one step.

    Args:
        findings: what `report` gave.
        folder: made when it is missing; files of these names are replaced.

    Raises:
        OSError: a file cannot be written.
    """
    words = SamplingWords(SAMPLER, findings.settings.steps, findings.settings.cfg_scale, findings.size_px)
    limits = {one.name: one.limits for one in findings.classes}
    contents = {
        PAGE_NAME: draw_page(findings).encode(),
        JSON_NAME: (json.dumps(findings.as_json(), ensure_ascii=False, indent=1) + "\n").encode(),
        SHEET_NAME: findings.sheet,
        RUN_FILE_NAME: recommended_run_file(limits, findings.limits, words, model=findings.model).encode(),
    }
    for name, content in contents.items():
        write_bytes_atomically(folder / name, content)
    return tuple(folder / name for name in contents)


def _look(classifier: Classifier, material: Material, made: MadePictures) -> Looked:
    return Looked(
        learned=classifier.predict([one.pixels for one in material.learned]),
        held_out=classifier.predict([one.pixels for one in material.held_out]),
        by_strength=tuple(classifier.predict(pictures) for pictures in made.by_strength),
        pure=classifier.predict(made.pure),
    )


def _notes(model: DiffusionModel, classifier: Classifier) -> Sequence[str]:
    notes = [
        "'Keeps its class' holds only for a classifier trained on real pictures alone, which its file does not tell."
    ]
    if classifier.size_px > model.size_px:
        notes.append(
            f"The classifier looks at {classifier.size_px} px, the model makes {model.size_px} px: real pictures were "
            "shrunk to that before it looked, too."
        )
    return notes


def _sheet(model: DiffusionModel, made: MadePictures, settings: ReportSettings) -> bytes:
    """For each class one source, its siblings and some pictures out of noise."""
    rows = []
    for label, name in enumerate(model.classes[:_CLASSES_SHOWN]):
        source = next((place for place, one in enumerate(made.sources) if one.label == label), None)
        if source is None:
            continue
        pure = [place for place, one in enumerate(made.pure_labels) if one == label][:_PURE_SHOWN]
        cells = [made.sources[source].pixels, *(one[source] for one in made.by_strength)]
        cells += [made.pure[place] for place in pure]
        rows.append(SheetRow(name, tuple(to_image(torch.from_numpy(one)) for one in cells)))
    title = f"{model.folder.resolve().name}: sources, siblings, pictures from noise"
    return draw_sheet(rows, title, heads_of(settings.strengths, min(_PURE_SHOWN, settings.per_class)))
