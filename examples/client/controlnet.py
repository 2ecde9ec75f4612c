"""Keep the edges of a photograph with ControlNet: `python examples/client/controlnet.py pad.png sibling.png MODEL`."""

import sys

from sdclient import SDClientError
from sdclient.client import WebUI
from sdclient.models import ControlNetUnit, Img2ImgRequest, alwayson

source, target, model = sys.argv[1:4]
edges = ControlNetUnit(module="canny", model=model, weight=0.8, pixel_perfect=True)
with WebUI() as webui:
    try:
        result = webui.img2img(
            Img2ImgRequest(
                init_images=[source],
                denoising_strength=0.6,  # the edges hold, so the surface may change more
                sampler_name="DPM++ SDE Karras",
                steps=20,
                alwayson_scripts=alwayson(edges),
            )
        )
    except SDClientError as error:
        sys.exit(f"controlnet.py: {error}")
result.images[0].pil().save(target)
print(f"{target}: {result.images[0].infotext.splitlines()[-1]}")
