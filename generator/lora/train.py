"""Train a LoRA, and draw sheets of sample images during the training."""

import io
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from sdcore.files import write_bytes_atomically
from sdcore.optional_imports import import_diffusers
from sdcore.torch_runtime import choose_device

from ..config import DTYPES, LoraSettings, Precision, choose_precision
from ..errors import SettingsError
from . import files
from .base_model import LoadedBase, Prediction, load_base
from .dataset import Captions, TrainingImage, check_classes, encode_all, find_images, fingerprint
from .session import EncodedCaptions, LoraSession, adapter_tensors, add_adapters, check_lengths, encode_texts, run_unet


@dataclass(frozen=True)
class BaseChoice:
    """The base model, and facts that its files do not contain; see `load_base`."""

    path: Path
    tokenizer: Path | None = None
    config: Path | None = None
    prediction: Prediction | None = None


@dataclass(frozen=True)
class LoraOptions:
    """Options that do not change what a training learns."""

    device: str = "auto"
    """One of "auto", "cpu" and "cuda"."""
    half: bool = False
    """Write float16: half the size, rounded weights."""
    restart: bool = False
    """Begin anew, even if an earlier training could be resumed."""
    progress: bool = False
    """Show bars on stderr."""


@dataclass(frozen=True)
class LoraResult:
    """The outcome of a training."""

    output: Path
    family: str
    images: int
    classes: dict[str, int]
    steps: int
    seconds: float
    first_loss: float
    """Mean over the first tenth of the steps."""
    last_loss: float
    """Mean over the last tenth."""
    stopped: bool
    """Whether it was stopped before its end; calling it again resumes it."""


