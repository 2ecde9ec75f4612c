"""Choosing sources and settings for a probe, and what its scores speak for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sdclient.batch import GenerationSettings
from sdclient.batch.estimate import timed_probe
from sdclient.client import WebUI
from sdclient.probe import GridSetting, Sample, best_setting, checked_common, grid, pick_sources, summarise
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.sources import Source
from sdcore.errors import SettingsError


def source(class_name: str = "pit", number: int = 1) -> Source:
    return Source(class_name, number, Path(f"{class_name}/{number}.png"))


def sample(setting: GridSetting, score: float | None, reason: str | None = None, seconds: float = 1.0) -> Sample:
    return Sample(source(), setting, None, score, reason, seconds)


SMALL, NATIVE, LARGE = (GridSetting(side, 0.25, "Euler") for side in (384, 512, 768))


def test_the_grid_is_every_combination_once() -> None:
    settings = grid([384, 512, 384], [0.2, 0.3], ["Euler", "Euler a"])
    assert len(settings) == 8 == len(set(settings))
    assert settings[0] == GridSetting(384, 0.2, "Euler")
    assert settings[1] == GridSetting(384, 0.3, "Euler")


def test_sources_are_spread_over_each_class() -> None:
    found = [source("pit", n) for n in range(1, 11)] + [source("焊盘", 7)]
    assert [(one.class_name, one.number) for one in pick_sources(found, 2)] == [("pit", 1), ("pit", 6), ("焊盘", 7)]
    assert pick_sources(found, 99) == found
    assert pick_sources([], 2) == []


def test_means_are_over_the_images_that_were_made() -> None:
    samples = [
        sample(SMALL, 0.2, seconds=1.0),
        sample(NATIVE, None, "server failed: out of memory", seconds=9.0),
        sample(SMALL, 0.8, "rainbow noise", seconds=2.0),
        sample(NATIVE, 0.1, seconds=4.0),
    ]
    small, native = summarise(samples)
    assert (small.mean_noise_score, small.seconds_per_image) == (pytest.approx(0.5), pytest.approx(1.5))
    assert (small.images, small.spoiled, small.reasons) == (2, 1, ("rainbow noise",))
    assert (native.mean_noise_score, native.seconds_per_image) == (pytest.approx(0.1), pytest.approx(4.0))
    assert (native.images, native.spoiled) == (2, 1)


def test_a_setting_that_made_nothing_has_no_mean() -> None:
    (result,) = summarise([sample(LARGE, None, "server failed")])
    assert result.mean_noise_score is None
    assert result.seconds_per_image is None
    assert best_setting([result], 512) is None
    assert summarise([]) == []
    assert best_setting([], 512) is None


def test_the_suggestion_spoiled_nothing_and_is_near_the_models_own_size() -> None:
    spoiled = [sample(SMALL, 0.0), sample(SMALL, 0.0, "black picture")]
    results = summarise([*spoiled, sample(LARGE, 0.02), sample(NATIVE, 0.05)])
    assert best_setting(results, 512) == results[2]
    assert best_setting(results, 768) == results[1]
    assert best_setting(results[:1], 512) is None


def test_a_plainly_lower_score_outweighs_the_size() -> None:
    results = summarise([sample(NATIVE, 0.3), sample(LARGE, 0.1)])
    assert best_setting(results, 512) == results[1]


def test_a_tie_goes_to_the_usual_strength_then_to_the_order_given() -> None:
    settings = [
        GridSetting(512, 0.35, "A"),
        GridSetting(512, 0.2, "B"),
        GridSetting(512, 0.2, "A"),
        GridSetting(512, 0.6, "A"),
    ]
    results = summarise([sample(setting, 0.0) for setting in settings])
    assert best_setting(results, 512) == results[1]


def test_a_size_no_model_has_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"native.px: 500"):
        checked_common({}, [NATIVE, GridSetting(500, 0.2, "Euler")])
    with pytest.raises(SettingsError, match=r"denoising-strength: 1\.5"):
        checked_common({}, [GridSetting(512, 1.5, "Euler")])


def test_the_timed_probe_times_one_batch_and_not_the_loading(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    Image.linear_gradient("L").save(path)
    settings = GenerationSettings(native_px=64, batch_size=4)
    with running_server(EmbeddedServerOptions(job_ms=200)) as server, WebUI(server.url) as webui:
        seconds = timed_probe(webui, Source("pit", 1, path), settings)
    assert 0.05 <= seconds < 1.0
