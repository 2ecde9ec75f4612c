"""Prepares each source and its mask once, and builds the request for each job.

The mask that is sent is black and white and a little larger than the area that will change: a latent diffusion model
repaints whole cells of 8 x 8 px, those that are more than half white, so a thin mask would have no effect. The blending
is done here, at the source's resolution: where the feathered mask is 0, the pixel is the source's own.

A model also shifts the tone of an image a little. The shift is measured along the feather, where result and source
should be equal (median of the difference, for R, G and B), and is removed before the result is blended in.
"""

from __future__ import annotations

import hashlib
import math
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, TypeAlias

from PIL import Image, ImageChops

from sdcore.files import sha256_of
from sdcore.images.decode import image_format, to_8_bit, to_png
from sdcore.images.text import PngFile

from ..client.generation_job import new_task_id
from ..errors import MaskError, SourceError, UnreadableImage
from ..masks.mask import SourceMasks, box_of, composite, encode_mask, grow_and_feather
from ..models.generation import Img2ImgRequest
from ..output.artifacts import PixelBox
from ..sources.source import SENT_MODE, ImageForm, Source, fit_to_model, generation_size, image_size, read_photo
from .jobs import Job
from .settings import ImageParameters, InpaintFill, Inpainting

_QUICK_PNG = 1
"""zlib level."""
_FILL_NUMBERS: dict[InpaintFill, int] = {"fill": 0, "original": 1, "latent-noise": 2, "latent-nothing": 3}


def prepare_request(
    image: Image.Image,
    parameters: ImageParameters,
    *,
    native_px: int,
    seed: int,
    batch_size: int,
    task_id: str | None = None,
    mask: Image.Image | None = None,
) -> tuple[Img2ImgRequest, Image.Image, SourceMask | None]:
    """The request for `batch_size` images of one source, the source as it is sent, and its mask; see `build_request`.

    `native_px` is used if `parameters` have none, `mask` (mode "L", of the source's size) only with inpainting.
    """
    size = generation_size(image.width, image.height, native_px=parameters.native_px or native_px)
    source_mask, prepared = None, fit_to_model(image, size)
    if mask is not None and (inpainting := parameters.inpainting) is not None:
        source_mask, prepared = mask_source(image, mask, inpainting, size), image_to_send(image, inpainting, size)
    request = build_request(
        encode_source(prepared),
        parameters,
        size=size,
        seed=seed,
        batch_size=batch_size,
        task_id=task_id,
        mask=None if source_mask is None else encode_source(source_mask.sent),
    )
    return request, prepared, source_mask


def encode_source(prepared: Image.Image) -> bytes:
    """The PNG file of a source that is sent; compressed fast, because it is read only once."""
    return to_png(prepared, level=_QUICK_PNG, strategy=zlib.Z_RLE)


def build_request(
    data: bytes,
    parameters: ImageParameters,
    *,
    size: tuple[int, int],
    seed: int,
    batch_size: int,
    task_id: str | None = None,
    mask: bytes | None = None,
) -> Img2ImgRequest:
    """The request for `batch_size` images of a source, the first one with `seed`, each further one with the next seed.

    `data` is the source, a PNG file of the generation `size`: (width, height), px. `mask` is a PNG file as large as
    `data`, white where to repaint; it needs `parameters.inpainting`. With the area "masked", both have the source's own
    size: the server cuts out and enlarges the area that it repaints.
    """
    inpainting_fields: dict[str, Any] = {}
    if (inpainting := parameters.inpainting) is not None and mask is not None:
        inpainting_fields = {
            "mask": mask,
            # We blend ourselves, at the source's resolution; the server's blur would blend a second time.
            "mask_blur": 0,
            "inpainting_fill": _FILL_NUMBERS[inpainting.inpaint_fill],
            "inpaint_full_res": inpainting.inpaint_area == "masked",
            "inpaint_full_res_padding": inpainting.inpaint_padding,
        }
    return Img2ImgRequest(
        init_images=(data,),
        prompt=parameters.prompt,
        negative_prompt=parameters.negative_prompt,
        sampler_name=parameters.sampler,
        scheduler=parameters.scheduler,
        steps=parameters.steps,
        cfg_scale=parameters.cfg_scale,
        denoising_strength=parameters.denoising_strength,
        seed=seed,
        batch_size=batch_size,
        width=size[0],
        height=size[1],
        force_task_id=task_id,
        **inpainting_fields,
    )


_LARGEST_DRIFT_LEVELS = 32
"""With a larger difference along the feather, result and source show different content there; nothing is shifted."""
_LATENT_MARGIN_PX = 6
"""In px of the generated image: one pixel grown by this margin covers more than half of some cell of 8 x 8 px."""


