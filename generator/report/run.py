"""Make a report: generate images with a model, compare them with real ones, write the files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from sdcore.diffusion_model import DiffusionModel, load_model
from sdcore.files import write_bytes_atomically
from sdcore.images.similarity import is_changed, retake_similarity
from sdcore.torch_runtime import explain_out_of_memory, torch_threads, usable_threads

from ..diffusion.sampling import SheetRow, column_titles, draw_sheet, to_image
from ..errors import DataError
from .classifier import Classifier, ClassPredictions
from .material import GeneratedSamples, Material, RealImage, generate_samples, image_of, read_material
from .neighbours import MemorisationCheck, Symmetry
from .page import RUN_FILE_NAME, RecommendedSampling, draw_page, recommended_run_file
from .results import SAMPLER, ClassFindings, Findings, KeepChangeAnswer, OutOfNoise, ReportSettings, StrengthFindings
from .stats import SetComparison, Share, StrengthLimits, compare_sets, find_limits, mean_of, share_of

PAGE_NAME, JSON_NAME, SHEET_NAME = "report.html", "report.json", "sheet.png"
_PURE_SHOWN = 3
_CLASSES_SHOWN = 16
_LEAST_SIDE_PX = 16


def make_report(
    model_folder: Path, data: Path, classifier_file: Path, settings: ReportSettings, *, progress: bool = True
) -> Findings:
    """Generate images with a model that `generator train` wrote, and measure them.

    `data` is what it was trained on, with train/ and preferably val/. The classifier, which `trainer export RUN
    --features` wrote, should be trained on real images alone.

    Raises:
        ModelFileError: the model or the classifier cannot be used, or their classes differ.
        DataError: the data cannot be used, or the model learned from other data.
        SettingsError: a setting cannot be used.
        OutOfMemory: a batch does not fit into memory.
        MissingExtra: diffusers or onnxruntime is not installed.
    """
    threads = settings.threads or usable_threads()
    model = load_model(model_folder)
    if model.size_px < _LEAST_SIDE_PX:
        found = f"{model_folder}: a model of {model.size_px} px"
        raise DataError(f"{found}; expected {_LEAST_SIDE_PX} px or more to compare")
    classifier = Classifier(classifier_file, model.classes, threads=threads)
    material = read_material(data, model, progress=progress)
    with torch_threads(threads), explain_out_of_memory(batch_size=32, size_px=model.size_px):
        made = generate_samples(model, material, settings, progress=progress)
    classified = ClassifiedImages(
        learned=classifier.predict([one.pixels for one in material.learned]),
        held_out=classifier.predict([one.pixels for one in material.held_out]),
        by_strength=tuple(classifier.predict(images) for images in made.by_strength),
        pure=classifier.predict(made.pure),
    )
    nearness = MemorisationCheck(
        model.classes,
        material,
        made,
        learned=classified.learned,
        held_out=classified.held_out,
        pure=classified.pure,
        symmetry=Symmetry(model.flips, model.quarter_turns),
    )
    judge = FindingsBuilder(model.classes, material, made, classified, settings, nearness, progress=progress)
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
    """Write `report.html`, `report.json`, `sheet.png` and `recommended.toml`, each atomically.

    Raises:
        OSError: a file cannot be written.
    """
    sampling = RecommendedSampling(SAMPLER, findings.settings.steps, findings.settings.cfg_scale, findings.size_px)
    limits = {one.name: one.limits for one in findings.classes}
    contents = {
        PAGE_NAME: draw_page(findings).encode(),
        JSON_NAME: (json.dumps(findings.as_json(), ensure_ascii=False, indent=1) + "\n").encode(),
        SHEET_NAME: findings.sheet,
        RUN_FILE_NAME: recommended_run_file(limits, findings.limits, sampling, model=findings.model).encode(),
    }
    for name, content in contents.items():
        write_bytes_atomically(folder / name, content)
    return tuple(folder / name for name in contents)


def _notes(model: DiffusionModel, classifier: Classifier) -> Sequence[str]:
    notes = [
        "'Keeps its class' holds only for a classifier trained on real pictures alone, which its file does not tell."
    ]
    if classifier.size_px > model.size_px:
        notes.append(
            f"The classifier looks at {classifier.size_px} px, the model makes {model.size_px} px: real pictures were "
            "shrunk to that before it classified, too."
        )
    return notes


def _sheet(model: DiffusionModel, made: GeneratedSamples, settings: ReportSettings) -> bytes:
    """A row for each class: one source, its siblings, and some images from noise."""
    rows = []
    for label, name in enumerate(model.classes[:_CLASSES_SHOWN]):
        source = next((place for place, one in enumerate(made.sources) if one.label == label), None)
        if source is None:
            continue
        cells = [made.sources[source].pixels, *(one[source] for one in made.by_strength)]
        cells += [pixels for pixels, one in zip(made.pure, made.pure_labels, strict=True) if one == label][:_PURE_SHOWN]
        rows.append(SheetRow(name, tuple(to_image(torch.from_numpy(one)) for one in cells)))
    title = f"{model.folder.resolve().name}: sources, siblings, pictures from noise"
    return draw_sheet(rows, title, column_titles(settings.strengths, min(_PURE_SHOWN, settings.per_class)))


Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ClassifiedImages:
    """The classifier's predictions on all images, in the order of the images."""

    learned: ClassPredictions
    held_out: ClassPredictions
    by_strength: tuple[ClassPredictions, ...]
    pure: ClassPredictions


