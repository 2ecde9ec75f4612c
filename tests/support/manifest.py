"""One record of an image."""

from __future__ import annotations

from sdclient.manifest import ImageRecord

RECORD = ImageRecord(
    file="焊盘/3_1.png",
    class_name="焊盘",
    source="焊盘/3.png",
    source_sha256="a" * 64,
    k=1,
    seed=2**32 - 1,
    key="b" * 64,
    sha256="c" * 64,
    width=96,
    height=64,
    server="http://127.0.0.1:7860",
    model="model [abc]",
    engine="Stable Diffusion WebUI",
    asked={"prompt": "漏铜", "denoising_strength": 0.25},
    used={"sampler_name": "DPM++ SDE"},
    infotext="Steps: 1",
    created_at="2026-11-23T12:00:00+00:00",
)
