"""Infotext: parsed, formatted, read from and written into files, and turned into request fields and back.

It has three parts; the first two may be absent or have several lines::

    scratched metal surface
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ SDE, Schedule type: Karras, CFG scale: 7.0, Seed: 42, Size: 64x64, ...

A value that holds a comma, a colon or a line break stands in JSON quotes.

Labels and what their absence means are those of AUTOMATIC1111 1.10.1 (modules/infotext_utils.py and its replies).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from PIL import Image
from pydantic import BaseModel, ValidationError

from sdcore.files import write_bytes_atomically
from sdcore.images.decode import ImageInput, image_bytes, image_format, read_image
from sdcore.images.text import EXIF_IFD, PNG_KEYWORD, USER_COMMENT, embed_text

from .errors import BadImage, OutputError, SettingsError, unreadable_as

ENGINE_KEY = "Engine"
"""Setting in infotexts and `extra_generation_params` by which the embedded server names the engine of an image."""

_SETTING = re.compile(r'\s*(\w[\w \-/+]*?):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt: "
_FEWEST_SETTINGS = 3


@dataclass(frozen=True)
class Infotext:
    """Parsed infotext; `str()` gives the text back."""

    prompt: str = ""
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Label in the last line ("Steps", "Sampler", "Schedule type", ...) -> value, in order."""

    def __str__(self) -> str:
        """The text as a WebUI writes it."""
        negative = _NEGATIVE + self.negative_prompt if self.negative_prompt else ""
        settings = ", ".join(f"{label}: {_quote(value)}" for label, value in self.settings.items())
        return "\n".join(part for part in (self.prompt, negative, settings) if part)


def parse_infotext(text: str) -> Infotext:
    """Parse infotext; a last line with fewer than three settings counts as part of the prompt."""
    lines = text.strip().split("\n")
    settings = {name: _unquote(value) for name, value in _SETTING.findall(lines[-1])}
    if len(settings) < _FEWEST_SETTINGS:
        settings = {}
    else:
        lines.pop()
    prompt: list[str] = []
    negative: list[str] | None = None
    for line in lines:
        if negative is None and line.startswith(_NEGATIVE.rstrip()):
            negative = [line[len(_NEGATIVE) :]]
        elif negative is None:
            prompt.append(line)
        else:
            negative.append(line)
    return Infotext("\n".join(prompt), "\n".join(negative or []), settings)


def read_infotext(image: Image.Image) -> str:
    """The infotext of an image (PNG text chunk, or EXIF user comment of JPEG and WebP); "" without one."""
    text = image.info.get(PNG_KEYWORD)
    if isinstance(text, str):
        return text
    exif = image.getexif()
    comment = exif.get_ifd(EXIF_IFD).get(USER_COMMENT)
    return _decode_user_comment(comment, is_big_endian=exif.endian == ">") if isinstance(comment, bytes) else ""


def _decode_user_comment(comment: bytes, *, is_big_endian: bool) -> str:
    """Text of an EXIF UserComment; its first eight bytes name the character set (Exif 2.32, table 9)."""
    charset, body = comment[:8], comment[8:]
    if charset == b"UNICODE\0":
        # WebUIs write big-endian text, other programs the byte order of the block. A little-endian block may hold
        # either; as an infotext is mostly ASCII, whose high byte is 0, the places of the zeros show which.
        is_little = not is_big_endian and body[1::2].count(0) > body[::2].count(0)
        return body.decode("utf-16-le" if is_little else "utf-16-be", errors="replace").rstrip("\0")
    return body.decode("utf-8", errors="replace").rstrip("\0")


def _quote(value: str) -> str:
    if any(mark in value for mark in ",:\n") or value.startswith('"'):
        return json.dumps(value, ensure_ascii=False)
    return value


