"""`trainer explain`: heat maps that show where in an image the evidence for a class is, and the hottest box.

At the last layer before the pooling the class-activation map is exact: its mean over the positions is the score, except
for the bias. But at 64 px that layer has only 2 x 2 positions, so earlier layers are used: the evidence of each is its
activation times its positive gradient, summed over channels (Layer-CAM: Jiang et al., 2021,
doi:10.1109/TIP.2021.3089943), with gradients and activations from captum. The maps of three layers are multiplied.
`bench/pointing.py` compares this with other choices.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from scipy import ndimage
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from sdcore.files import write_bytes_atomically
from sdcore.torch_runtime import choose_device, torch_threads

from ..config import NORMAL
from ..data.transforms import decode, normalise, read_rgb
from ..errors import CheckpointError, SettingsError
from .checkpoints import Checkpoint, find_checkpoint, load_classifier
from .image_list import list_folder

FloatArray = npt.NDArray[np.float64]

ANY_DEFECT = "any defect"
"""What is explained when no class is named: all classes except Normal together."""

COLUMNS = (
    "image", "predicted", "p", "explained", "p_explained", "width", "height",
    "peak_x", "peak_y", "x0", "y0", "x1", "y1", "heat_share", "note",
)  # fmt: skip
"""Columns of explain.csv. In pixels of the upright image; the box has columns x0 to x1 - 1, rows y0 to y1 - 1."""


@dataclass(frozen=True)
class HeatBox:
    """The hottest region of an image, in its pixels."""

    peak_x: int
    peak_y: int
    """The hottest pixel, counted from 0 at the top left."""
    x0: int
    y0: int
    x1: int
    y1: int
    """Columns x0 to x1 - 1 and rows y0 to y1 - 1."""
    share: float
    """Share of all heat inside the box, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image, the classifier's answer, and where in the image it comes from."""

    path: Path
    image: str
    """Relative to the folder, forward slashes."""
    size: tuple[int, int]
    """Width and height in pixels of the upright image, to which `box` refers."""
    predicted: str
    probability: float
    """Of the predicted class."""
    explained: str
    """The class asked for, `ANY_DEFECT`, or without a Normal class the predicted one; "" for nothing."""
    explained_probability: float | None
    """p of the explained class, or 1 - p(Normal)."""
    heat: FloatArray | None
    """(imgsz, imgsz) in [0, 1] over the whole image, 1 at the peak; None when nothing was explained."""
    box: HeatBox | None
    """In pixels of the image."""
    note: str
    """Why there is no box; "" when there is one."""


@dataclass(frozen=True)
class ExplainOptions:
    """What to explain, and how it is computed."""

    class_name: str | None = None
    """Explain this class, in every image; against Normal, or Normal against all others."""
    normal: str = NORMAL
    """The class without defects. Where no class has this name the predicted class is explained."""
    even_normal: bool = False
    """Also explain images predicted Normal: what in them looks most like a defect?"""
    limit: int | None = None
    """Only this many images, from the first on."""
    batch_size: int = 32
    """Images per step."""
    device: str = "auto"
    """"auto", "cpu" or "cuda"."""
    threads: int = 1
    """CPU threads of torch while a batch is computed."""


def explain(
    run: Path, images: Path, options: ExplainOptions | None = None, *, progress: bool = True
) -> Iterator[Explanation]:
    """Explain every image below a folder, one after another; errors in the settings are raised immediately.

    Unless a class is named, the question is "why not Normal?", for all defect classes together. Measurements show that
    this points better than the evidence for the predicted class alone. Images predicted Normal have no box.

    `run` is a run folder or a checkpoint file; `images` is one image, or a folder, searched in natural order.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, not ours, or gives NaN.
        DataError: the folder is missing or has no images, or an image cannot be read.
        SettingsError: an unknown class, a setting out of range, or "cuda" without a GPU.
    """
    options = options or ExplainOptions()
    if options.batch_size < 1:
        raise SettingsError(f"batch_size: found {options.batch_size}; expected 1 or more")
    if options.limit is not None and options.limit < 1:
        raise SettingsError(f"limit: found {options.limit}; expected 1 or more")
    checkpoint_path = find_checkpoint(run)
    root, paths = (images.parent, [images]) if images.is_file() else (images, list_folder(images))
    chosen = choose_device(options.device)
    network, checkpoint = load_classifier(checkpoint_path)
    if options.class_name is not None and options.class_name not in checkpoint.classes:
        raise SettingsError(
            f"class {options.class_name!r} is not among the trained classes; expected one of "
            f"{', '.join(checkpoint.classes)}"
        )
    question = _Question(checkpoint.classes, options.class_name, options.normal, options.even_normal)
    explainer = _Explainer(checkpoint_path, network.to(chosen), checkpoint, chosen, question)
    return _walk(explainer, root, paths[: options.limit], options.batch_size, options.threads, progress=progress)


