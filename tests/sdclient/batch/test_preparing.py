"""What is sent of a source: its own file where that shows just what a server is to see, else a PNG of that."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdclient.batch import GenerationSettings
from sdclient.batch.jobs import Job, PlannedImage
from sdclient.batch.requests import PreparedSource, RequestPreparer, SourcesOnDisk
from sdclient.errors import SourceError
from sdclient.sources import Source
from sdclient.sources.source import fit_to_model, generation_size


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1])).convert(mode)


def job_of(path: Path, sha256: str) -> Job:
    return Job((PlannedImage(Source("dirt", 1, path), sha256, 1, 7, "k" * 64, GenerationSettings().parameters),))


def prepared(folder: Path, image: Image.Image, name: str = "1.png", **how: Any) -> tuple[PreparedSource, bytes]:
    """A source as it is sent, and its file."""
    path = folder / name
    image.save(path, **how)
    data = path.read_bytes()
    ready = RequestPreparer(64, SourcesOnDisk()).prepare(job_of(path, hashlib.sha256(data).hexdigest()))
    assert ready.request.init_images == (ready.source.data,)
    return ready.source, data


def test_a_plain_png_of_the_size_to_generate_is_sent_as_it_is(tmp_path: Path) -> None:
    source, data = prepared(tmp_path, picture(), icc_profile=b"a colour profile")
    assert source.data == data
    assert source.picture.tobytes() == picture().tobytes()


def exif_that_turns() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


OTHERS: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "another size": (picture(size=(96, 48)), "1.png", {}),
    "JPEG": (picture(), "1.jpg", {}),
    "grey": (picture("L"), "1.png", {}),
    "alpha": (picture("RGBA"), "1.png", {}),
    "palette": (picture("P"), "1.png", {}),
    "16 bit": (picture("L").convert("I;16"), "1.png", {}),
    "turned": (picture(), "1.png", {"exif": exif_that_turns()}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_is_encoded_as_the_model_wants_it(tmp_path: Path, name: str) -> None:
    image, file, how = OTHERS[name]
    source, data = prepared(tmp_path, image, file, **how)
    assert source.data != data
    with Image.open(tmp_path / file) as original, Image.open(io.BytesIO(source.data)) as sent:
        expected = fit_to_model(original, generation_size(*original.size, native_px=64))
        assert (sent.format, sent.mode, sent.size) == ("PNG", "RGB", expected.size)
        assert sent.tobytes() == expected.tobytes() == source.picture.tobytes()


def test_a_file_whose_check_sums_do_not_fit_is_encoded_anew(tmp_path: Path) -> None:
    picture().save(tmp_path / "1.png")
    whole = (tmp_path / "1.png").read_bytes()
    damaged = whole[:-16] + bytes([whole[-16] ^ 1]) + whole[-15:]  # Pillow reads it all the same
    (tmp_path / "1.png").write_bytes(damaged)
    ready = RequestPreparer(64, SourcesOnDisk()).prepare(
        job_of(tmp_path / "1.png", hashlib.sha256(damaged).hexdigest())
    )
    with Image.open(io.BytesIO(ready.source.data)) as sent:
        assert sent.tobytes() == picture().tobytes()
    assert ready.source.data != damaged


def test_another_file_than_was_planned_with_is_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "1.png")
    source = Source("dirt", 1, tmp_path / "1.png")
    with pytest.raises(SourceError, match=r"1\.png: changed while the run was going on"):
        SourcesOnDisk().file_bytes(source, "0" * 64)
    with pytest.raises(SourceError, match=r"1\.png: changed while the run was going on"):
        RequestPreparer(64, SourcesOnDisk()).prepare(job_of(source.path, "0" * 64))
