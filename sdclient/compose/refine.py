"""Refines the seam of a transplant by a WebUI at a low strength; the defect and the rest of the image stay."""

import io
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageChops

from sdcore.images.decode import LOSSLESS_FORMATS

from ..batch.job_execution import FailureKind, classify_failure, model_name, used_settings
from ..batch.requests import SourceMask, build_request, encode_source, image_to_send, mask_source
from ..batch.servers import check_server
from ..batch.settings import GenerationSettings, Inpainting
from ..client.generation_job import GeneratedImage, GenerationResult
from ..client.webui import WebUI
from ..errors import LossyFormat, WebUIError
from ..infotext import ENGINE_KEY, parse_infotext
from ..manifest.database import GENUINE_ENGINE
from ..models.generation import Img2ImgRequest
from ..output.artifacts import find_artifacts
from ..output.store import GeneratedFile, to_files
from ..sources.source import ImageForm, generation_size, restore_form
from .maker import ENGINE, NotPlaced
from .transplant import border_of

USUAL_STRENGTH = 0.15
TRIES = 3
"""Number of times an image is sent before it is given up."""

_SEAM_PX = 3
"""Repainted outside of the mask's soft edge, px; the soft edge itself and one pixel of the defect come on top."""


class SeamRefiner:
    """Sends each transplant to a WebUI with the border of its mask as the mask.

    The WebUI is checked at once for sampler and scheduler; a `denoising_strength` of about 0.15 fits.

    Raises:
        WebUIError: it is unreachable, or would spoil the run.
    """

    def __init__(self, webui: WebUI, settings: GenerationSettings) -> None:
        self._webui = webui
        self._server = check_server(webui, [(settings.sampler, settings.scheduler)])
        inpainting = Inpainting(
            settings.inpaint_fill, settings.inpaint_area, settings.inpaint_padding, settings.mask_blur, ""
        )
        self._parameters = replace(settings.parameters, inpainting=inpainting)

    @property
    def description(self) -> dict[str, Any]:
        """Everything that changes pixels, for the run's parameters."""
        identity = self._server.identity(self._parameters, 0)
        return {name: value for name, value in identity.items() if name not in {"mask_sha256", "seed"}}

    def refine(self, made: GeneratedFile) -> GeneratedFile | NotPlaced:
        """The image with its seam refined; or, after three tries, the reason why not.

        Raises:
            WebUIError: the server is unreachable, or the same failure would hit every image.
        """
        base, mask = (_decoded(data) for data in (made.data, made.mask or b""))
        ring = _ring(mask)
        inpainting = self._parameters.inpainting
        native_px = self._parameters.native_px or self._server.native_px
        size = generation_size(base.width, base.height, native_px=native_px)
        if inpainting is None:
            raise TypeError("a refiner always has a way of inpainting")
        masked = mask_source(base, ring, inpainting, size)
        sent = image_to_send(base, inpainting, size)
        image_data, mask_data = encode_source(sent), encode_source(masked.sent)
        request = build_request(
            image_data, self._parameters, size=size, seed=made.record.seed, batch_size=1, mask=mask_data
        )
        reason = ""
        for _ in range(TRIES):
            try:
                result = self._webui.img2img(request)
                restored = self._restored(result.images[0], sent, masked, base)
            except WebUIError as error:
                if classify_failure(error) not in (FailureKind.TRY_AGAIN, FailureKind.SMALLER_BATCH):
                    raise
                reason = str(error)
                continue
            if isinstance(restored, Image.Image):
                return self._record(made, restored, ImageChops.lighter(mask, masked.shown), result)
            reason = restored
        return NotPlaced(f"seam not refined: {reason}")

    def _restored(
        self, generated: GeneratedImage, sent: Image.Image, masked: SourceMask, base: Image.Image
    ) -> Image.Image | str:
        """The base image with the result inside the mask; or the reason why the result is spoiled."""
        if generated.format not in LOSSLESS_FORMATS:
            raise LossyFormat(f"{self._webui.url}: sent {generated.format}; set its option samples_format to 'png'")
        image = generated.pil()
        spoiled = find_artifacts(image, sent, masked.sent_box) if image.size == sent.size else None
        return masked.put_back(restore_form(image, ImageForm.of(base))) if spoiled is None else spoiled

    def _record(
        self, made: GeneratedFile, base: Image.Image, mask: Image.Image, result: GenerationResult[Img2ImgRequest]
    ) -> GeneratedFile:
        info, generated = result.info, result.images[0]
        engine = f"{ENGINE}; seam refined by {info.extra_generation_params.get(ENGINE_KEY, GENUINE_ENGINE)}"
        own = parse_infotext(made.record.infotext)
        settings = {**parse_infotext(generated.infotext).settings, **own.settings, ENGINE_KEY: engine}
        record = replace(
            made.record,
            server=self._webui.url,
            model=model_name(info),
            engine=engine,
            asked={**made.record.asked, "refine": self.description},
            used={**made.record.used, "refine": used_settings(info, generated.seed)},
            infotext=str(replace(own, settings=settings)),
        )
        return to_files(record, base, mask)


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _ring(mask: Image.Image) -> Image.Image:
    """The border of a transplant's mask and 3 px outside of it, white."""
    alpha = np.asarray(mask, dtype=np.float32) / np.float32(255)
    border = border_of(alpha)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _SEAM_PX + 1, 2 * _SEAM_PX + 1))
    wide = np.asarray(cv2.dilate(border.astype(np.uint8), kernel), dtype=np.uint8)
    wide[(alpha >= 1) & ~border] = 0
    return Image.fromarray(wide * np.uint8(255))
