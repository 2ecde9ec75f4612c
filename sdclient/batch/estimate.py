"""What a run would take: images, time and disk space; for `sdclient generate --dry-run`."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..client.webui import WebUI
from ..errors import ServerFault
from ..models.generation import Img2ImgRequest
from ..sources.source import Source, guess_native_px, read_photo
from .requests import SourceMask, prepare_request
from .servers import check_server
from .settings import GenerationSettings

if TYPE_CHECKING:
    from .run_file import RunSpec


@dataclass(frozen=True)
class Estimate:
    """Time and disk space for a number of images."""

    images: int
    time_s: float
    disk_bytes: int


def estimate(images: int, seconds_per_image: float, bytes_per_image: float) -> Estimate:
    """Time and disk space for a number of images.

    Raises:
        ValueError: a number is negative or not finite.
    """
    if not all(math.isfinite(figure) and figure >= 0 for figure in (images, seconds_per_image, bytes_per_image)):
        raise ValueError(f"{images} images, {seconds_per_image} s and {bytes_per_image} bytes each: expected 0 or more")
    return Estimate(images, images * seconds_per_image, math.ceil(images * bytes_per_image))


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    images_by_class: dict[str, int]
    """In the order of the sources; without classes that need no image."""
    estimate: Estimate
    disk_free_bytes: int

    @property
    def fits_on_disk(self) -> bool:
        """Whether the images fit into the space that is free now."""
        return self.estimate.disk_bytes <= self.disk_free_bytes


def dry_run(
    owed: Iterable[tuple[Source, int]], *, seconds_per_image: float, bytes_per_image: float, disk_free_bytes: int
) -> DryRun:
    """What it takes to make this number of images of each source; errors as in `estimate`."""
    by_class: dict[str, int] = {}
    for source, count in owed:
        if count:
            by_class[source.class_name] = by_class.get(source.class_name, 0) + count
    return DryRun(by_class, estimate(sum(by_class.values()), seconds_per_image, bytes_per_image), disk_free_bytes)


def disk_free(path: Path) -> int:
    """Free bytes on the disk where `path` is or would be created."""
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def describe_dry_run(webui: WebUI, spec: RunSpec, owed: Sequence[tuple[Source, int]], output: Path) -> dict[str, Any]:
    """What a run would do, for JSON: its configuration, and with at least one source also images, time and disk space.

    The time is measured with a few images of the first source, which are thrown away. `output` need not exist yet.

    Raises:
        WebUIError: the server makes no image.
        SourceError: the first source cannot be read.
    """
    summary: dict[str, Any] = {"configuration": spec.as_dict()}
    if owed:
        source = owed[0][0]
        plain = asdict(spec.parameters_for(source, 1, 0))
        del plain["inpainting"]  # an image takes as long with a mask as without
        settings = GenerationSettings.checked({**plain, "batch_size": spec.batch_size})
        found = dry_run(
            owed,
            seconds_per_image=timed_probe(webui, source, settings),
            bytes_per_image=sum(one.path.stat().st_size for one, _ in owed) / len(owed),
            disk_free_bytes=disk_free(output),
        )
        summary |= {**asdict(found), "fits_on_disk": found.fits_on_disk}
    return summary


def format_dry_run(summary: Mapping[str, Any], url: str) -> str:
    """The text for people of a summary of `describe_dry_run`; `url` is that of the server whose time was measured."""
    lines = [json.dumps(summary["configuration"], ensure_ascii=False, indent=2)]
    lines += [f"{name}: {images} images" for name, images in summary.get("images_by_class", {}).items()]
    if "estimate" in summary:
        taken = summary["estimate"]
        lines.append(
            f"{taken['images']} images, about {taken['time_s'] / 60:.1f} minutes at {url} alone, "
            f"{taken['disk_bytes'] / 2**20:.1f} MiB of {summary['disk_free_bytes'] / 2**20:.0f} MiB free"
        )
    return "\n".join(lines)


def timed_probe(webui: WebUI, source: Source, settings: GenerationSettings) -> float:
    """Seconds per image, measured with one batch of `settings.batch_size` images, which are thrown away.

    Raises:
        SourceError: the source cannot be read.
        WebUIError: the server cannot be reached, or fails.
    """
    server = check_server(webui, [(settings.sampler, settings.scheduler)])
    image = read_photo(source.path)
    chosen = settings.model_copy(update={"native_px": settings.native_px or server.native_px})
    warm_up(webui, image, chosen)
    request = build_probe_request(image, chosen)[0]
    begin = time.perf_counter()
    webui.img2img(request)
    return (time.perf_counter() - begin) / settings.batch_size


def warm_up(webui: WebUI, image: Image.Image, settings: GenerationSettings) -> None:
    """Send a request of one step: a server's first request also loads the model, which must not be measured."""
    try:
        webui.img2img(build_probe_request(image, settings.model_copy(update={"steps": 1, "batch_size": 1}))[0])
    except ServerFault:
        return  # the measured request will fail too, and report it


def build_probe_request(
    image: Image.Image, settings: GenerationSettings, mask: Image.Image | None = None
) -> tuple[Img2ImgRequest, Image.Image, SourceMask | None]:
    """The request for one batch, the source as it is sent, and its mask."""
    return prepare_request(
        image,
        settings.parameters if mask is None else settings.parameters_with(""),
        native_px=guess_native_px(""),
        seed=settings.seed,
        batch_size=settings.batch_size,
        mask=mask,
    )
