"""Guard against leakage: training must not see validation or test images, not even through generated ones.

Refused: a generated image in val or test; a generated image in training that was made from a file of val or test; the
same decoded pixels in two parts. A warning, refused with --strict: single-coloured images in two parts, and look-alikes
across parts.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.images.decode import to_rgb
from sdcore.images.folders import LabelledImage
from sdcore.messages import Message, message

from ..errors import LeakageError
from ..run_files import NEAR_NAME
from .check import NEAR_BITS
from .dataset import PARTS, Dataset
from .findings import CheckedImage, Finding, find_look_alikes
from .fingerprints import Fingerprint, fingerprint, opened_image_file
from .provenance import GeneratedSet, ProvenanceIndex, ProvenanceTrace, read_parents, recorded_below

_NAMED = 3

Fingerprints = Mapping[Path, Fingerprint]


@dataclass(frozen=True)
class LeakageReport:
    """What the check allowed but the user must know."""

    marked: tuple[LabelledImage, ...]
    """Generated images in `train/`; none was made from a file of val or test."""
    foreign: int
    """How many of them have a parent outside `train/`."""
    single_coloured: int
    """Files of a single colour with an equal file in another part."""
    sources_gone: int
    """Parents outside `train/` whose files are gone or changed: only their recorded hashes could be compared."""


@dataclass(frozen=True)
class _HeldOut:
    by_bytes: Mapping[str, Path]
    by_pixels: Mapping[str, Path]


def check_leakage(dataset: Dataset, sets: Sequence[GeneratedSet], fingerprints: Fingerprints) -> LeakageReport:
    """Refuse everything that would let training see validation or test images.

    The images of `sets` join training, or their sources do as a control. `fingerprints` are of all files of both.

    Raises:
        LeakageError: there is leakage; names the first files, their number and what to do.
        OSError: a file cannot be read.
        GeneratedSetError: a manifest or an export below DATA cannot be read.
    """
    traces = ProvenanceIndex(sets, recorded_below(dataset.root), fingerprints)
    held_paths = [image.path for image in (*dataset.val, *dataset.test)]
    _refuse_generated([traces.of_bytes(path, fingerprints[path].sha256) for path in held_paths])
    in_train = {fingerprints[image.path].sha256 for image in dataset.train}
    held_out = _index(held_paths, fingerprints, in_train)
    gone = sum(_refuse_descendants(one, held_out, in_train) for one in sets)
    by_pixels = [traces.of_pixels(path, fingerprints[path]) for path in held_paths]
    _refuse_generated([None if one is None or is_single_coloured(one.path) else one for one in by_pixels])
    marked, foreign = _marked_in_train(dataset, traces, fingerprints, held_out, in_train)
    parts = {part: [image.path for image in dataset.part(part)] for part in PARTS}
    parts["train"] += [image.path for one in sets for image in one.images]
    return LeakageReport(marked, foreign, refuse_shared_pixels(parts, fingerprints), gone)


def refuse_shared_pixels(parts: Mapping[str, Sequence[Path]], fingerprints: Fingerprints) -> int:
    """Refuse pixels that occur in two parts (part -> its files), under any file name and format.

    Single-coloured images carry no information about a part: they are not refused; the number of those with an equal
    file in another part is returned. Files that cannot be decoded are skipped; reading them for training raises.

    Raises:
        LeakageError: names the first images, each with its copy, and their number.
    """
    same: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for part, paths in parts.items():
        for path in paths:
            if fingerprints[path].error is None:
                same[fingerprints[path].pixel_sha256].append((part, path))
    flat, copies = 0, []
    for files in same.values():
        first_part, first = files[0]
        other = next((path for part, path in files if part != first_part), None)
        if other is None:
            continue
        if is_single_coloured(first):
            flat += len(files)
        else:
            copies.append(f"{first} = {other}")
    if copies:
        raise LeakageError(
            f"{named(copies)}: the same pixels in two of {', '.join(parts)} ({len(copies)} such image(s)), so a "
            "network is judged by what it has seen; remove one of each two, or divide anew with 'trainer split'"
        )
    return flat


def is_single_coloured(path: Path) -> bool:
    """Whether all pixels of a readable image are equal."""
    with opened_image_file(path) as (image, _):
        return len(to_rgb(image).getcolors(maxcolors=1) or ()) == 1


def _refuse_generated(traces: Sequence[ProvenanceTrace | None]) -> None:
    found = [f"{one.path}: a generated image ({one.how})" for one in traces if one is not None]
    if found:
        raise LeakageError(
            f"{named(found)}: {len(found)} of {len(traces)} validation and test images were generated, and judging by "
            "them says nothing about real ones; move them out: generated images belong to training only, by --generated"
        )


def _index(paths: Sequence[Path], fingerprints: Fingerprints, in_train: set[str]) -> _HeldOut:
    """Index val and test; without single-coloured files that train has too, since descending from those is harmless."""
    by_bytes: dict[str, Path] = {}
    by_pixels: dict[str, Path] = {}
    for path in paths:
        one = fingerprints[path]
        if one.error is None and one.sha256 in in_train and is_single_coloured(path):
            continue
        by_bytes.setdefault(one.sha256, path)
        if one.error is None:
            by_pixels.setdefault(one.pixel_sha256, path)
    return _HeldOut(by_bytes, by_pixels)


def _refuse_descendants(generated_set: GeneratedSet, held_out: _HeldOut, in_train: set[str]) -> int:
    """Refuse a set with an image made from a held-out file; return how many parents could not be opened."""
    ancestor_of: dict[str, Path | None] = {}
    gone = 0
    for parent in (parent for image in generated_set.images for parent in image.parents):
        if parent.sha256 in ancestor_of:
            continue
        ancestor_of[parent.sha256] = held_out.by_bytes.get(parent.sha256)
        if ancestor_of[parent.sha256] is None and parent.sha256 not in in_train:
            one = fingerprint(parent.path) if parent.path is not None else None
            if one is None or one.error is not None or one.sha256 != parent.sha256:
                gone += 1
            else:
                ancestor_of[parent.sha256] = _held_ancestor(one, held_out)
    leaks = []
    for image in generated_set.images:
        ancestor = next((found for parent in image.parents if (found := ancestor_of[parent.sha256])), None)
        if ancestor is not None:
            leaks.append(f"{image.path}: made from {ancestor}")
    if leaks:
        raise LeakageError(
            f"{named(leaks)}, which is held out for validation or test ({len(leaks)} of {len(generated_set.images)} "
            f"images of {generated_set.path} are), so training would see what it is judged by; number and generate "
            "from DATA/train only"
        )
    return gone


def _held_ancestor(parent: Fingerprint, held_out: _HeldOut) -> Path | None:
    """The held-out file with the same pixels as a parent outside DATA, or from which that parent was generated."""
    same = held_out.by_pixels.get(parent.pixel_sha256)
    if same is not None and not is_single_coloured(same):
        return same
    return _held_among(read_parents(parent.path) or (), held_out)


def _held_among(parents: Iterable[str], held_out: _HeldOut) -> Path | None:
    return next((held_out.by_bytes[one] for one in parents if one in held_out.by_bytes), None)


def _marked_in_train(
    dataset: Dataset, traces: ProvenanceIndex, fingerprints: Fingerprints, held_out: _HeldOut, in_train: set[str]
) -> tuple[tuple[LabelledImage, ...], int]:
    marked, leaks, unknown, foreign = [], [], [], 0
    for image in dataset.train:
        one = fingerprints[image.path]
        trace = traces.of_bytes(image.path, one.sha256)
        if trace is None:
            trace = traces.of_pixels(image.path, one)
            if trace is None or is_single_coloured(image.path):
                continue
        marked.append(image)
        ancestor = _held_among(trace.parents, held_out)
        if not trace.parents:
            unknown.append(str(image.path))
        elif ancestor is not None:
            leaks.append(f"{image.path}: generated ({trace.how}) from {ancestor}")
        elif not in_train.issuperset(trace.parents):
            foreign += 1
    if leaks:
        raise LeakageError(
            f"{named(leaks)}, which is held out for validation or test ({len(leaks)} such image(s) in "
            f"{dataset.root / 'train'}), so training would see what it is judged by; remove them, and generate from "
            "DATA/train only"
        )
    if unknown:
        raise LeakageError(
            f"{named(unknown)}: generated, since it carries an sdclient text chunk, which names no source "
            f"({len(unknown)} such image(s) in {dataset.root / 'train'}), so it may come from a validation or test "
            "image; remove them, and generate again"
        )
    return tuple(marked), foreign


def named(words: Sequence[str]) -> str:
    """The first three, and "..." where there are more."""
    return "; ".join(words[:_NAMED]) + ("; ..." if len(words) > _NAMED else "")


def leakage_warnings(
    dataset: Dataset, report: LeakageReport, near: Sequence[Finding], unread: Sequence[Path]
) -> list[Message]:
    """A message for each kind of problem that was allowed.

    `near` are look-alikes across parts, `unread` the validation and test files that cannot be decoded.
    """
    train, held_out = str(dataset.root / "train"), len(dataset.val) + len(dataset.test)
    found = []
    if report.marked:
        foreign = (message("foreign_sources", count=report.foreign),) if report.foreign else ()
        found.append(
            message(
                "generated_in_train",
                count=len(report.marked),
                all=len(dataset.train),
                train=train,
                foreign=foreign,
                first=str(report.marked[0].path),
            )
        )
    if report.sources_gone:
        found.append(message("sources_gone", count=report.sources_gone, train=train))
    if report.single_coloured:
        found.append(message("single_coloured", count=report.single_coloured))
    if near:
        found.append(message("look_alikes", count=len(near), all=held_out, first=near[0].files[0], file=NEAR_NAME))
    if unread:
        found.append(message("undecodable", count=len(unread), all=held_out, first=str(unread[0])))
    return found


def refuse_doubtful(dataset: Dataset, report: LeakageReport, near: Sequence[Finding], sheet: Path | None) -> None:
    """Refuse look-alikes (shown by `sheet`, if that page was written) and single-coloured images across parts.

    Raises:
        LeakageError: there are any.
    """
    held_out = len(dataset.val) + len(dataset.test)
    if near:
        see = sheet if sheet is not None else f"'trainer check {dataset.root} --sheet check.html'"
        raise LeakageError(
            f"{dataset.root}: {named([f'{one.files[0]} looks like {one.files[1]}' for one in near])}: {len(near)} of "
            f"{held_out} validation and test images look like one that is trained on, perhaps the same part twice, "
            f"which flatters the score; see {see}, then keep what belongs together in one group of 'trainer split', "
            "or leave out --strict if they are only alike"
        )
    if report.single_coloured:
        raise LeakageError(
            f"{dataset.root}: {report.single_coloured} single-coloured images have a copy in another of train, val "
            "and test; remove them, or leave out --strict, since they say nothing about a part"
        )


def find_look_alikes_across(
    dataset: Dataset, joined: Sequence[GeneratedSet], fingerprints: Fingerprints
) -> tuple[Finding, ...]:
    """Each val or test image that looks like a training image, with the closest one; as in `trainer check`.

    The images of `joined` join training. A finding's files are (held out, training), relative to DATA.
    """
    listed = [(part, image.label, image.path) for part in PARTS for image in dataset.part(part)]
    listed += [("train", image.label, image.path) for one in joined for image in one.images]
    seen = [
        CheckedImage(_relative(path, dataset.root), part, label, fingerprints[path])
        for part, label, path in listed
        if fingerprints[path].error is None
    ]
    found = find_look_alikes(seen, max_distance=NEAR_BITS)
    return tuple(finding for finding in found if finding.kind == "near_across")


def _relative(path: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # on another drive
        return path.resolve().as_posix()
