"""A trained classifier looks at a folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .dataset import list_images
from .device import choose_device, torch_threads
from .errors import CheckpointError, ConfigError, DataError
from .loader import decode, normalise
from .predictions import Predictions, make_predictions
from .weights import find_checkpoint, load_classifier


def predict_folder(
    run: Path,
    images: Path,
    *,
    batch_size: int = 64,
    device: str = "auto",
    threads: int = 1,
    progress: bool = True,
) -> Predictions:
    """Class probabilities for every image below a folder, pictures read a batch at a time.

    An image's label is the name of the top folder it lies in below `images`; "" for one that lies directly there.

    Args:
        run: a run folder, or a checkpoint file.
        images: a folder; walked to its ends, in natural order of the relative paths.
        batch_size: images a step; the answer depends on it by rounding only.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of torch while this runs.
        progress: show a bar on stderr.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or not ours.
        DataError: no such folder, no image in it, or one that cannot be read.
        ConfigError: "cuda" where there is none.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: found {batch_size}; expected 1 or more")
    checkpoint_path = find_checkpoint(run)
    paths = list_images(images)
    if not paths:
        raise DataError(f"{images}: no images in this folder; expected .png, .jpg or the like, or folders of them")
    chosen = choose_device(device)
    network, checkpoint = load_classifier(checkpoint_path)
    network.to(chosen)
    rows = []
    bar = tqdm(total=len(paths), desc="predict", unit="image", disable=not progress)
    with torch_threads(threads), torch.inference_mode(), bar:
        for start in range(0, len(paths), batch_size):
            batch = np.stack([decode(path, checkpoint.imgsz) for path in paths[start : start + batch_size]])
            pixels = normalise(torch.from_numpy(batch).to(chosen), checkpoint.mean, checkpoint.std)
            # In double precision, so that rows add up to 1 far closer than any reader checks.
            rows.append(torch.softmax(network(pixels).double(), dim=1).cpu().numpy())
            bar.update(len(batch))
    relative = [path.relative_to(images) for path in paths]
    probabilities = np.concatenate(rows)
    if not np.isfinite(probabilities).all():
        raise CheckpointError(f"{checkpoint_path}: its weights give no numbers (nan); train again with a lower --lr")
    return make_predictions(
        images=[path.as_posix() for path in relative],
        labels=[path.parts[0] if len(path.parts) > 1 else "" for path in relative],
        classes=checkpoint.classes,
        probabilities=probabilities,
    )