def write_explanations(path: Path, rows: Iterable[Explanation]) -> None:
    """Write explain.csv atomically, in UTF-8 with a byte order mark for spreadsheet programs.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(explanation_as_row(row) for row in rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig", "surrogateescape"))


def explanation_as_row(found: Explanation) -> dict[str, str | int | float]:
    """The cells of explain.csv; "" where there is no value."""
    box, p = found.box, found.explained_probability
    places = ("peak_x", "peak_y", "x0", "y0", "x1", "y1")
    return {
        "image": found.image,
        "predicted": found.predicted,
        "p": round(found.probability, 6),
        "explained": found.explained,
        "p_explained": "" if p is None else round(p, 6),
        "width": found.size[0],
        "height": found.size[1],
        **{place: getattr(box, place) if box else "" for place in places},
        "heat_share": round(box.share, 4) if box else "",
        "note": found.note,
    }


@dataclass(frozen=True)
class _Question:
    classes: tuple[str, ...]
    class_name: str | None
    normal: str
    even_normal: bool

    def about(self, predicted: int) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
        """What to explain: its name, the classes for it and those against it; None for nothing."""
        everything = range(len(self.classes))
        normal = self.classes.index(self.normal) if self.normal in self.classes else None
        if self.class_name is not None:
            wanted = self.classes.index(self.class_name)
            others = tuple(k for k in everything if k != wanted)
            return self.class_name, (wanted,), others if normal in (None, wanted) else (normal,)
        if normal is None:
            return self.classes[predicted], (predicted,), tuple(k for k in everything if k != predicted)
        if predicted == normal and not self.even_normal:
            return None
        return ANY_DEFECT, tuple(k for k in everything if k != normal), (normal,)


@dataclass(frozen=True, eq=False)
class _Explainer:
    checkpoint_path: Path
    network: nn.Module
    checkpoint: Checkpoint
    device: torch.device
    question: _Question

    def explain_batch(self, root: Path, paths: Sequence[Path]) -> Iterator[Explanation]:
        imgsz = self.checkpoint.imgsz
        images = torch.from_numpy(np.stack([decode(path, imgsz) for path in paths])).to(self.device)
        pixels = normalise(images, self.checkpoint.mean, self.checkpoint.std)
        with torch.no_grad():
            # In double precision, as in `trainer predict`.
            probabilities = torch.softmax(self.network(pixels).double(), dim=1).cpu().numpy()
        if not np.isfinite(probabilities).all():
            words = "its weights give no numbers (nan); train again with a lower --lr"
            raise CheckpointError(f"{self.checkpoint_path}: {words}")
        predicted = probabilities.argmax(axis=1).tolist()
        questions = [self.question.about(k) for k in predicted]
        heat: dict[int, FloatArray] = {}
        for name, wanted, against in dict.fromkeys(question for question in questions if question is not None):
            places = [place for place, question in enumerate(questions) if question == (name, wanted, against)]
            heat.update(zip(places, heat_maps(self.network, pixels[places], wanted, against), strict=True))
        for place, (path, question, row) in enumerate(zip(paths, questions, probabilities, strict=True)):
            size = read_rgb(path).size
            box = find_hot_box(heat[place]) if question else None
            no_box = "no place speaks for it" if question else "predicted to be without a defect"
            yield Explanation(
                path=path,
                image=path.relative_to(root).as_posix(),
                size=size,
                predicted=self.checkpoint.classes[predicted[place]],
                probability=float(row[predicted[place]]),
                explained=question[0] if question else "",
                explained_probability=float(row[list(question[1])].sum()) if question else None,
                heat=heat.get(place),
                box=scale_box(box, size=(imgsz, imgsz), to=size) if box else None,
                note="" if box else no_box,
            )


def _walk(
    explainer: _Explainer, root: Path, paths: Sequence[Path], batch_size: int, threads: int, *, progress: bool
) -> Iterator[Explanation]:
    with tqdm(total=len(paths), desc="explain", unit="image", disable=not progress) as bar:
        for start in range(0, len(paths), batch_size):
            # The whole batch at once: a generator that pauses inside `torch_threads` would leave its setting active.
            with torch_threads(threads):
                found = list(explainer.explain_batch(root, paths[start : start + batch_size]))
            for one in found:
                yield one
                bar.update()


_FUSED_LAYERS = (2, 4, 6)
"""The last block at 1/4, 1/8 and 1/16 of the side; the same indices in all sizes of the model."""

_BLUR = 1 / 32
"""Standard deviation of the final smoothing, as a share of the side."""


def score_against(logits: torch.Tensor, wanted: Sequence[int], against: Sequence[int]) -> torch.Tensor:
    """Log-odds, (N,), of the classes `wanted` against the classes `against`, one or more columns of logits (N, K).

    log sum_w exp(z_w) - log sum_a exp(z_a); for all defects against Normal this is the logit of 1 - p(Normal).
    """
    return logits[:, list(wanted)].logsumexp(dim=1) - logits[:, list(against)].logsumexp(dim=1)


def gradients_and_activations(
    network: nn.Module, layers: Sequence[nn.Module], pixels: torch.Tensor, wanted: Sequence[int], against: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each layer the gradient of `score_against` and the activation, each (N, C, h, w), on the CPU.

    The network is in evaluation mode and gives (N, K) logits for (N, 3, H, W) normalised pixels.
    """

    def score(images: torch.Tensor) -> torch.Tensor:
        return score_against(network(images), wanted, against)

    gradients = LayerGradientXActivation(score, list(layers), multiply_by_inputs=False).attribute(pixels)
    activations = LayerActivation(score, list(layers)).attribute(pixels)
    return [
        (gradient.detach().cpu(), activation.detach().cpu())
        for gradient, activation in zip(gradients, activations, strict=True)
    ]