class FindingsBuilder:
    """Computes the figures of a report; `nearness` compares the images from noise with those learned from."""

    def __init__(
        self,
        classes: Sequence[str],
        material: Material,
        made: GeneratedSamples,
        classified: ClassifiedImages,
        settings: ReportSettings,
        nearness: MemorisationCheck,
        *,
        progress: bool = True,
    ) -> None:
        self._classes, self._material, self._made, self._classified = classes, material, made, classified
        self._settings, self._nearness = settings, nearness
        self._labels = np.array([one.label for one in made.sources])
        self._groups = np.array([one.group for one in made.sources])
        # (strengths, sources): whether the image keeps its class, and whether it differs from its source.
        self._kept: Flags = np.stack([one.predicted == self._labels for one in classified.by_strength])
        self._changed = _changed(made, progress=progress)
        # (sources,): whether the classifier predicts the class of the source itself correctly.
        self._named: Flags = classified.learned.predicted[self._places_of(made.sources)] == self._labels

    def classes(self) -> tuple[ClassFindings, ...]:
        """Findings of each class, in the model's order."""
        return tuple(self._class(label) for label in range(len(self._classes)))

    def together(self, classes: Sequence[ClassFindings]) -> tuple[StrengthFindings, ...]:
        """All classes at each strength: counts of all images, and means over classes of set comparisons."""
        everything = np.ones(len(self._labels), dtype=bool)
        return tuple(
            StrengthFindings(
                strength, *self._shares(place, everything), mean_comparison([one.at[place].compared for one in classes])
            )
            for place, strength in enumerate(self._settings.strengths)
        )

    def out_of_noise(self, classes: Sequence[ClassFindings]) -> OutOfNoise:
        """Images from noise, of all classes."""
        kept = self._classified.pure.predicted == np.array(self._made.pure_labels)
        compared = mean_comparison([one.out_of_noise.compared for one in classes])
        return OutOfNoise(share_of(kept, _own_groups(len(kept))), compared)

    def answer(self, among: Flags | None = None) -> KeepChangeAnswer:
        """Counts over the strengths asked about, of all sources or of those that `among` (sources,) flags."""
        low, high = self._settings.asked
        inside = [place for place, one in enumerate(self._settings.strengths) if low <= one <= high]
        chosen = np.ones(len(self._labels), dtype=bool) if among is None else among
        groups = np.tile(self._groups[chosen], len(inside)).tolist()
        kept, changed = (flags[inside][:, chosen].ravel() for flags in (self._kept, self._changed))
        named = np.tile(self._named[chosen], len(inside))
        return KeepChangeAnswer(
            tuple(self._settings.strengths[place] for place in inside),
            share_of(kept, groups),
            share_of(kept[named], np.array(groups)[named].tolist()),
            share_of(changed, groups),
            share_of(kept & changed, groups),
            self._settings.keep_rate,
            self._settings.change_rate,
        )

    def limits(self, at: Sequence[StrengthFindings]) -> StrengthLimits:
        """The strengths that these counts recommend."""
        return find_limits(
            [one.strength for one in at],
            [one.kept_of_named for one in at],
            [one.changed for one in at],
            keep_rate=self._settings.keep_rate,
            change_rate=self._settings.change_rate,
        )

    def _class(self, label: int) -> ClassFindings:
        classified, of_class = self._classified, self._labels == label
        learned, held = self._material.of_class(label)
        held_places = [place for place, one in enumerate(self._material.held_out) if one.label == label]
        held_features, held_groups = classified.held_out.features[held_places], [one.group for one in held]
        groups = self._groups[of_class].tolist()

        def compare(features: npt.NDArray[np.float32], their_groups: Sequence[str]) -> SetComparison:
            return self._compare(features, their_groups, held_features, held_groups)

        at = tuple(
            StrengthFindings(strength, *self._shares(place, of_class), compare(predictions.features[of_class], groups))
            for place, (strength, predictions) in enumerate(
                zip(self._settings.strengths, classified.by_strength, strict=True)
            )
        )
        pure = np.array(self._made.pure_labels) == label
        named = classified.held_out.predicted[held_places] == label
        apart = _own_groups(int(pure.sum()))
        sources = [one for one in self._made.sources if one.label == label]
        return ClassFindings(
            name=self._classes[label],
            learned=len(learned),
            held_out=len(held),
            sources=len(sources),
            sources_named=share_of(self._named[of_class], groups),
            named=share_of(named, held_groups),
            floor_sources=compare(classified.learned.features[self._places_of(sources)], groups),
            floor_held_out=self._floor(held_features, held_groups),
            at=at,
            out_of_noise=OutOfNoise(
                share_of(classified.pure.predicted[pure] == label, apart),
                compare(classified.pure.features[pure], apart),
            ),
            nearness=self._nearness.of_class(label),
            limits=self.limits(at),
            asked=self.answer(of_class),
        )

    def _places_of(self, sources: Sequence[RealImage]) -> list[int]:
        place_of = {one.file: place for place, one in enumerate(self._material.learned)}
        return [place_of[one.file] for one in sources]

    def _shares(self, place: int, among: Flags) -> tuple[Share, Share, Share]:
        """Shares that keep their class, that keep it among correctly predicted sources, and that change."""

        def share(flags: Flags, chosen: Flags) -> Share:
            return share_of(flags[place, chosen], self._groups[chosen].tolist())

        return share(self._kept, among), share(self._kept, among & self._named), share(self._changed, among)

    def _floor(self, features: npt.NDArray[np.float32], groups: Sequence[str]) -> SetComparison:
        """A part of the held-out images against the others: whole groups, up to as many images as were generated."""
        most = min(self._settings.per_class, len(groups) // 2)
        taken: list[int] = []
        for name in np.random.default_rng(self._settings.seed).permutation(sorted(set(groups))).tolist():
            members = [place for place, group in enumerate(groups) if group == name]
            if len(taken) + len(members) <= most:
                taken += members
        others = sorted(set(range(len(groups))) - set(taken))
        taken_groups, other_groups = ([groups[place] for place in part] for part in (taken, others))
        return self._compare(features[taken], taken_groups, features[others], other_groups)

    def _compare(
        self,
        made: npt.NDArray[np.float32],
        made_groups: Sequence[str],
        real: npt.NDArray[np.float32],
        real_groups: Sequence[str],
    ) -> SetComparison:
        k, draws, seed = self._settings.k, self._settings.draws, self._settings.seed
        return compare_sets(made, real, made_groups=made_groups, real_groups=real_groups, k=k, draws=draws, seed=seed)


def mean_comparison(found: Sequence[SetComparison]) -> SetComparison:
    """Means over the classes in which a figure is defined; numbers of images are added up."""
    return SetComparison(
        sum(one.made for one in found),
        sum(one.real for one in found),
        mean_of([one.precision for one in found]),
        mean_of([one.recall for one in found]),
        mean_of([one.kernel_distance for one in found]),
    )


def _changed(made: GeneratedSamples, *, progress: bool) -> Flags:
    found = np.zeros((len(made.by_strength), len(made.sources)), dtype=bool)
    bar: tqdm[Any] = tqdm(made.sources, desc="comparing", unit="source", disable=not progress, file=sys.stderr)
    for place, source in enumerate(bar):
        image = image_of(source.pixels)
        floor = retake_similarity(image)
        for row, images in enumerate(made.by_strength):
            found[row, place] = is_changed(image_of(images[place]), image, floor)
    return found


def _own_groups(count: int) -> list[str]:
    return [str(number) for number in range(count)]
