"""One image from one photograph: `python examples/client/one_image.py pad.png sibling.png`."""

import sys

from sdclient.client import WebUI
from sdclient.models import Img2ImgRequest

source, target = sys.argv[1:3]
with WebUI() as webui:  # SDCLIENT_URL, else http://127.0.0.1:7860
    result = webui.img2img(
        Img2ImgRequest(init_images=[source], denoising_strength=0.25, sampler_name="DPM++ SDE Karras", steps=20, seed=1)
    )
image = result.images[0]
image.pil().save(target)
print(f"{target}: seed {image.seed}, {result.info.sd_model_name}")
