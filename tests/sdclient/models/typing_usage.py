"""How users write against the client, for mypy --strict to read (see test_typing.py); it is never run."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sdclient.client import WebUI
from sdclient.infotext import Infotext, embed_infotext, load_infotext, write_infotext
from sdclient.models import (
    VAE,
    ADetailerUnit,
    ControlNetUnit,
    Embeddings,
    ExtrasBatchReply,
    ExtrasBatchRequest,
    ExtrasSingleReply,
    ExtrasSingleRequest,
    GenerationInfo,
    Img2ImgRequest,
    InternalProgress,
    InternalProgressRequest,
    InterrogateRequest,
    Lora,
    NamedImage,
    ScriptInfo,
    Txt2ImgRequest,
    Upscaler,
    alwayson,
)


def from_one_image(webui: WebUI, image: Image.Image) -> list[Image.Image]:
    result = webui.img2img(
        Img2ImgRequest(
            init_images=[image],
            prompt="a scratched pad",
            denoising_strength=0.25,
            sampler_name="DPM++ SDE",
            scheduler="Karras",
            width=512,
            height=512,
            n_iter=4,
            seed=1,
            override_settings={"CLIP_stop_at_last_layers": 2},
        )
    )
    info: GenerationInfo = result.info
    seeds: tuple[int, ...] = info.all_seeds
    assert len(seeds) == len(result.images)
    return [image.pil() for image in result.images]


def from_a_path_with_a_mask(folder: Path) -> Img2ImgRequest:
    return Img2ImgRequest(init_images=[folder / "3.png"], mask=folder / "mask.png", inpainting_fill=1, mask_blur=4)


def from_text_paths_bytes_and_tuples(data: bytes) -> list[Img2ImgRequest]:
    return [
        Img2ImgRequest(init_images=["3.png"]),
        Img2ImgRequest(init_images=[data], batch_size=2, styles=["macro"], script_args=[1, None, "x"]),
        Img2ImgRequest(init_images=(data, Path("3.png"), Image.new("L", (8, 8))), batch_size=3),
    ]


def from_a_list_that_is_at_hand(images: list[Image.Image], paths: list[Path]) -> None:
    Img2ImgRequest(init_images=images)
    Img2ImgRequest(init_images=paths)


def from_words() -> dict[str, object]:
    request = Txt2ImgRequest(
        prompt="a pad", steps=20, cfg_scale=7, enable_hr=True, denoising_strength=0.3, hr_scale=1.5
    )
    return dict(request.payload())


def with_scripts(edges: Image.Image) -> Img2ImgRequest:
    return Img2ImgRequest(
        init_images=[edges],
        alwayson_scripts=alwayson(
            ControlNetUnit(module="canny", model="canny [d14c016b]", image=edges, weight=0.8, control_mode="Balanced"),
            ADetailerUnit(ad_model="face_yolov8n.pt", ad_confidence=0.5, ad_mask_merge_invert="Merge"),
        ),
    )


def finished_images(image: Image.Image, path: Path) -> None:
    ExtrasSingleRequest(image=path, upscaler_1="Lanczos", upscaling_resize=2)
    ExtrasBatchRequest(images=[path, image, b"bytes", NamedImage(name="1.png", data=image)], resize_mode=1)
    InterrogateRequest(image=image)
    InternalProgressRequest(id_task="task(1)")


def lists_of_the_server(
    upscaler: Upscaler, vae: VAE, lora: Lora, embeddings: Embeddings, script: ScriptInfo
) -> list[str | None]:
    vectors: int = sum(embedding.vectors for embedding in embeddings.loaded.values())
    labels = [argument.label for argument in script.args]
    return [upscaler.name, vae.model_name, lora.alias, *labels, str(vectors)]


def replies(single: ExtrasSingleReply, batch: ExtrasBatchReply, progress: InternalProgress) -> list[bytes]:
    share: float | None = progress.progress
    assert share is None or share <= 1
    return [data for data in (single.image, progress.live_preview, *batch.images) if data is not None]


def provenance(path: Path, source: Image.Image) -> bytes:
    again = Img2ImgRequest.from_infotext(path, init_images=[source], seed=2)
    other: Txt2ImgRequest = Txt2ImgRequest.from_infotext("Steps: 20, Sampler: Euler, Seed: 1")
    text: Infotext = load_infotext(path)
    write_infotext(path, text.prompt, path.with_name("copy.png"))
    return embed_infotext(source, again.to_infotext()) + embed_infotext("3.png", str(other.to_infotext()))
