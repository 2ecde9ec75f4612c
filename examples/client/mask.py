"""Repaint one area and nothing else: `python examples/client/mask.py pad.png sibling.png LEFT TOP RIGHT BOTTOM`."""

import sys

from PIL import Image, ImageDraw

from sdclient.client import WebUI
from sdclient.models import Img2ImgRequest

source, target = sys.argv[1:3]
box = tuple(int(number) for number in sys.argv[3:7])
with Image.open(source) as opened:
    photograph = opened.convert("RGB")
mask = Image.new("L", photograph.size, "black")
ImageDraw.Draw(mask).rectangle(box, fill="white")  # white is repainted

with WebUI() as webui:
    result = webui.img2img(
        Img2ImgRequest(
            init_images=[photograph],
            mask=mask,
            mask_blur_x=0,  # with blur, half of the outside would change a little
            mask_blur_y=0,
            inpainting_fill=1,  # start from what is there
            inpaint_full_res=True,  # repaint the area at full size; the result has the source's size
            inpaint_full_res_padding=16,
            denoising_strength=0.5,
            sampler_name="DPM++ SDE Karras",
            steps=20,
            seed=1,
        )
    )
result.images[0].pil().save(target)
print(f"{target}: repainted inside {box}")