@dataclass(frozen=True)
class SourceMask:
    """The mask of a source, prepared for one `Inpainting`."""

    shown: Image.Image
    """Mode "L", of the source's size: the weight of the repainted image when it is blended in."""
    sent: Image.Image
    """Mode "L", black and white, of the size of the source as it is sent."""
    kept: Image.Image
    """The source's own pixels, in the form results have."""

    @cached_property
    def data(self) -> bytes:
        """`shown` as a PNG file."""
        return encode_mask(self.shown)

    @cached_property
    def sha256(self) -> str:
        """Of `data`."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def sent_box(self) -> PixelBox:
        """Box around the repainted area, in px of the source as it is sent."""
        return box_of(self.sent)

    def put_back(self, restored: Image.Image) -> Image.Image:
        """Blend a result of the source's size into the source; where the mask is 0, the source's own pixels stay."""
        return composite(self.kept, _without_drift(restored, self.kept, self.shown), self.shown)


def mask_source(photo: Image.Image, mask: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> SourceMask:
    """Prepare the mask of a source; `mask` has mode "L" and the size of `photo`, upright. It is generated at `size`."""
    shown = soften(mask, inpainting.mask_blur)
    white = shown.point([0] + [255] * 255)
    sent_size = shown.size if inpainting.inpaint_area == "masked" else size
    magnification = _magnification(white, inpainting, size)
    grown = grow_and_feather(white, grow_px=math.ceil(_LATENT_MARGIN_PX / magnification), feather_px=0)
    sent = grown.resize(sent_size, Image.Resampling.BOX).point([0] + [255] * 255)
    return SourceMask(shown, sent, to_8_bit(photo))


def image_to_send(photo: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> Image.Image:
    """The upright source as it is sent with a mask; in its own size if the server cuts out the masked area."""
    return fit_to_model(photo, photo.size if inpainting.inpaint_area == "masked" else size)


def soften(mask: Image.Image, blur_px: int) -> Image.Image:
    """The mask with a ramp of at least `blur_px` around its white area; no pixel gets darker."""
    white = mask.point([0] * 255 + [255])
    return ImageChops.lighter(mask, grow_and_feather(white, grow_px=0, feather_px=blur_px))


def _without_drift(restored: Image.Image, kept: Image.Image, shown: Image.Image) -> Image.Image:
    """The result, its tone shifted so that it equals the source's along the feather."""
    feather = shown.point([0] + [255] * 254 + [0])
    drifts = [_median_difference(made, own, feather) for made, own in zip(restored.split(), kept.split(), strict=True)]
    if not any(drifts) or max(map(abs, drifts)) > _LARGEST_DRIFT_LEVELS:
        return restored
    return restored.point([min(255, max(0, level - drift)) for drift in drifts for level in range(256)])


def _median_difference(one: Image.Image, other: Image.Image, where: Image.Image) -> int:
    """Median of `one` - `other` over the white pixels of a mask, in levels; 0 for an empty mask."""
    above = ImageChops.subtract(one, other).histogram(where)
    below = ImageChops.subtract(other, one).histogram(where)
    # `subtract` stops at 0, so each histogram counts the pixels of the other sign as 0.
    equal = sum(above) - sum(above[1:]) - sum(below[1:])
    counts = [*reversed(below[1:]), equal, *above[1:]]
    half, total = sum(counts) / 2, 0
    for difference, count in enumerate(counts, start=-255):
        total += count
        if count and total >= half:
            return difference
    return 0


