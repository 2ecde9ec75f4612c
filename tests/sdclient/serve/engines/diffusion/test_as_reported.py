"""The pictures that `generator report` judges are those that the engine serves under the settings it recommends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from generator.diffusion.sampling import sample
from sdclient.serve.diffusion_engine import DiffusionEngine
from sdcore.diffusion_model import load_model
from sdcore.torch_runtime import MixedPrecision
from tests.support.engines import CPU, Watched, drawn, picture, recipe


@pytest.mark.parametrize("strength", [0.25, 0.9])
def test_a_seed_gives_the_reports_picture(model_folder: Path, engine: DiffusionEngine, strength: float) -> None:
    model, start = load_model(model_folder), drawn("open", 3)
    levels = torch.from_numpy(np.asarray(start.convert("RGB")).copy()).permute(2, 0, 1)[None]
    (judged,) = sample(
        model.network,
        model.codec,
        levels,
        [model.classes.index("open")],
        no_class=model.no_class,
        strength=strength,
        seeds=[11],
        precision=MixedPrecision(CPU, amp=False),
        device=CPU,
        steps=20,
        guidance=2.0,
    )
    asked = recipe(
        sampler="DPM++ 2M",
        schedule="Karras",
        cfg_scale=2.0,
        strength=strength,
        steps=int(strength * 20) + 1,
        schedule_steps=20,
        prompt="open",
    )
    (served,) = engine.paint([picture(11, start)], asked, Watched())
    assert np.abs(np.asarray(served).astype(int) - judged.permute(1, 2, 0).numpy()).max() <= 1