def train_lora(
    data: Path,
    output: Path,
    base: BaseChoice,
    settings: LoraSettings,
    captions: Captions | None = None,
    *,
    options: LoraOptions | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> LoraResult:
    """Adapt a Stable Diffusion to the real images of DATA/<class>/ and write the LoRA file, `<name>.safetensors`.

    The state is kept in `<name>-training/` beside the file. Called again, the training resumes from there with the same
    result as without the interruption (on a CPU equal bit by bit). The base model's file is not changed.
    `should_stop` is called after each step; the training stops when it returns True.

    Raises:
        DataError: the images cannot be used.
        SettingsError: a setting cannot be used, or differs from that of the interrupted training.
        ModelError: the base or the state cannot be used.
        OutOfMemory: the device's memory does not hold a step.
        TrainingDiverged: the loss is no longer a number.
        OSError: a file cannot be written; everything that was saved before is kept.
    """
    rules, options = captions or Captions(), options or LoraOptions()
    folder = files.TrainingFolder(output)
    folder.check(restart=options.restart)
    device = choose_device(options.device)
    precision = choose_precision(settings.precision, device)
    images = find_images(data, rules)
    classes = sorted({image.class_name for image in images})
    check_classes(rules, classes)
    loaded = load_base(
        base.path, tokenizer=base.tokenizer, config=base.config, prediction=base.prediction, dtype=DTYPES[precision]
    )
    check_lengths(loaded, dict.fromkeys(image.caption for image in images))
    identity = {
        **settings.identity(),
        "precision": precision,
        "base": loaded.sha256,
        "prediction": loaded.prediction,
        "data": fingerprint(images),
        "captions": sorted({f"{image.class_name}: {image.caption}" for image in images}),
    }
    resumes = folder.state.exists() and not options.restart
    if resumes:
        _check_same(folder, identity)
    training = _Training(folder, loaded, settings, images, rules, device, precision, options)
    return training.run(identity, resumes=resumes, should_stop=should_stop)


def _check_same(folder: files.TrainingFolder, identity: dict[str, object]) -> None:
    former = files.read_identity(folder.state)
    name = next((name for name in identity if former.get(name) != identity[name]), None)
    if name is not None:
        found, expected = str(identity[name])[:60], str(former.get(name))[:60]
        raise SettingsError(
            f"{folder.path}: this training was started with {name.replace('_', '-')} {expected}, now it is {found}; "
            "give the same, another -o, or --restart to begin anew"
        )


class _Training:
    def __init__(
        self,
        folder: files.TrainingFolder,
        base: LoadedBase,
        settings: LoraSettings,
        images: list[TrainingImage],
        captions: Captions,
        device: torch.device,
        precision: Precision,
        options: LoraOptions,
    ) -> None:
        self._folder, self._base, self._settings, self._images = folder, base, settings, images
        self._device, self._precision, self._options = device, precision, options
        self._size_px = settings.size_px or base.family.native_px
        classes = dict.fromkeys(image.class_name for image in images)
        self._samples = {name: captions.of_class(name) for name in classes}
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_run_file(captions, list(classes))

    def run(self, identity: dict[str, object], *, resumes: bool, should_stop: Callable[[], bool]) -> LoraResult:
        session = self._prepare()
        reached = (
            files.load_state(self._folder.state, session)
            if resumes
            else files.TrainingProgress(0, 0.0, time.time(), ())
        )
        begun, former_s = time.monotonic(), reached.seconds
        batch, stopped = self._settings.batch, False
        initial, hidden = reached.steps * batch, not self._options.progress
        with tqdm(desc="train", unit="image", initial=initial, dynamic_ncols=True, disable=hidden) as bar:
            while not self._is_done(reached):
                loss = session.step(reached.steps)
                seconds = former_s + time.monotonic() - begun
                reached = replace(reached, steps=reached.steps + 1, seconds=seconds, losses=(*reached.losses, loss))
                bar.total = round(batch * self._expected_steps(reached))
                bar.set_postfix(loss=f"{_mean(reached.losses[-50:]):.4f}", refresh=False)
                bar.update(batch)
                stopped = should_stop()
                if stopped or reached.steps % self._settings.save_every == 0:
                    self._save(session, reached, identity)
                if self._settings.sample_every and reached.steps % self._settings.sample_every == 0:
                    sheet = sample_sheet(session, self._samples, size_px=self._size_px, device=self._device)
                    write_bytes_atomically(self._folder.sheet(reached.steps), sheet)
                if stopped:
                    break
        # The state first: if the LoRA file cannot be written, the next start only writes the file.
        self._save(session, reached, identity)
        self._write_file(session, reached)
        tenth = max(1, len(reached.losses) // 10)
        return LoraResult(
            output=self._folder.output,
            family=self._base.family.name,
            images=len(self._images),
            classes=dict(Counter(image.class_name for image in self._images)),
            steps=reached.steps,
            seconds=reached.seconds,
            first_loss=_mean(reached.losses[:tenth]),
            last_loss=_mean(reached.losses[-tenth:]),
            stopped=stopped and not self._is_done(reached),
        )

    def _prepare(self) -> LoraSession:
        settings, base = self._settings, self._base
        cache = encode_all(
            base.vae,
            self._images,
            native_px=self._size_px,
            flips=settings.flips,
            device=self._device,
            progress=self._options.progress,
        )
        add_adapters(base, settings, seed=settings.seed)
        if settings.gradient_checkpointing:
            # Works only in training mode; no network has dropout, so this mode changes nothing else.
            base.unet.train()
            base.unet.enable_gradient_checkpointing()
            for encoder in base.text_encoders if settings.text_encoder else ():
                encoder.train()
                encoder.gradient_checkpointing_enable({"use_reentrant": False})
        return LoraSession(base, settings, self._images, cache, device=self._device, dtype=DTYPES[self._precision])

    def _is_done(self, reached: files.TrainingProgress) -> bool:
        steps, minutes = self._settings.steps, self._settings.minutes
        enough = steps is not None and reached.steps >= steps
        return enough or (minutes is not None and reached.seconds >= 60 * minutes)

    def _expected_steps(self, reached: files.TrainingProgress) -> float:
        """Estimated number of steps of the whole training."""
        ends = [] if self._settings.steps is None else [float(self._settings.steps)]
        if self._settings.minutes is not None:
            ends.append(max(reached.steps, reached.steps * 60 * self._settings.minutes / max(reached.seconds, 1e-9)))
        return min(ends)

    def _save(self, session: LoraSession, reached: files.TrainingProgress, identity: dict[str, object]) -> None:
        files.save_state(self._folder.state, session, reached, identity)
        self._folder.write_log(reached.losses)

    def _write_file(self, session: LoraSession, reached: files.TrainingProgress) -> None:
        base, settings = self._base, self._settings
        dtype = torch.float16 if self._options.half else torch.float32
        tensors: dict[str, torch.Tensor] = {}
        for prefix, model in session.models:
            own = adapter_tensors(model)
            tensors |= files.file_tensors(prefix, own, settings.scale, is_sdxl=base.family.is_sdxl, dtype=dtype)
        name, precision, now = self._folder.name, self._precision, time.time()
        fields = files.metadata_fields(
            name, base, settings, self._images, session.sizes, reached, precision=precision, finished_at=now
        )
        write_bytes_atomically(self._folder.output, files.file_bytes(tensors, fields))


def _mean(losses: tuple[float, ...]) -> float:
    return sum(losses) / len(losses)


_STEPS = 20
_GUIDANCE = 6.0
_LABEL_PX = 24
_SHOWN_PX = 256


def sample_sheet(session: LoraSession, captions: Mapping[str, str], *, size_px: int, device: torch.device) -> bytes:
    """A PNG with one square image of each class, always from the same noise, so that sheets can be compared.

    Deterministic DDIM (arXiv 2010.02502), 20 steps, guidance 6 against the empty caption. The random numbers of the
    session are not used. `size_px` is a multiple of 64.
    """
    base = session.base
    for encoder in base.text_encoders:
        encoder.to(device)
    base.vae.to(device)
    tiles = []
    with torch.no_grad():
        for name, caption in captions.items():
            with session.autocast():
                encoded = encode_texts(base, ["", caption], clip_skip=session.settings.clip_skip)
                latent = _denoise(base, encoded, size_px, device)
            decoded = base.vae.decode(latent.float() / base.vae.config.scaling_factor).sample[0]
            levels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(device="cpu", dtype=torch.uint8)
            tiles.append((name, Image.fromarray(np.asarray(levels.permute(1, 2, 0)))))
    base.vae.to("cpu")
    for encoder in () if session.settings.text_encoder else base.text_encoders:
        encoder.to("cpu")
    return _sheet(tiles)


def _denoise(base: LoadedBase, encoded: EncodedCaptions, size_px: int, device: torch.device) -> torch.Tensor:
    scheduler = import_diffusers().DDIMScheduler.from_config(base.schedule.config, timestep_spacing="trailing")
    scheduler.set_timesteps(_STEPS, device=device)
    noise = torch.randn((1, 4, size_px // 8, size_px // 8), generator=torch.Generator().manual_seed(0))
    latent: torch.Tensor = noise.to(device) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        predictions = run_unet(base, latent.repeat(2, 1, 1, 1), timestep.repeat(2), encoded).float()
        without, with_caption = predictions.chunk(2)
        latent = scheduler.step(without + _GUIDANCE * (with_caption - without), timestep, latent).prev_sample
    return latent


def _sheet(tiles: list[tuple[str, Image.Image]]) -> bytes:
    sheet = Image.new("RGB", (_SHOWN_PX * len(tiles), _SHOWN_PX + _LABEL_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, image) in enumerate(tiles):
        left = number * _SHOWN_PX
        sheet.paste(image.resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.BICUBIC), (left, _LABEL_PX))
        draw.text((left + 4, 6), name.encode("ascii", "replace").decode("ascii"), fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
