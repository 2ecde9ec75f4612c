"""The recorded replies of a genuine server, each read into its model without losing anything."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from sdclient import models

KINDS: dict[str, Any] = {
    "get_cmd-flags": models.CmdFlags,
    "get_embeddings": models.Embeddings,
    "get_extensions": tuple[models.Extension, ...],
    "get_face-restorers": tuple[models.FaceRestorer, ...],
    "get_hypernetworks": tuple[models.Hypernetwork, ...],
    "get_latent-upscale-modes": tuple[models.LatentUpscaleMode, ...],
    "get_loras": tuple[models.Lora, ...],
    "get_memory": models.Memory,
    "get_options": models.Options,
    "get_progress": models.Progress,
    "get_prompt-styles": tuple[models.PromptStyle, ...],
    "get_realesrgan-models": tuple[models.RealESRGANModel, ...],
    "get_samplers": tuple[models.Sampler, ...],
    "get_schedulers": tuple[models.Scheduler, ...],
    "get_script-info": tuple[models.ScriptInfo, ...],
    "get_scripts": models.ScriptsList,
    "get_sd-models": tuple[models.SDModel, ...],
    "get_sd-vae": tuple[models.VAE, ...],
    "get_upscalers": tuple[models.Upscaler, ...],
    "post_extra": models.ExtrasSingleReply,
    "post_interrogate": models.InterrogateReply,
    "post_png-info": models.PngInfo,
}
WITHOUT_A_BODY = ("post_interrupt", "post_skip", "post_refresh", "post_reload", "post_unload")


def kind_of(name: str) -> Any:
    """The model of a recording by its file's name; every other POST made images."""
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), models.GenerationReply)


def recorded(folder: Path) -> dict[str, Any]:
    """The body of each recorded reply with status 200, by file name."""
    bodies = {}
    for path in sorted((folder / "replies").glob("*_*.json")):
        reply = json.loads(path.read_text(encoding="utf-8"))
        if reply.get("status") == 200 and not path.stem.startswith(WITHOUT_A_BODY):
            bodies[path.stem] = reply["body"]
    return bodies


def kept(read: Any, sent: Any) -> bool:
    """Whether all that was sent is still there: base64 decoded, JSON in a string read, lists as tuples."""
    if isinstance(read, bytes):
        return read == base64.b64decode(sent.rpartition(",")[2])
    if isinstance(sent, str) and not isinstance(read, str):
        return kept(read, json.loads(sent))
    if isinstance(read, BaseModel):
        held = {**read.__dict__, **(read.model_extra or {})}
        return all(name in held and kept(held[name], value) for name, value in sent.items())
    if isinstance(read, dict):
        return read.keys() == sent.keys() and all(kept(read[name], value) for name, value in sent.items())
    if isinstance(read, list | tuple):
        return len(read) == len(sent) and all(kept(one, other) for one, other in zip(read, sent, strict=True))
    return bool(read == sent)


def test_every_recorded_reply_is_read_without_loss(webui_recordings: Path) -> None:
    bodies = recorded(webui_recordings)
    assert len(bodies) > 50
    lost = [name for name, body in bodies.items() if not kept(TypeAdapter(kind_of(name)).validate_python(body), body)]
    assert not lost


def test_every_kind_of_reply_was_recorded(webui_recordings: Path) -> None:
    names = recorded(webui_recordings)
    assert [start for start in KINDS if not any(name.startswith(start) for name in names)] == []


def test_a_loss_would_be_noticed(webui_recordings: Path) -> None:
    body = recorded(webui_recordings)["post_img2img"]
    read = models.GenerationReply.model_validate(body)
    assert kept(read, body)
    assert not kept(read, {**body, "more": 1})
    assert not kept(read, {**body, "images": body["images"][:1]})
    assert not kept(read, {**body, "info": json.dumps({**json.loads(body["info"]), "steps": 99})})


def test_the_pages_own_calls_are_read_without_loss(webui_recordings: Path) -> None:
    calls = json.loads((webui_recordings / "replies" / "ui_and_auth.json").read_text(encoding="utf-8"))
    progress = models.InternalProgress.model_validate(calls["internal_progress"]["body"])
    assert kept(progress, calls["internal_progress"]["body"])
    assert (progress.active, progress.progress, progress.id_live_preview) == (False, None, -1)
    pending = models.PendingTasks.model_validate(calls["pending"]["body"])
    assert kept(pending, calls["pending"]["body"])
    assert pending.tasks == ()


def test_pictures_come_as_bytes(webui_recordings: Path) -> None:
    bodies = recorded(webui_recordings)
    enlarged = models.ExtrasSingleReply.model_validate(bodies["post_extra_lanczos"])
    assert enlarged.image is not None
    assert enlarged.image.startswith(b"\x89PNG")
    generated = models.GenerationReply.model_validate(bodies["post_txt2img"])
    assert generated.images is not None
    assert [image[:4] for image in generated.images] == [b"\x89PNG"] * 2


def test_a_preview_comes_as_bytes_out_of_its_data_url() -> None:
    preview = "data:image/png;base64," + base64.b64encode(b"image").decode()
    progress = models.InternalProgress.model_validate(
        {"active": True, "queued": False, "completed": False, "progress": 0.5, "live_preview": preview}
    )
    assert progress.live_preview == b"image"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            models.Lora,
            {"name": "pads", "alias": "Pads", "path": "/l/pads.safetensors", "metadata": {"ss_tag_frequency": {}}},
        ),
        (models.SDModule, {"model_name": "ae.safetensors", "filename": "/v/ae.safetensors"}),
        (models.VAE, {"model_name": "v.pt", "filename": "/v/v.pt", "more": 1}),
        (models.Hypernetwork, {"name": "h", "path": None}),
        (models.PromptStyle, {"name": "s", "prompt": "{prompt}, macro", "negative_prompt": None}),
        (models.Extension, {"name": "e", "enabled": True, "commit_date": 1700000000}),
        (models.Embeddings, {"loaded": {"e": {"step": None, "shape": 768, "vectors": 2}}, "skipped": {}}),
        (models.ExtrasBatchReply, {"html_info": "", "images": ["cGljdHVyZQ=="]}),
    ],
)
def test_entries_of_lists_that_were_empty_when_recorded(kind: type[BaseModel], body: dict[str, Any]) -> None:
    """Shapes as the server's source gives them (AUTOMATIC1111 1.10.1, Forge)."""
    assert kept(kind.model_validate(body), body)
