"""Watch a job while it runs: `python examples/client/progress.py pad.png sibling.png`."""

import sys

from tqdm import tqdm

from sdclient.client import JobProgress, WebUI
from sdclient.models import Img2ImgRequest

source, target = sys.argv[1:3]
with WebUI() as webui, tqdm(total=100, unit="%") as bar:

    def show(progress: JobProgress) -> None:
        """Move the bar to where this job is, and no other client's."""
        bar.set_postfix_str("waiting its turn" if progress.queued else f"step {progress.step} of {progress.steps}")
        bar.update(round(100 * progress.fraction) - bar.n)

    webui.wait_until_ready(timeout_s=600)  # a WebUI takes a while to load its model
    result = webui.img2img(
        Img2ImgRequest(init_images=[source], sampler_name="DPM++ SDE Karras", steps=20, batch_size=4), on_progress=show
    )
    bar.update(100 - bar.n)
result.images[0].pil().save(target)
print(f"{target}: one of {len(result.images)}")
