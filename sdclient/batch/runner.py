"""Walks a plan: requests go out ahead, finished images are written while the server works on the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import sizing
from .._images import LOSSLESS_FORMATS, encode_png
from ..client import GenerationResult, WebUI
from ..errors import LossyFormat, SDClientError
from ..manifest import ImageRecord
from ..models import GenerationInfo, Img2ImgRequest
from ..photos import read_photo, sha256_of
from ..sources import Source
from .jobs import Job, PlannedImage, pack_jobs, plan_images
from .server import CheckedServer, check_server
from .settings import GenerationSettings
from .store import OutputStore, open_store

ENGINE_PARAMETER = "Engine"
"""Key in a reply's `extra_generation_params` by which a stand-in says that it is not Stable Diffusion."""
GENUINE_ENGINE = "Stable Diffusion WebUI"
_USED = ("sampler_name", "steps", "cfg_scale", "denoising_strength", "width", "height", "version")


@dataclass(frozen=True)
class Finished:
    """A request's result, and the form its images are to be brought back to."""

    form: sizing.SourceForm
    result: GenerationResult[Img2ImgRequest]


class BatchRunner:
    """Makes the images of a plan that are not there yet.

    Args:
        webui: the server to ask.
        sources_folder: folder of numbered sources; recorded, so that a report can show a source.
        output: folder for the images and their manifest.
        settings: what every image is made with.
        max_in_flight: requests at the server at once: one it works on, the others waiting behind its lock.
    """

    def __init__(
        self,
        webui: WebUI,
        sources_folder: Path,
        output: Path,
        settings: GenerationSettings,
        *,
        max_in_flight: int = 2,
    ) -> None:
        self._webui = webui
        self._sources_folder = sources_folder
        self._output = output
        self._settings = settings
        self._max_in_flight = max_in_flight

    def run(
        self, owed: Sequence[tuple[Source, int]], *, on_start: Callable[[int, int], None] | None = None
    ) -> Iterator[ImageRecord]:
        """Make what is missing; yields each image once its file and its row are in place.

        Args:
            owed: each source and how many images it owes; see `sdclient.plan_csv.match_plan`.
            on_start: called once with (images planned, images missing) before the first request.

        Raises:
            WebUIError: the server failed; images that were already on their way are kept.
            OutputError: the output folder does not belong to this run.
            SourceError: a source cannot be read.
        """
        description = {"parameters": self.server.parameters, "sources": str(self._sources_folder.resolve())}
        with open_store(self._output, description) as store:
            store.repair()
            missing = self._missing(store, owed)
            if on_start is not None:
                on_start(sum(count for _, count in owed), len(missing))
            yield from self._work(store, pack_jobs(missing, self._settings.batch_size))

    @cached_property
    def server(self) -> CheckedServer:
        """What the server's answers make of the settings; asked once, on first use.

        Raises:
            WebUIError: the server is not there, or would spoil the run.
        """
        return check_server(self._webui, self._settings)

    def _missing(self, store: OutputStore, owed: Sequence[tuple[Source, int]]) -> list[PlannedImage]:
        """The planned images that are not made yet, in the plan's order."""
        missing: list[PlannedImage] = []
        for source, count in owed:
            images = plan_images(
                source,
                sha256_of(source.path),
                count,
                run_seed=self._settings.seed,
                parameters=self.server.parameters,
            )
            missing.extend(image for image in images if not store.is_done(image.file, image.key))
        return missing

    def _work(self, store: OutputStore, jobs: Iterator[Job]) -> Iterator[ImageRecord]:
        """Keep `max_in_flight` requests at the server; write a finished one only after the next is on its way."""
        in_flight: deque[tuple[Job, Future[Finished]]] = deque()
        with ThreadPoolExecutor(self._max_in_flight) as pool:

            def send_next() -> None:
                job = next(jobs, None)
                if job is not None:
                    in_flight.append((job, pool.submit(self._generate, job)))

            try:
                for _ in range(self._max_in_flight):
                    send_next()
                while in_flight:
                    finished = in_flight[0][1].result()
                    job, _ = in_flight.popleft()
                    send_next()
                    yield from self._save(store, job, finished)
            except BaseException:
                self._keep_finished(store, in_flight)
                raise

    def _keep_finished(self, store: OutputStore, in_flight: deque[tuple[Job, Future[Finished]]]) -> None:
        """On the way out: drop what has not been sent, keep what the server is making already."""
        for job, future in in_flight:
            if future.cancel():
                continue
            try:
                self._save(store, job, future.result())
            except (SDClientError, OSError):
                continue  # the first error is the one to tell; what is missing is made on the next start

    def _generate(self, job: Job) -> Finished:
        """One request; runs beside the thread that writes."""
        source = job.source
        image = read_photo(source.path)
        form = sizing.SourceForm.of(image)
        width, height = sizing.generation_size(form.width_px, form.height_px, native_px=self.server.native_px)
        settings = self._settings
        request = Img2ImgRequest(
            init_images=(encode_png(sizing.prepare(image, (width, height))),),
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            sampler_name=settings.sampler,
            scheduler=settings.scheduler,
            steps=settings.steps,
            cfg_scale=settings.cfg_scale,
            denoising_strength=settings.denoising_strength,
            seed=job.seed,
            batch_size=len(job.images),
            width=width,
            height=height,
        )
        return Finished(form, self._webui.img2img(request))

    def _save(self, store: OutputStore, job: Job, finished: Finished) -> list[ImageRecord]:
        """Bring the images back to their source's form, write them, and enter them in the manifest."""
        result = finished.result
        engine = str(result.info.extra_generation_params.get(ENGINE_PARAMETER, GENUINE_ENGINE))
        asked = result.request.model_dump(
            mode="json", exclude={"init_images", "mask", "latent_mask", "firstpass_image"}, exclude_none=True
        )
        records = []
        for planned, generated in zip(job.images, result.images, strict=True):
            if generated.format not in LOSSLESS_FORMATS:
                raise LossyFormat(f"{self._webui.url}: sent {generated.format}; set its option samples_format to 'png'")
            image = sizing.restore(generated.pil(), finished.form)
            lineage = {
                "class": planned.source.class_name,
                "source_sha256": planned.source_sha256,
                "key": planned.key,
                "engine": engine,
            }
            sha256 = store.write_png(planned.file, image, infotext=generated.infotext, lineage=lineage)
            records.append(
                ImageRecord(
                    file=planned.file,
                    class_name=planned.source.class_name,
                    source=planned.source.relative,
                    source_sha256=planned.source_sha256,
                    k=planned.k,
                    seed=planned.seed,
                    key=planned.key,
                    sha256=sha256,
                    width=image.width,
                    height=image.height,
                    server=self._webui.url,
                    model=_model_name(result.info),
                    engine=engine,
                    asked={**asked, "seed": planned.seed},
                    used=_used(result.info, generated.seed),
                    infotext=generated.infotext,
                    created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                )
            )
        store.record(records)
        return records


def _model_name(info: GenerationInfo) -> str:
    return " ".join(
        part for part in (info.sd_model_name, f"[{info.sd_model_hash}]" if info.sd_model_hash else "") if part
    )


def _used(info: GenerationInfo, seed: int) -> dict[str, Any]:
    """What the server says it used, for the manifest."""
    used = {name: getattr(info, name) for name in _USED}
    return {**used, "seed": seed, "extra_generation_params": info.extra_generation_params}
