"""img2img and txt2img: seeds, batches, sampler names, masks, and what the reply tells."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.batch import BatchRunner, GenerationSettings
from sdclient.client import GeneratedImage
from sdclient.client.dialects import Product
from sdclient.errors import LossyFormat, UnknownSetting
from sdclient.models import Img2ImgRequest, Txt2ImgRequest
from tests.support.live import Live, if_there, picture

SAME_LEVELS = 4.0
"""Mean difference under which two pictures count as one seed's: the same seed is not exact to the byte."""


def pixels(image: GeneratedImage | Image.Image) -> np.ndarray:
    shown = image if isinstance(image, Image.Image) else image.pil()
    return np.asarray(shown.convert("RGB")).astype(float)


def difference(one: GeneratedImage | Image.Image, two: GeneratedImage | Image.Image) -> float:
    return float(np.abs(pixels(one) - pixels(two)).mean())


def test_an_image_comes_in_the_size_asked_and_without_loss(live: Live) -> None:
    (image,) = live.webui.img2img(live.request()).images
    assert image.pil().size == (live.size_px, live.size_px)
    assert image.format == "PNG"
    assert image.seed == 1234


def test_a_seed_gives_its_picture_again_and_another_seed_another(live: Live) -> None:
    (first,) = live.webui.img2img(live.request()).images
    (again,) = live.webui.img2img(live.request()).images
    (other,) = live.webui.img2img(live.request(seed=99)).images
    assert difference(first, again) < SAME_LEVELS
    assert difference(first, other) > difference(first, again)


def test_a_drawn_seed_is_told(live: Live) -> None:
    (image,) = live.webui.img2img(live.request(seed=-1)).images
    assert image.seed >= 0


def test_batches_have_consecutive_seeds(live: Live) -> None:
    result = live.webui.img2img(live.request(batch_size=2, n_iter=2))
    assert [image.seed for image in result.images] == [1234, 1235, 1236, 1237]
    assert difference(result.images[0], result.images[1]) > 0


@pytest.mark.parametrize("name", ["DPM++ SDE Karras", "DPM++ 2M Karras"])
def test_an_old_joint_sampler_name_is_understood(live: Live, name: str) -> None:
    try:
        sampler, _ = live.webui.dialect.resolve(name, None)
    except UnknownSetting as error:
        pytest.skip(f"this server has no such sampler: {error}")
    result = live.webui.img2img(live.request(sampler_name=name))
    assert result.info.sampler_name == sampler


def test_a_sampler_it_lacks_is_refused_before_sending(live: Live) -> None:
    with pytest.raises(UnknownSetting, match=r"near names|lists none"):
        live.webui.img2img(live.request(sampler_name="DPM-- SDE"))


def test_what_was_used_is_told_and_can_be_asked_for_again(live: Live) -> None:
    sampler = live.webui.samplers()[0].name
    request = live.request(sampler_name=sampler, cfg_scale=5.5, negative_prompt="blurry")
    result = live.webui.img2img(request)
    info = result.info
    assert (info.steps, info.cfg_scale, info.denoising_strength) == (4, 5.5, 0.5)
    assert info.sd_model_name or info.sd_model_hash
    (image,) = result.images
    again = Img2ImgRequest.from_infotext(image.data, init_images=[picture(live.size_px)])
    assert (again.seed, again.steps, again.cfg_scale) == (1234, 4, 5.5)
    assert (again.prompt, again.negative_prompt) == (request.prompt, "blurry")


def test_a_mask_says_where(live: Live) -> None:
    mask = Image.new("L", (live.size_px, live.size_px), 0)
    half = live.size_px // 2
    mask.paste(255, (half, 0, live.size_px, live.size_px))
    request = live.request(mask=mask, mask_blur=0, inpaint_full_res=False, inpainting_fill=1, denoising_strength=0.75)
    (image,) = live.webui.img2img(request).images
    change = np.abs(pixels(image) - pixels(picture(live.size_px))).mean(axis=2)
    inside, outside = change[:, half:].mean(), change[:, :half].max()
    assert inside > 1
    if live.webui.kind.product is Product.SDNEXT:
        assert change[:, :half].mean() < inside / 4
    else:
        assert outside == 0


def test_a_lossy_format_is_seen_and_refused_by_a_batch(live: Live, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("lossy")
    with live.changed(samples_format="jpg"):
        (image,) = live.webui.img2img(live.request()).images
        assert image.format == "JPEG"
        runner = BatchRunner(live.webui, folder, folder / "out", GenerationSettings(native_px=64))
        with pytest.raises(LossyFormat, match="samples_format"):
            list(runner.run([]))


def test_txt2img_makes_an_image(live: Live) -> None:
    request = Txt2ImgRequest(
        prompt="a circuit board", steps=4, seed=5, width=live.size_px, height=live.size_px, batch_size=2
    )
    result = if_there("txt2img", lambda: live.webui.txt2img(request))
    assert [image.seed for image in result.images] == [5, 6]
    assert result.images[0].pil().size == (live.size_px, live.size_px)
