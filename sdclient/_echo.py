"""What a reply says was used, against what was asked; the server substitutes silently, this does not."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

from .dialects import AUTOMATIC, SDNEXT_AUTOMATIC, SDNEXT_SCHEDULE_IN_INFOTEXT, SDNEXT_SCHEDULE_OPTION
from .errors import BadImage, IncompleteReply, SettingSubstituted
from .infotext import Infotext, parse_infotext
from .models import GenerationInfo, GenerationReply, GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from .photos import upright_size

_SCRIPT_ADVICE = "look at the server's log: the extension is missing a model or failed"


def result_images(request: GenerationRequest, reply: GenerationReply) -> Sequence[bytes]:
    """The images that were asked for, without a grid in front and without extras behind.

    Raises:
        IncompleteReply: fewer images than asked; `all_seeds` is full-length even then, so they are counted.
    """
    asked = request.batch_size * request.n_iter
    images = (reply.images or ())[reply.info.index_of_first_image :]
    if len(images) < asked:
        raise IncompleteReply(
            f"the server sent {len(images)} of {asked} images; it was interrupted or skipped, run the command again",
            asked=asked,
            got=len(images),
        )
    return images[:asked]


def verify_echo(request: GenerationRequest, info: GenerationInfo, images: Sequence[bytes]) -> None:
    """Compare what the server says it used with what was asked.

    Args:
        request: as it was sent, with names in the server's own spelling.
        info: the reply's `info`; its `parameters` only repeats the request and proves nothing.
        images: the result images' bytes.

    Raises:
        SettingSubstituted: the first setting that differs, with both values.
    """
    if request.sampler_name is not None and info.sampler_name != request.sampler_name:
        raise SettingSubstituted("sampler", request.sampler_name, info.sampler_name)
    _verify_schedule(request, info)
    _verify_scripts(request, info)
    _verify_numbers(request, info)
    _verify_seeds(request, info)
    _verify_model(request, info)
    _verify_sizes(request, images)


def _verify_schedule(request: GenerationRequest, info: GenerationInfo) -> None:
    """Look where A1111 tells the schedule, and where SD.Next tells it."""
    if request.scheduler is not None and request.scheduler.casefold() != AUTOMATIC.casefold():
        used = str(info.extra_generation_params.get("Schedule type", AUTOMATIC))
        if used.casefold() != request.scheduler.casefold():
            raise SettingSubstituted("scheduler", request.scheduler, used)
    asked = (request.override_settings or {}).get(SDNEXT_SCHEDULE_OPTION)
    if asked is not None and info.infotexts:
        settings = parse_infotext(info.infotexts[-1]).settings
        used = settings.get(SDNEXT_SCHEDULE_IN_INFOTEXT, SDNEXT_AUTOMATIC)
        if used != asked:
            raise SettingSubstituted("scheduler", asked, used)


def _verify_scripts(request: GenerationRequest, info: GenerationInfo) -> None:
    """ControlNet and ADetailer fail into the server's log alone; what worked stands in the infotext."""
    text = parse_infotext(info.infotexts[-1]) if info.infotexts else Infotext()
    for number, unit in enumerate(_enabled_units(request.alwayson_scripts, "ControlNet")):
        if f"ControlNet {number}" not in text.settings:
            raise SettingSubstituted(f"ControlNet unit {number}", unit.get("model"), None, _SCRIPT_ADVICE)
    if _enabled_units(request.alwayson_scripts, "ADetailer") and "ADetailer model" not in text.settings:
        raise SettingSubstituted("ADetailer", "on", None, _SCRIPT_ADVICE)


def _enabled_units(scripts: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The units of an always-on script that are switched on; ADetailer's first two arguments are no units."""
    arguments = (scripts.get(name) or {}).get("args") or []
    if name == "ADetailer" and arguments[:1] == [False]:
        return []
    units = [argument for argument in arguments if isinstance(argument, dict)]
    return [unit for unit in units if unit.get("enabled", True) and unit.get("ad_model") != "None"]


def _verify_numbers(request: GenerationRequest, info: GenerationInfo) -> None:
    settings = ["steps", "cfg_scale"]
    if isinstance(request, Img2ImgRequest) or (isinstance(request, Txt2ImgRequest) and request.enable_hr):
        settings.append("denoising_strength")
    for setting in settings:
        asked, used = getattr(request, setting), getattr(info, setting)
        if used is None or not math.isclose(asked, used, rel_tol=1e-6, abs_tol=1e-9):
            raise SettingSubstituted(setting.replace("_", " "), asked, used, "its options may limit this setting")


def _verify_seeds(request: GenerationRequest, info: GenerationInfo) -> None:
    if request.seed == -1 or request.subseed_strength:
        return
    asked = tuple(range(request.seed, request.seed + request.batch_size * request.n_iter))
    if info.all_seeds != asked:
        raise SettingSubstituted("seeds", list(asked), list(info.all_seeds), "an extension may change seeds")


def _verify_model(request: GenerationRequest, info: GenerationInfo) -> None:
    asked = (request.override_settings or {}).get("sd_model_checkpoint")
    if asked is None:
        return
    used = {word for word in (info.sd_model_name, info.sd_model_hash) if word}
    if not any(word in str(asked) for word in used):
        raise SettingSubstituted("model", asked, info.sd_model_name)


def _verify_sizes(request: GenerationRequest, images: Sequence[bytes]) -> None:
    """Sizes are as asked; the source's where only its masked area is repainted; the server's after a second pass."""
    if isinstance(request, Txt2ImgRequest) and request.enable_hr:
        return
    expected = {(request.width, request.height)}
    if isinstance(request, Img2ImgRequest) and request.mask is not None and request.inpaint_full_res:
        # With a mask that is blank for it, the server makes the whole picture after all, at the size asked.
        expected |= {_size_of(image) for image in request.init_images if isinstance(image, bytes)}
    for data in images:
        try:
            size = _size_of(data)
        except (UnidentifiedImageError, OSError) as error:
            raise BadImage(f"an image of the reply cannot be read: {error}") from error
        if size not in expected:
            asked = " or ".join("{}x{}".format(*one) for one in sorted(expected))
            raise SettingSubstituted("size", asked, "{}x{}".format(*size))


def _size_of(data: bytes) -> tuple[int, int]:
    """Of the picture as it is shown; the server turns a source upright."""
    with Image.open(io.BytesIO(data)) as image:
        return upright_size(image)