def _unquote(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except json.JSONDecodeError:
            return value
    return value


InfotextSource: TypeAlias = Infotext | str | Path | bytes | Image.Image
"""Infotext (a str is the text itself), or an image that holds it: a path, a file's bytes or a PIL image."""

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def load_infotext(source: InfotextSource) -> Infotext:
    """The parsed infotext of an image or a text.

    Raises:
        SettingsError: the image holds none, or the text holds no settings ("Steps: 20, Sampler: ...").
        BadImage: the image cannot be read.
    """
    if isinstance(source, Infotext):
        infotext, name = source, "the infotext"
    elif isinstance(source, str):
        infotext, name = parse_infotext(source), "the infotext"
    else:
        name = str(source) if isinstance(source, Path) else "the image"
        with unreadable_as(BadImage):
            image = source if isinstance(source, Image.Image) else read_image(image_bytes(source), name)
        text = read_infotext(image)
        if not text:
            raise SettingsError(
                f"{name}: carries no infotext; expected an image as a WebUI saved it, not one that was edited since"
            )
        infotext = parse_infotext(text)
    if not infotext.settings:
        hint = "; give a file as pathlib.Path" if isinstance(source, str) else ""
        raise SettingsError(f'{name}: holds no settings, only words; expected a line "Steps: 20, Sampler: ..."{hint}')
    return infotext


def embed_infotext(image: ImageInput, text: str | Infotext) -> bytes:
    """The image file's bytes with the infotext, stored as a WebUI does.

    A PNG, JPEG or WebP file keeps its format and its exact pixels; an old infotext is replaced. A PIL image becomes
    PNG.

    Raises:
        SettingsError: the text holds a NUL or a lone surrogate, which such a file cannot hold.
        BadImage: the image cannot be read, has another format, or the text is too long for a JPEG.
    """
    text = str(text)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise SettingsError("the infotext holds a NUL character or a lone surrogate; take it out")
    with unreadable_as(BadImage):
        data = image_bytes(image)
        read_image(data, "the image to write infotext into")  # `embed_text` expects a whole file
        return embed_text(data, text)


def write_infotext(image: ImageInput, text: str | Infotext, path: Path | str | None = None) -> Path:
    """Write the image with the infotext atomically and give the file's path; the format is as of `embed_infotext`.

    Without `path`, the image's own file is replaced; then `image` must be a path.

    Raises:
        SettingsError: no path, a path named for another format, or a text that no image file can hold.
        BadImage: as `embed_infotext`.
        OutputError: the file cannot be written.
    """
    if path is None:
        if not isinstance(image, Path | str):
            raise SettingsError("write_infotext: path is missing; only an image given as a path has a file of its own")
        path = image
    path = Path(path)
    content = embed_infotext(image, text)
    kind = image_format(content)
    if path != image and _FORMATS.get(path.suffix.lower(), kind) != kind:
        raise SettingsError(f"{path}: its name says another format than the image's own, {kind}; name it accordingly")
    try:
        write_bytes_atomically(path, content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


_Kind = Callable[[str], Any]


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_WORDS: Mapping[_Kind, str] = {int: "a whole number", float: "a number", _flag: "True or False", str: "a text"}

_FIELDS: Mapping[str, tuple[str, _Kind]] = {
    "Steps": ("steps", int),
    "Sampler": ("sampler_name", str),
    "Schedule type": ("scheduler", str),
    "CFG scale": ("cfg_scale", float),
    "Image CFG scale": ("image_cfg_scale", float),
    "Seed": ("seed", int),
    "Variation seed": ("subseed", int),
    "Variation seed strength": ("subseed_strength", float),
    "Denoising strength": ("denoising_strength", float),
    "Noise multiplier": ("initial_noise_multiplier", float),
    "Mask blur": ("mask_blur", int),
    "Masked area padding": ("inpaint_full_res_padding", int),
    "Tiling": ("tiling", _flag),
    "Eta": ("eta", float),
    "Sigma churn": ("s_churn", float),
    "Sigma tmin": ("s_tmin", float),
    "Sigma tmax": ("s_tmax", float),
    "Sigma noise": ("s_noise", float),
    "NGMS": ("s_min_uncond", float),
    "Refiner": ("refiner_checkpoint", str),
    "Refiner switch at": ("refiner_switch_at", float),
    "Hires upscale": ("hr_scale", float),
    "Hires steps": ("hr_second_pass_steps", int),
    "Hires upscaler": ("hr_upscaler", str),
    "Hires checkpoint": ("hr_checkpoint_name", str),
    "Hires sampler": ("hr_sampler_name", str),
    "Hires schedule type": ("hr_scheduler", str),
    "Hires prompt": ("hr_prompt", str),
    "Hires negative prompt": ("hr_negative_prompt", str),
}
_SIZES: Mapping[str, tuple[str, str]] = {
    "Size": ("width", "height"),
    "Seed resize from": ("seed_resize_from_w", "seed_resize_from_h"),
    "First pass size": ("firstphase_width", "firstphase_height"),
    "Hires resize": ("hr_resize_x", "hr_resize_y"),
}
_CHOICES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Masked content": ("inpainting_fill", ("fill", "original", "latent noise", "latent nothing")),
    "Mask mode": ("inpainting_mask_invert", ("Inpaint masked", "Inpaint not masked")),
    "Inpaint area": ("inpaint_full_res", ("Whole picture", "Only masked")),
}
_OPTIONS: Mapping[str, tuple[str, _Kind]] = {
    "Clip skip": ("CLIP_stop_at_last_layers", int),
    "ENSD": ("eta_noise_seed_delta", int),
    "VAE": ("sd_vae", str),
    "RNG": ("randn_source", str),
    "Conditional mask weight": ("inpainting_mask_weight", float),
    "Token merging ratio": ("token_merging_ratio", float),
    "Token merging ratio hr": ("token_merging_ratio_hr", float),
    "Emphasis": ("emphasis", str),
    "Face restoration": ("face_restoration_model", str),
}
_MASK_LABELS = ("Mask blur", *_CHOICES)
_MASK_WITHOUT_LABELS = {"mask_blur": 0, "inpainting_fill": 1, "inpainting_mask_invert": 0, "inpaint_full_res": False}
"""Mask settings that a WebUI leaves out of the infotext."""
_HIRES_LABELS = ("Hires upscale", "Hires upscaler", "Hires resize", "First pass size")
_CLIP_SKIP = _OPTIONS["Clip skip"][0]
_CHECKPOINT = "sd_model_checkpoint"
_HASH = re.compile(r"[0-9a-f]{8,64}")

_Request = TypeVar("_Request", bound=BaseModel)


def request_fields(kind: type[_Request], infotext: Infotext, changes: Mapping[str, Any]) -> _Request:
    """The request that an infotext describes, with some fields changed.

    Raises:
        SettingsError: the text holds a value that its field cannot hold.
    """
    wanted = frozenset(kind.model_fields) - changes.keys()
    fields: dict[str, Any] = {"prompt": infotext.prompt, "negative_prompt": infotext.negative_prompt}
    if "enable_hr" in wanted and any(label in infotext.settings for label in _HIRES_LABELS):
        fields["enable_hr"] = True
    if changes.get("mask") is not None or any(label in infotext.settings for label in _MASK_LABELS):
        fields.update(_MASK_WITHOUT_LABELS)
    fields.update(_described(infotext.settings, wanted))
    try:
        return kind(**{name: value for name, value in fields.items() if name in wanted}, **changes)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else ""
        if name in changes:
            raise  # the caller's own value
        label = _labels().get(name, name)
        found = f"{label}: {infotext.settings[label]!r}" if label in infotext.settings else "settings"
        raise SettingsError(f"the infotext's {found} cannot be asked for: {wrong['msg']}") from error


def _described(settings: Mapping[str, str], wanted: frozenset[str]) -> dict[str, Any]:
    """Values of the wanted fields; labels of other fields are not parsed."""
    fields: dict[str, Any] = {}
    options: dict[str, Any] = {_CLIP_SKIP: 1}
    if model := _model(settings):
        options[_CHECKPOINT] = model
    for label, text in settings.items():
        if label in _FIELDS and _FIELDS[label][0] in wanted:
            name, kind = _FIELDS[label]
            fields[name] = _read(label, text, kind, name)
        elif label in _SIZES and wanted.issuperset(_SIZES[label]):
            fields.update(zip(_SIZES[label], _read_size(label, text, _SIZES[label]), strict=True))
        elif label in _CHOICES and _CHOICES[label][0] in wanted:
            name, choices = _CHOICES[label]
            fields[name] = _read_choice(label, text, choices)
        elif label in _OPTIONS and "override_settings" in wanted:
            name, kind = _OPTIONS[label]
            options[name] = _read(label, text, kind, "override_settings")
    if "Face restoration" in settings:
        fields["restore_faces"] = True
    return {**fields, "override_settings": options}


def _read(label: str, text: str, kind: _Kind, field: str) -> Any:
    try:
        return kind(text)
    except (ValueError, KeyError) as error:
        raise SettingsError(
            f"the infotext's {label}: {text!r} is not {_WORDS[kind]}; correct the text, or give {field}=..."
        ) from error


def _read_size(label: str, text: str, fields: tuple[str, str]) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if match is None or (label == "First pass size" and text == "0x0"):  # "0x0": a WebUI from before 2023 chose it
        give = " and ".join(f"{field}=..." for field in fields)
        raise SettingsError(f"the infotext's {label}: {text!r} is not a size such as 512x768; give {give}")
    return int(match[1]), int(match[2])


def _read_choice(label: str, text: str, choices: tuple[str, ...]) -> int:
    if text not in choices:
        raise SettingsError(f"the infotext's {label}: {text!r} is unknown; expected one of {', '.join(choices)}")
    return choices.index(text)


def _model(settings: Mapping[str, str]) -> str:
    """The checkpoint as the option takes it: name and hash, or only one of them."""
    name, short_hash = settings.get("Model", ""), settings.get("Model hash", "")
    return f"{name} [{short_hash}]" if name and short_hash else name or short_hash


def describe_fields(fields: Mapping[str, Any]) -> Infotext:
    """The infotext that a WebUI would write for the fields of a request, as far as labels are known."""
    settings: dict[str, str] = {}
    unused: tuple[str, ...] = ()
    if fields.get("mask") is None:
        unused += ("mask_", "inpaint")
    if not fields.get("enable_hr"):
        unused += ("hr_", "firstphase_")
    if not fields["subseed_strength"]:
        unused += ("subseed",)
    names = [name for name in fields if not name.startswith(unused)]
    given = {name: value for name in names if (value := fields[name]) is not None}
    for label, (name, _) in _FIELDS.items():
        if given.get(name, "") != "":
            settings[label] = str(given[name])
    for label, (across, down) in _SIZES.items():
        size = (given.get(across, 0), given.get(down, 0))
        if min(size) >= 0 and max(size) > 0:
            settings[label] = "{}x{}".format(*size)
    for label, (name, choices) in _CHOICES.items():
        if name in given:
            settings[label] = choices[int(given[name])]
    options = dict(fields["override_settings"] or {})
    if not fields["restore_faces"]:
        options.pop(_OPTIONS["Face restoration"][0], None)
    settings.update(_model_labels(str(options.get(_CHECKPOINT) or "")))
    settings.update({label: str(options[name]) for label, (name, _) in _OPTIONS.items() if name in options})
    return Infotext(fields["prompt"], fields["negative_prompt"], settings)


def _model_labels(checkpoint: str) -> dict[str, str]:
    title = re.fullmatch(r"(.+) \[([0-9a-f]+)\]", checkpoint)
    if title:
        return {"Model hash": title[2], "Model": title[1]}
    if not checkpoint:
        return {}
    return {"Model hash" if _HASH.fullmatch(checkpoint) else "Model": checkpoint}


def _labels() -> dict[str, str]:
    """Label of each field."""
    labels = {name: label for label, (name, _) in (*_FIELDS.items(), *_CHOICES.items())}
    for label, names in _SIZES.items():
        labels.update(dict.fromkeys(names, label))
    return labels
