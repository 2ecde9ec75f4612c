"""Share work between two servers: `python examples/client/two_servers.py FOLDER OUT URL URL`."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue

from sdclient.client import WebUI
from sdclient.models import Img2ImgRequest

folder, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(exist_ok=True)
waiting: SimpleQueue[Path] = SimpleQueue()
for path in sorted(folder.glob("*.png")):
    waiting.put(path)


def work(url: str) -> int:
    """Take pictures until none is left, so that the faster server does more."""
    made = 0
    with WebUI(url) as webui:
        while True:
            try:
                path = waiting.get_nowait()
            except Empty:
                return made
            result = webui.img2img(Img2ImgRequest(init_images=[path], sampler_name="DPM++ SDE Karras", steps=20))
            result.images[0].pil().save(out / path.name)
            made += 1


urls = sys.argv[3:]
with ThreadPoolExecutor(len(urls)) as pool:
    for url, made in zip(urls, pool.map(work, urls), strict=True):
        print(f"{url}: {made} images")
