"""The review page's API, without a browser."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdclient.errors import ManifestError
from sdclient.manifest import Curation, Manifest
from sdclient.manifest.curation import ACCEPTED, REJECTED, FilterVerdict
from sdclient.review.serving import review_application
from sdcore.errors import DataError
from tests.support.review import FILES, SIZE, noise_image, write
from tests.support.review_page import Page


def shown(page: Page, **query: object) -> Image.Image:
    reply = page.get("/api/picture", **query)
    assert reply.status_code == 200, reply.text
    return Image.open(io.BytesIO(reply.content))


def test_a_list_and_its_rows(page: Page) -> None:
    listed = page.get("/api/list").json()
    assert listed == {"files": FILES, "starts": [["pad", 0], ["漏铜", 6]], "first_unreviewed": 0}
    row = page.rows("pad/1_1.png")[0]
    assert row["verdict"] == ACCEPTED
    assert row["person"] == ""
    assert row["scores"] == {"noise": 0.0, "ssim_inside": None}
    assert row["facts"]["denoising_strength"] == 0.25  # type: ignore[index]
    assert {name: one["state"] for name, one in row["pictures"].items()} == {  # type: ignore[attr-defined]
        "candidate": "ok", "mask": "ok", "parent0": "ok",
    }  # fmt: skip
    assert page.rows("gone.png") == []


def test_filters_go_by_the_address(page: Page) -> None:
    found = page.get("/api/list", **{"class": "pad", "reason": "noise"}).json()
    assert found["files"] == ["pad/2_1.png"]
    assert page.get("/api/list", reason="").json()["files"] == ["pad/1_2.png", "pad/2_1.png", "漏铜/1_1.png"]
    assert page.get("/api/list", score="noise", low=0.25, high=0.4).json()["files"] == ["pad/2_1.png", "pad/2_2.png"]
    assert page.get("/api/list", state="nonsense").status_code == 422
    assert page.get("/api/facets").json() == {
        "reasons": {"face": 1, "noise": 2, "too_alike": 1},
        "scores": {"noise": [0.0, 0.8]},
    }


def test_a_decision_is_in_the_manifest_at_once(page: Page, output: Path) -> None:
    done = page.decide(ACCEPTED, "pad/1_2.png")
    assert done["written"] == 1
    assert done["conflicts"] == []
    with Manifest(output) as manifest:
        assert "pad/1_2.png" in Curation(manifest).accepted_files()
    counts = {one["class_name"]: one for one in page.get("/api/counts").json()}
    assert counts["pad"] == {"class_name": "pad", "accepted": 2, "rejected": 1, "undecided": 3, "reviewed": 1}


def test_two_pages_see_each_others_decisions(page: Page) -> None:
    seen = page.rows("pad/1_1.png", "pad/1_2.png")
    page.decide(REJECTED, "pad/1_1.png", tab="b" * 8)
    images = [{name: row[name] for name in ("file", "sha256", "revision")} for row in seen]
    reply = page.post("/api/decide", {"tab": "a" * 8, "verdict": ACCEPTED, "images": images}).json()
    assert reply["written"] == 1
    assert [one["file"] for one in reply["conflicts"]] == ["pad/1_1.png"]
    assert [row["person"] for row in reply["rows"]] == [REJECTED, ACCEPTED]


def test_undo_affects_only_its_own_page(page: Page) -> None:
    page.decide(REJECTED, "pad/1_1.png", "pad/1_2.png")
    assert page.post("/api/undo", {"tab": "b" * 8}).json() == []
    assert [row["file"] for row in page.post("/api/undo", {"tab": "a" * 8}).json()] == ["pad/1_1.png", "pad/1_2.png"]
    assert [row["person"] for row in page.rows("pad/1_1.png", "pad/1_2.png")] == ["", ""]


@pytest.mark.parametrize(
    "body",
    [
        {"tab": "a" * 8, "verdict": "perhaps", "images": [{"file": "pad/1_1.png", "sha256": "x", "revision": 0}]},
        {"tab": "a*", "verdict": "accepted", "images": [{"file": "pad/1_1.png", "sha256": "x", "revision": 0}]},
        {"tab": "a" * 8, "verdict": "accepted", "images": []},
        {"tab": "a" * 8, "verdict": "accepted", "images": [{"file": "pad/1_1.png"}]},
    ],
)  # fmt: skip
def test_a_malformed_decision_changes_nothing(page: Page, body: object) -> None:
    assert page.post("/api/decide", body).status_code == 422
    assert page.rows("pad/1_1.png")[0]["revision"] == 0


def test_images_are_sent_pixel_for_pixel(page: Page, output: Path) -> None:
    with Image.open(output / "pad/1_1.png") as original:
        assert np.array_equal(np.asarray(shown(page, file="pad/1_1.png", what="candidate")), np.asarray(original))
    bmp = shown(page, file="漏铜/1_1.png", what="parent0")
    with Image.open(output.parent / "sources/漏铜/1.bmp") as original:
        assert bmp.format == "PNG"
        assert np.array_equal(np.asarray(bmp), np.asarray(original))
    deep = shown(page, file="pad/2_1.png", what="parent0")
    assert (deep.format, deep.size, deep.mode) == ("PNG", SIZE, "RGB")
    with Image.open(output.parent / "sources/pad/2.tif") as original:
        expected = np.asarray(original).astype(np.float64) * 255 / 65535
    assert np.abs(np.asarray(deep)[..., 0] - expected).max() <= 1


def test_a_transplanted_image_is_compared_with_its_base(page: Page) -> None:
    row = page.rows("漏铜/1_3.png")[0]
    assert row["base"] == "parent1"
    assert shown(page, file="漏铜/1_3.png", what="parent1").tobytes() == noise_image(50).tobytes()
    assert page.rows("漏铜/1_1.png")[0]["base"] == "parent0"


def test_a_thumbnail_is_small(page: Page, output: Path) -> None:
    with Manifest(output, create=True) as manifest:
        first = next(manifest.images())
        sha256 = write(output / "pad/7_1.png", noise_image(7, (1200, 900)))
        manifest.add([replace(first, file="pad/7_1.png", sha256=sha256, key="7", mask="")])
    thumb = shown(page, file="pad/7_1.png", what="candidate", small=True)
    assert thumb.size == (256, 192)
    assert shown(page, file="pad/1_1.png", what="candidate", small=True).size == SIZE


def test_an_image_is_cached_by_its_bytes(page: Page, output: Path) -> None:
    version = page.rows("pad/1_1.png")[0]["pictures"]["candidate"]["version"]  # type: ignore[index]
    assert hashlib.sha256((output / "pad/1_1.png").read_bytes()).hexdigest().startswith(str(version))
    query = {"file": "pad/1_1.png", "what": "candidate"}
    named = page.get("/api/picture", **query, version=version)
    assert "immutable" in named.headers["cache-control"]
    unnamed = page.get("/api/picture", **query)
    assert unnamed.headers["cache-control"] == "private, no-cache"
    again = page.session.get(unnamed.url, headers={"If-None-Match": unnamed.headers["etag"]}, timeout=20)
    assert (again.status_code, again.content) == (304, b"")
    write(output / "pad/1_1.png", noise_image(999))
    changed = page.session.get(unnamed.url, headers={"If-None-Match": unnamed.headers["etag"]}, timeout=20)
    assert changed.status_code == 200
    assert "immutable" not in page.get("/api/picture", **query, version=version).headers["cache-control"]


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("candidate", "../sources/pad/1.png"), ("candidate", "manifest.sqlite"), ("parent9", "pad/1_1.png"),
        ("../parent0", "pad/1_1.png"), ("candidate", "pad/1_1.png\x00"), ("mask", "pad/1_2.png"),
    ],
)  # fmt: skip
def test_a_request_cannot_name_a_path(page: Page, what: str, file: str) -> None:
    assert page.get("/api/picture", file=file, what=what).status_code == 404


def test_a_manifest_that_points_elsewhere_is_not_followed(page: Page, output: Path, tmp_path: Path) -> None:
    sha256 = write(tmp_path / "secret.png", noise_image(1))
    (output / "pad" / "link.png").symlink_to(tmp_path / "secret.png")
    with Manifest(output, create=True) as manifest:
        first = next(manifest.images())
        for number, name in enumerate(["../secret.png", str(tmp_path / "secret.png"), "pad/link.png"]):
            manifest.add(
                [replace(first, file=name, sha256=sha256, key=f"s{number}", source=name, mask="../secret.png")]
            )
            for what in ("candidate", "mask", "parent0"):
                assert page.get("/api/picture", file=name, what=what).status_code == 404
            states = {one["state"] for one in page.rows(name)[0]["pictures"].values()}  # type: ignore[attr-defined]
            assert states <= {"outside", "missing"}
            assert page.decide(ACCEPTED, name)["written"] == 0


def test_missing_and_changed_files_say_so(page: Page, output: Path) -> None:
    (output / "pad/1_1.png").unlink()
    write(output / "pad/1_2.png", noise_image(5))
    (output.parent / "sources/pad/1.png").unlink()
    missing, changed = page.rows("pad/1_1.png", "pad/1_2.png")
    assert missing["pictures"]["candidate"]["state"] == "missing"  # type: ignore[index]
    assert missing["pictures"]["parent0"]["state"] == "missing"  # type: ignore[index]
    assert changed["pictures"]["candidate"]["state"] == "changed"  # type: ignore[index]
    assert page.get("/api/picture", file="pad/1_1.png", what="candidate").status_code == 404
    done = page.decide(ACCEPTED, "pad/1_1.png", "pad/1_2.png")
    assert done["written"] == 0
    assert [one["why"].split(": ")[1] for one in done["conflicts"]] == [  # type: ignore[attr-defined]
        "the file is missing, so it cannot be accepted", "the file is changed, so it cannot be accepted",
    ]  # fmt: skip
    assert page.decide(REJECTED, "pad/1_1.png", "pad/1_2.png")["written"] == 2


def test_a_file_that_is_no_image_is_named_in_the_error(page: Page, output: Path) -> None:
    (output / "pad/1_1.png").write_bytes(b"not an image")
    reply = page.get("/api/picture", file="pad/1_1.png", what="candidate", small=True)
    assert reply.status_code == 409
    assert "not an image" in reply.json()["detail"]


def test_a_damaged_manifest_is_named_in_the_error(page: Page, output: Path) -> None:
    db = sqlite3.connect(output / "manifest.sqlite")
    db.executescript("DROP TABLE run")
    db.close()
    reply = page.post("/api/rows", {"files": FILES})
    assert reply.status_code == 409
    assert "no such table: run" in reply.json()["detail"]


def test_it_sees_what_a_run_and_the_filters_add(page: Page, output: Path) -> None:
    with Manifest(output, create=True) as manifest:
        first = next(manifest.images())
        sha256 = write(output / "pad/11_1.png", noise_image(11))
        manifest.add([replace(first, file="pad/11_1.png", source="pad/11.png", sha256=sha256, key="11")])
        Curation(manifest).set_filter_verdicts([FilterVerdict("pad/11_1.png", sha256, ("blurred",))])
        # A writer that holds the manifest does not block readers.
        with manifest.transaction() as db:
            db.execute("UPDATE images SET attempts = 1")
            assert page.get("/api/list", reason="blurred").json()["files"] == ["pad/11_1.png"]
    assert page.decide(ACCEPTED, "pad/11_1.png")["written"] == 1


def test_an_image_that_was_made_again_is_not_decided_unseen(page: Page, output: Path) -> None:
    seen = page.rows("pad/1_1.png")[0]
    with Manifest(output, create=True) as manifest:
        first = next(record for record in manifest.images() if record.file == "pad/1_1.png")
        manifest.forget([first.file])
        manifest.add([replace(first, sha256=write(output / first.file, noise_image(77)))])
    image = {name: seen[name] for name in ("file", "sha256", "revision")}
    done = page.post("/api/decide", {"tab": "a" * 8, "verdict": REJECTED, "images": [image]}).json()
    assert done["written"] == 0
    assert "made again" in done["conflicts"][0]["why"]


def test_it_counts_what_was_decided_each_image_once(output: Path) -> None:
    with review_application(output) as application, application.in_background() as url:
        page = Page(url)
        page.decide(ACCEPTED, "pad/1_1.png", "pad/1_2.png")
        page.decide(REJECTED, "pad/1_1.png")
        page.decide(REJECTED, "pad/1_3.png")
        page.post("/api/undo", {"tab": "a" * 8})
        page.session.close()
        assert application.service is not None
        made = application.service.decision_counts
    assert (made.accepted, made.rejected, made.cleared) == (1, 1, 1)


def test_a_folder_without_a_manifest_stays_without(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no manifest\.sqlite here"), review_application(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_moved_sources_can_be_named(output: Path, tmp_path: Path) -> None:
    (tmp_path / "sources").rename(tmp_path / "moved")
    for sources, state in ((None, "missing"), (tmp_path / "moved", "ok")):
        with review_application(output, sources=sources) as application:
            assert application.service is not None
            assert application.service.rows(["pad/1_1.png"])[0]["pictures"]["parent0"]["state"] == state
    with pytest.raises(DataError), review_application(output, masks=tmp_path / "masks"):
        pass


def test_the_page_is_in_the_requested_language(page: Page) -> None:
    english, chinese = page.get("/").text, page.get("/", lang="zh").text
    assert '<html lang="en">' in english
    assert '<html lang="zh-Hans">' in chinese
    assert "逐张" in chinese
    assert "One by one" not in chinese
    assert page.get("/", lang="xx").status_code == 422