def heat_maps(
    network: nn.Module, pixels: torch.Tensor, wanted: Sequence[int], against: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Where in each image the evidence for `wanted` and against `against` is, by a network of `load_classifier`.

    From (N, 3, H, W) of `normalise` to (N, H, W) in [0, 1], 1 at the peak; all 0 without evidence for `wanted`.
    """
    stages = list(network.get_submodule("model").children())
    layers = [stages[index] for index in _FUSED_LAYERS]
    found = gradients_and_activations(network, layers, pixels, wanted, against)
    evidence = [(gradient.relu() * activation).sum(dim=1) for gradient, activation in found]
    return fuse_maps(evidence, (pixels.shape[2], pixels.shape[3]))


def fuse_maps(evidence: Sequence[torch.Tensor], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Enlarge the maps of one or more layers, each (N, h, w), to `size` (height, width), multiply and smooth them.

    The result is (N, height, width) in [0, 1].
    """
    fused = torch.ones((len(evidence[0]), *size), dtype=torch.float64)
    for maps in evidence:
        scaled = _scale(maps.double().relu())[:, None]
        fused *= functional.interpolate(scaled, size=size, mode="bilinear", align_corners=False)[:, 0]
    blur = (0.0, _BLUR * size[0], _BLUR * size[1])
    smooth = torch.from_numpy(ndimage.gaussian_filter(fused.numpy(), blur, mode="nearest"))
    result: npt.NDArray[np.float64] = _scale(smooth).numpy()
    return result


def _scale(maps: torch.Tensor) -> torch.Tensor:
    """Each map divided by its maximum; a map of zeros stays 0."""
    highest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > 0, maps / highest, torch.zeros_like(maps))


LEVEL = 0.05
"""The hottest region ends at this share of the peak; chosen on validation images by bench/pointing.py."""


def find_hot_box(heat: npt.ArrayLike, *, level: float = LEVEL) -> HeatBox | None:
    """The box around the region that holds the peak of an (H, W) map.

    The region is every pixel of at least `level`, in (0, 1], times the peak that is connected to it by edges or
    corners. The peak is the hottest pixel, in a plateau its middle, of several equal peaks the first by rows. Negative
    heat counts as 0. None for a map without heat above 0, or with the same heat everywhere.

    Raises:
        ValueError: the map has not two dimensions or has values that are not finite, or `level` is out of range.
    """
    values = np.asarray(heat, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"heat: shape {values.shape}; expected (height, width)")
    if not np.isfinite(values).all():
        raise ValueError("heat: holds values that are not finite")
    if not 0 < level <= 1:
        raise ValueError(f"level: {level}; expected above 0 and at most 1")
    values = np.maximum(values, 0.0)
    highest = float(values.max())
    if highest <= 0 or float(values.min()) == highest:
        return None
    peak_y, peak_x = _middle_of_first_plateau(values == highest)
    regions, _ = ndimage.label(values >= level * highest, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(regions == regions[peak_y, peak_x])
    x0, x1 = int(columns.min()), int(columns.max()) + 1
    y0, y1 = int(rows.min()), int(rows.max()) + 1
    # Scaled first, so that sums of very large or small heat neither overflow nor vanish.
    scaled = values / highest
    return HeatBox(peak_x, peak_y, x0, y0, x1, y1, float(scaled[y0:y1, x0:x1].sum() / scaled.sum()))


def scale_box(box: HeatBox, *, size: tuple[int, int], to: tuple[int, int]) -> HeatBox:
    """The region of a box in an image of `size` (width, height), in an image of size `to`.

    The sides may be scaled differently. The box is rounded outwards, so it is never empty.
    """
    (width, height), (to_width, to_height) = size, to
    return HeatBox(
        peak_x=(2 * box.peak_x + 1) * to_width // (2 * width),
        peak_y=(2 * box.peak_y + 1) * to_height // (2 * height),
        x0=box.x0 * to_width // width,
        y0=box.y0 * to_height // height,
        x1=-(-box.x1 * to_width // width),
        y1=-(-box.y1 * to_height // height),
        share=box.share,
    )


def _middle_of_first_plateau(hottest: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the pixel nearest to the middle of the first plateau."""
    plateaus, _ = ndimage.label(hottest, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(plateaus == plateaus[hottest][0])
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(distance.argmin())
    return int(rows[nearest]), int(columns[nearest])
