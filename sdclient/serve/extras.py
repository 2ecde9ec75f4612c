"""The calls that enlarge images, their upscalers, and `interrogate`, which has no model here."""

from typing import Any

from fastapi import HTTPException
from PIL import Image

from ..infotext import read_infotext
from ..models.generation import SIZE_MULTIPLE_PX
from .bodies import decode_request_image, encode_image, to_rgb
from .jobs import JobBoard
from .parameters import ServerOptions, check_memory

_TO_SIZE = 1
_LABEL = "extras"


class Extras:
    """Enlarges images; its requests queue with all other jobs."""

    def __init__(self, settings: ServerOptions, board: JobBoard) -> None:
        self._settings, self._board = settings, board

    def single(self, body: Any) -> dict[str, Any]:
        """Reply of `/sdapi/v1/extra-single-image`."""
        source = decode_request_image(body.image)
        with self._board.turn(count=1, label=_LABEL):
            image, html = self._process(source, body)
        return {"html_info": html, "image": image}

    def batch(self, body: Any) -> dict[str, Any]:
        """Reply of `/sdapi/v1/extra-batch-images`; its parameters are those of the last image."""
        sources = [decode_request_image(entry.data) for entry in body.imageList]
        html, images = "", []
        with self._board.turn(count=max(len(sources), 1), label=_LABEL):
            for source in sources:
                image, html = self._process(source, body)
                images.append(image)
        return {"html_info": html, "images": images}

    def _process(self, source: Image.Image, body: Any) -> tuple[str, str]:
        for restorer in ("gfpgan", "codeformer"):
            if getattr(body, f"{restorer}_visibility") > 0:
                raise RuntimeError(f"no face restorer here: {restorer}_visibility must be 0")
        image, parameters = _upscaled(to_rgb(source, str(self._settings["img2img_background_color"])), body)
        text = ", ".join(f"{name}: {value}" for name, value in parameters.items())
        extra = {"postprocessing": text}
        return encode_image(
            image, read_infotext(source), self._settings.snapshot(), extra_texts=extra
        ), f"<p>{text}</p>"


def _upscaled(image: Image.Image, body: Any) -> tuple[Image.Image, dict[str, Any]]:
    """The enlarged image, and the parameters that describe the enlargement."""
    first, second = find_upscaler(body.upscaler_1), find_upscaler(body.upscaler_2)
    parameters: dict[str, Any] = {}
    if first is None:
        return image, parameters
    enlarged = _enlarged(image, first, body, parameters)
    parameters["Postprocess upscaler"] = body.upscaler_1
    share = body.extras_upscaler_2_visibility
    if second is not None and share > 0:
        enlarged = Image.blend(enlarged, _enlarged(image, second, body, parameters), share)
        parameters["Postprocess upscaler 2"] = body.upscaler_2
    return enlarged, parameters


def _enlarged(image: Image.Image, resampling: Image.Resampling, body: Any, parameters: dict[str, Any]) -> Image.Image:
    width, height = body.upscaling_resize_w, body.upscaling_resize_h
    to_size = body.resize_mode == _TO_SIZE
    factor = max(width / image.width, height / image.height) if to_size else body.upscaling_resize
    if to_size:
        parameters["Postprocess upscale to"] = f"{width}x{height}"
        check_memory(1, width, height)
    else:
        parameters["Postprocess upscale by"] = factor
    check_memory(1, *target_size(image.size, factor))
    enlarged = upscale_by(image, resampling, factor)
    if to_size and body.upscaling_crop:
        # Black fills what rounding to multiples of 8 px left too small, as in the genuine server.
        cropped = Image.new("RGB", (width, height))
        cropped.paste(enlarged, (width // 2 - enlarged.width // 2, height // 2 - enlarged.height // 2))
        parameters["Postprocess crop to"] = f"{width}x{height}"
        return cropped
    return enlarged


def interrogate(body: Any) -> dict[str, str]:
    """Reply of `/sdapi/v1/interrogate`: that of a WebUI whose model cannot be loaded.

    Raises:
        HTTPException: 404, an unknown model.
        RuntimeError: the model is deepdanbooru, which cannot be loaded.
    """
    decode_request_image(body.image)
    if body.model == "clip":
        return {"caption": "<error>"}
    if body.model == "deepdanbooru":
        raise RuntimeError("deepdanbooru cannot be loaded: this server has no models")
    raise HTTPException(404, "Model not found")


NONE = "None"
"""The upscaler that does nothing."""

_RESAMPLING = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
_LATENT = {
    "Latent": Image.Resampling.BILINEAR,
    "Latent (antialiased)": Image.Resampling.BILINEAR,
    "Latent (bicubic)": Image.Resampling.BICUBIC,
    "Latent (bicubic antialiased)": Image.Resampling.BICUBIC,
    "Latent (nearest)": Image.Resampling.NEAREST,
    "Latent (nearest-exact)": Image.Resampling.NEAREST,
}
"""A WebUI does these in latent space; here they work on pixels."""
_MOST_PASSES = 3


def upscalers() -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/upscalers`."""
    without_file = {"model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
    return [{"name": name, **without_file} for name in (NONE, *_RESAMPLING)]


def latent_upscale_modes() -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/latent-upscale-modes`."""
    return [{"name": name} for name in _LATENT]


def find_upscaler(name: str) -> Image.Resampling | None:
    """The resampling of an upscaler; None for the upscaler that does nothing.

    Raises:
        AssertionError: there is no such upscaler; the type is the WebUI's.
    """
    if name == NONE:
        return None
    if name not in _RESAMPLING:
        raise AssertionError(f"could not find upscaler named {name}")
    return _RESAMPLING[name]


def find_second_pass_upscaler(name: str | None) -> Image.Resampling:
    """The resampling of txt2img's second pass; without a name that of "Latent".

    Raises:
        Exception: there is no such upscaler; the type is the WebUI's.
    """
    found = {**_RESAMPLING, **_LATENT, NONE: Image.Resampling.LANCZOS}.get(name or "Latent")
    if found is None:
        raise Exception(f"could not find upscaler named {name}")
    return found


def upscale_by(image: Image.Image, resampling: Image.Resampling, factor: float) -> Image.Image:
    """Enlarge as the WebUI does: to multiples of 8 px, in up to three passes, with Lanczos for the rest."""
    width, height = target_size(image.size, factor)
    for _ in range(_MOST_PASSES):
        if image.width >= width and image.height >= height and factor != 1:
            break
        before = image.size
        image = image.resize((int(image.width * factor), int(image.height * factor)), resampling)
        if image.size == before:
            break
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def target_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Size after enlarging by a factor: rounded down to multiples of 8 px.

    Raises:
        ValueError: nothing would be left.
    """
    width, height = (int((side * factor) // SIZE_MULTIPLE_PX * SIZE_MULTIPLE_PX) for side in size)
    if min(width, height) <= 0:
        raise ValueError("height and width must be > 0")
    return width, height
