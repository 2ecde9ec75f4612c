"""What a server does with finished pictures: reading their infotext, enlarging, describing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sdclient.errors import ServerFault
from sdclient.infotext import parse_infotext
from sdclient.models import ExtrasBatchRequest, ExtrasSingleRequest, InterrogateRequest
from tests.support.live import Live, if_there, picture


def test_png_info_reads_what_img2img_wrote(live: Live) -> None:
    (image,) = live.webui.img2img(live.request(prompt="焊盘, a pad")).images
    read = if_there("png-info", lambda: live.webui.png_info(image.data))
    parsed = parse_infotext(read.info)
    assert (parsed.prompt, parsed.settings["Seed"]) == ("焊盘, a pad", "1234")
    assert parsed.settings == parse_infotext(image.infotext).settings


def test_a_picture_without_infotext_has_none(live: Live) -> None:
    assert if_there("png-info", lambda: live.webui.png_info(picture(live.size_px))).info == ""


@pytest.mark.parametrize(
    ("name", "resampling"), [("Lanczos", Image.Resampling.LANCZOS), ("Nearest", Image.Resampling.NEAREST)]
)
def test_extras_enlarge(live: Live, name: str, resampling: Image.Resampling) -> None:
    if name not in {upscaler.name for upscaler in if_there("list of upscalers", live.webui.upscalers)}:
        pytest.skip(f"this server has no upscaler {name}")
    request = ExtrasSingleRequest(image=picture(live.size_px), upscaler_1=name, upscaling_resize=2)
    reply = if_there("extras", lambda: live.webui.extras(request))
    assert reply.image
    enlarged = Image.open(io.BytesIO(reply.image)).convert("RGB")
    expected = picture(live.size_px).resize((live.size_px * 2, live.size_px * 2), resampling)
    assert enlarged.size == expected.size
    assert np.abs(np.asarray(enlarged).astype(float) - np.asarray(expected)).mean() < 2


def test_extras_take_several_pictures_in_order(live: Live) -> None:
    request = ExtrasBatchRequest(images=[picture(64), picture(96)])
    reply = if_there("extras for batches", lambda: live.webui.extras_batch(request))
    assert [Image.open(io.BytesIO(image)).size for image in reply.images] == [(64, 64), (96, 96)]


def test_a_picture_is_put_into_words(live: Live) -> None:
    try:
        reply = if_there("interrogate", lambda: live.webui.interrogate(InterrogateRequest(image=picture(128))))
    except ServerFault as error:
        pytest.skip(f"the server could not load its model for that: {error}")
    if "<error>" in reply.caption:
        pytest.skip("the server could not load its model for that (it is offline, or has none)")
    assert reply.caption
