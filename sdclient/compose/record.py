"""A transplant as files, with its record."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

from ..batch.finish import MASK_SHA256, MadeImage, encode_png
from ..infotext import ENGINE_KEY, Infotext
from ..manifest import ImageRecord, Parent
from ..masks import box_of, encode_mask, mask_file_of
from .material import GoodImage
from .plan import PlannedTransplant
from .settings import ComposeSettings
from .transplant import Transplanted

ENGINE = "transplant (classical, no generator)"
"""What made the pixels, in records, texts and reports."""


def finished(
    planned: PlannedTransplant, done: Transplanted, good: GoodImage | None, settings: ComposeSettings, tried: int
) -> MadeImage:
    """The image and its mask as files, with its record."""
    others = () if good is None else (Parent(good.relative, good.sha256),)
    infotext = str(
        Infotext(
            f"{planned.source.relative} on {'its own picture' if good is None else good.relative}",
            settings={
                ENGINE_KEY: ENGINE,
                "Seed": str(planned.seed),
                "Size": f"{done.picture.width}x{done.picture.height}",
                "Blend": ", ".join(str(place["blend"]) for place in done.places),
            },
        )
    )
    lineage: dict[str, Any] = {
        "class": planned.source.class_name,
        "source_sha256": planned.source_sha256,
        "key": planned.key,
        "engine": ENGINE,
    }
    if others:
        lineage["parents_sha256"] = [planned.source_sha256, *(parent.sha256 for parent in others)]
    mask = encode_mask(done.mask)
    data = encode_png(done.picture, infotext=infotext, lineage=lineage)
    record = ImageRecord(
        file=planned.file,
        class_name=planned.source.class_name,
        source=planned.source.relative,
        source_sha256=planned.source_sha256,
        k=planned.k,
        seed=planned.seed,
        key=planned.key,
        sha256=hashlib.sha256(data).hexdigest(),
        width=done.picture.width,
        height=done.picture.height,
        server="",
        model="",
        engine=ENGINE,
        asked={
            **settings.model_dump(mode="json"),
            "base": "source" if good is None else "other",
            "seed": planned.seed,
            "source_mask_sha256": planned.mask_sha256,
            MASK_SHA256: hashlib.sha256(mask).hexdigest(),
        },
        used={"places": list(done.places), "pictures_tried": tried, "box": list(box_of(done.mask))},
        infotext=infotext,
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        mask=mask_file_of(planned.file),
        other_parents=others,
    )
    return MadeImage(record, data, mask)
