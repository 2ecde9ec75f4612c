"""The calls that list what a server has to offer, and that make it look again."""

from __future__ import annotations

from ._calls import Calls
from .models import (
    VAE,
    Embeddings,
    Extension,
    FaceRestorer,
    Hypernetwork,
    LatentUpscaleMode,
    Lora,
    PromptStyle,
    RealESRGANModel,
    Sampler,
    Scheduler,
    ScriptInfo,
    ScriptsList,
    SDModel,
    SDModule,
    Upscaler,
)


class ResourceCalls(Calls):
    """Lists of one server. A list that a server does not have raises `NotFound`."""

    def samplers(self) -> tuple[Sampler, ...]:
        """The samplers the server has."""
        return self._get("/samplers", tuple[Sampler, ...])

    def schedulers(self) -> tuple[Scheduler, ...]:
        """The noise schedules the server lists; `kind.schedulers` also knows those of servers that list none.

        Raises:
            NotFound: a server from before samplers and schedules were apart.
            UnexpectedReply: SD.Next, which lists something else under this name.
        """
        return self._get("/schedulers", tuple[Scheduler, ...])

    def sd_models(self) -> tuple[SDModel, ...]:
        """The checkpoints the server has."""
        return self._get("/sd-models", tuple[SDModel, ...])

    def sd_vaes(self) -> tuple[VAE, ...]:
        """The VAEs the server has.

        Raises:
            NotFound: Forge, which has `sd_modules` instead.
        """
        return self._get("/sd-vae", tuple[VAE, ...])

    def sd_modules(self) -> tuple[SDModule, ...]:
        """The VAEs and text encoders a Forge has.

        Raises:
            NotFound: every other server, which has `sd_vaes` instead.
        """
        return self._get("/sd-modules", tuple[SDModule, ...])

    def upscalers(self) -> tuple[Upscaler, ...]:
        """The upscalers the server has."""
        return self._get("/upscalers", tuple[Upscaler, ...])

    def latent_upscale_modes(self) -> tuple[LatentUpscaleMode, ...]:
        """The upscalers that work before the picture is decoded."""
        return self._get("/latent-upscale-modes", tuple[LatentUpscaleMode, ...])

    def realesrgan_models(self) -> tuple[RealESRGANModel, ...]:
        """The Real-ESRGAN models the server has."""
        return self._get("/realesrgan-models", tuple[RealESRGANModel, ...])

    def face_restorers(self) -> tuple[FaceRestorer, ...]:
        """The face restorers the server has."""
        return self._get("/face-restorers", tuple[FaceRestorer, ...])

    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs the server has."""
        return self._get("/loras", tuple[Lora, ...])

    def embeddings(self) -> Embeddings:
        """The textual-inversion embeddings the server has."""
        return self._get("/embeddings", Embeddings)

    def hypernetworks(self) -> tuple[Hypernetwork, ...]:
        """The hypernetworks the server has."""
        return self._get("/hypernetworks", tuple[Hypernetwork, ...])

    def prompt_styles(self) -> tuple[PromptStyle, ...]:
        """The prompt styles saved on the server."""
        return self._get("/prompt-styles", tuple[PromptStyle, ...])

    def scripts(self) -> ScriptsList:
        """The names of the scripts the server has."""
        return self._get("/scripts", ScriptsList)

    def script_info(self) -> tuple[ScriptInfo, ...]:
        """The scripts and their arguments."""
        return self._get("/script-info", tuple[ScriptInfo, ...])

    def extensions(self) -> tuple[Extension, ...]:
        """The extensions installed on the server."""
        return self._get("/extensions", tuple[Extension, ...])

    def refresh_checkpoints(self) -> None:
        """Make the server look for checkpoints again."""
        self._post("/refresh-checkpoints")

    def refresh_vae(self) -> None:
        """Make the server look for VAEs again."""
        self._post("/refresh-vae")

    def refresh_loras(self) -> None:
        """Make the server look for LoRAs again."""
        self._post("/refresh-loras")

    def refresh_embeddings(self) -> None:
        """Make the server look for embeddings again."""
        self._post("/refresh-embeddings")
