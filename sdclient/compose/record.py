"""A transplant as files, with its record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from PIL import Image

from ..batch.finish import MASK_SHA256, GeneratedFile, encode_png
from ..infotext import ENGINE_KEY, Infotext
from ..manifest import ImageRecord, Parent
from ..masks import box_of, encode_mask, mask_file_of
from .material import BackgroundImage
from .plan import PlannedTransplant
from .settings import ComposeSettings
from .transplant import Transplanted

ENGINE = "transplant (classical, no generator)"
"""What made the pixels, in records, texts and reports."""


@dataclass(frozen=True)
class NotPlaced:
    """An image that could not be made."""

    reason: str


def build_record(
    planned: PlannedTransplant,
    done: Transplanted,
    good: BackgroundImage | None,
    settings: ComposeSettings,
    *,
    tried: int,
    own_box: tuple[int, int, int, int] | None,
) -> GeneratedFile:
    """The image and its mask as files, with its record.

    Args:
        planned: which image.
        done: what it became.
        good: the good image it is on; None: its own picture.
        settings: of the run.
        tried: pictures that were tried until one had a place.
        own_box: (left, top, right, bottom) of the defect that its own picture still shows; None on a good image.
    """
    infotext = Infotext(
        f"{planned.source.relative} on {'its own picture' if good is None else good.relative}",
        settings={
            ENGINE_KEY: ENGINE,
            "Seed": str(planned.seed),
            "Size": f"{done.picture.width}x{done.picture.height}",
            "Blend": ", ".join(str(place["blend"]) for place in done.places),
        },
    )
    record = ImageRecord(
        file=planned.file,
        class_name=planned.source.class_name,
        source=planned.source.relative,
        source_sha256=planned.source_sha256,
        k=planned.k,
        seed=planned.seed,
        key=planned.key,
        sha256="",
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
        },
        used={
            "places": list(done.places),
            "pictures_tried": tried,
            **({} if own_box is None else {"own_box": list(own_box)}),
        },
        infotext=str(infotext),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        mask=mask_file_of(planned.file),
        other_parents=() if good is None else (Parent(good.relative, good.sha256),),
    )
    return to_files(record, done.picture, done.mask)


def to_files(record: ImageRecord, picture: Image.Image, mask: Image.Image) -> GeneratedFile:
    """A picture and its mask as files, and the record with what speaks of their bytes."""
    lineage: dict[str, Any] = {
        "class": record.class_name,
        "source_sha256": record.source_sha256,
        "key": record.key,
        "engine": record.engine,
    }
    if record.other_parents:
        lineage["parents_sha256"] = list(record.parents_sha256)
    mask_data = encode_mask(mask)
    data = encode_png(picture, infotext=record.infotext, lineage=lineage)
    record = replace(
        record,
        sha256=hashlib.sha256(data).hexdigest(),
        asked={**record.asked, MASK_SHA256: hashlib.sha256(mask_data).hexdigest()},
        used={**record.used, "box": list(box_of(mask))},
    )
    return GeneratedFile(record, data, mask_data)