def _magnification(white: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> float:
    """Scale from px of the source to px of the generated image."""
    if inpainting.inpaint_area == "whole":
        return min(size[0] / white.width, size[1] / white.height)
    left, top, right, bottom = box_of(white)
    context = 2 * inpainting.inpaint_padding
    cut = min(right - left + context, white.width), min(bottom - top + context, white.height)
    return min(size[0] / cut[0], size[1] / cut[1])


_SOURCES_KEPT = 8
_PIXELS_KEPT = 2**25
_SIZES_KEPT = 1024


@dataclass(frozen=True)
class PreparedSource:
    """A source as it is sent."""

    image: Image.Image
    data: bytes
    """The same as a PNG file."""
    form: ImageForm
    """Size and mode that its results are brought back to."""
    mask: SourceMask | None = None
    """None: the whole image is generated anew."""
    mask_data: bytes | None = None
    """The mask as it is sent, a PNG file."""


_SourceKey: TypeAlias = "tuple[Source, str, tuple[int, int], Inpainting | None]"
"""Source, sha256 of its file's bytes, size to generate at, inpainting."""


@dataclass(frozen=True)
class PreparedJob:
    """A job that is ready to be sent."""

    job: Job
    source: PreparedSource
    request: Img2ImgRequest
    task_id: str
    """The job's name at the server."""


class SourceReader(Protocol):
    """Reads the images of sources: from this machine's disk, or from another machine.

    `sha256` is that of the file's bytes. Every method raises `SourceError`, for a mask `MaskError`, if the file cannot
    be read or is another one now.
    """

    def size(self, source: Source) -> tuple[int, int]:
        """(width, height) of the upright image, px."""

    def photo(self, source: Source, sha256: str) -> Image.Image:
        """The upright image."""

    def file_bytes(self, source: Source, sha256: str) -> bytes:
        """The whole file."""

    def mask(self, source: Source, sha256: str) -> Image.Image:
        """Its mask, mode "L"."""


class SourcesOnDisk:
    """The sources and masks of a run, on this machine."""

    def __init__(self, masks: SourceMasks | None = None) -> None:
        self._masks = masks
        self._size_of_file = lru_cache(_SIZES_KEPT)(image_size)

    def size(self, source: Source) -> tuple[int, int]:
        """See `SourceReader`; reads the file's header alone."""
        return self._size_of_file(source.path)

    def photo(self, source: Source, sha256: str) -> Image.Image:
        """See `SourceReader`."""
        photo = read_photo(source.path)
        _check_unchanged(source, sha256, sha256_of(source.path))
        return photo

    def file_bytes(self, source: Source, sha256: str) -> bytes:
        """See `SourceReader`."""
        data = source.path.read_bytes()
        _check_unchanged(source, sha256, hashlib.sha256(data).hexdigest())
        return data

    def mask(self, source: Source, sha256: str) -> Image.Image:
        """See `SourceReader`."""
        return self._masks_of(source).read(source, sha256)

    def mask_bytes(self, source: Source, sha256: str) -> bytes:
        """The whole file of its mask; errors as in `mask`."""
        return self._masks_of(source).data(source, sha256)

    def _masks_of(self, source: Source) -> SourceMasks:
        if self._masks is None:
            raise MaskError(f"{source.relative}: its images have a mask, but the run was given none")
        return self._masks


def _check_unchanged(source: Source, planned_sha256: str, sha256: str) -> None:
    if sha256 != planned_sha256:
        text = "changed during the run; restore the former file, or use a new output folder"
        raise SourceError(f"{source.path}: {text}")


class RequestPreparer:
    """Prepares jobs; many threads may call it. `native_px` is used if a job's parameters have none."""

    def __init__(self, native_px: int, sources: SourceReader) -> None:
        self._native_px = native_px
        self._sources = sources
        self._preparing = threading.Lock()  # guards `_kept`, and lets one thread at a time read and encode
        self._kept: OrderedDict[_SourceKey, PreparedSource] = OrderedDict()

    def size_of(self, job: Job) -> tuple[int, int]:
        """The (width, height) a job generates at, px; errors as in `SourceReader.size`."""
        return generation_size(*self._sources.size(job.source), native_px=job.parameters.native_px or self._native_px)

    def prepare(self, job: Job) -> PreparedJob:
        """Read and encode what a job needs.

        Raises:
            SourceError: the source cannot be read, or has changed since the plan was made.
            MaskError: the same for its mask.
            OSError: the same, from the system.
        """
        size = self.size_of(job)
        # Jobs of one source follow each other. While one thread encodes the source, the others wait and then reuse it.
        with self._preparing:
            source = self._source(job, size)
        task_id, count = new_task_id(), len(job.images)
        request = build_request(
            source.data,
            job.parameters,
            size=size,
            seed=job.seed,
            batch_size=count,
            task_id=task_id,
            mask=source.mask_data,
        )
        return PreparedJob(job, source, request, task_id)

    def _source(self, job: Job, size: tuple[int, int]) -> PreparedSource:
        sha256 = job.images[0].source_sha256
        inpainting = job.parameters.inpainting
        key = (job.source, sha256, size, inpainting)
        found = self._kept.get(key)
        if found is None:
            photo = self._sources.photo(job.source, sha256)
            if inpainting is None:
                image = fit_to_model(photo, size)
                data = self._own_file(job.source, sha256) if photo.size == size else None
                found = PreparedSource(image, data or encode_source(image), ImageForm.of(photo))
            else:
                found = self._masked(job, photo, inpainting, size)
            self._kept[key] = found
            while len(self._kept) > 1 and (len(self._kept) > _SOURCES_KEPT or self._pixels_kept() > _PIXELS_KEPT):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found

    def _own_file(self, source: Source, sha256: str) -> bytes | None:
        """A source's own file if it is a PNG with exactly the pixels to be sent; else None."""
        data = self._sources.file_bytes(source, sha256)
        if image_format(data) != "PNG":
            return None
        try:
            return data if PngFile(data).plain_mode == SENT_MODE else None
        except UnreadableImage:  # damaged, although Pillow could read it; a server may not
            return None

    def _masked(self, job: Job, photo: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> PreparedSource:
        mask = mask_source(photo, self._sources.mask(job.source, inpainting.mask_sha256), inpainting, size)
        image = image_to_send(photo, inpainting, size)
        return PreparedSource(image, encode_source(image), ImageForm.of(photo), mask, encode_source(mask.sent))

    def _pixels_kept(self) -> int:
        return sum(source.image.width * source.image.height for source in self._kept.values())
