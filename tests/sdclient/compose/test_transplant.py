"""One transplant, whatever the pictures' sizes and modes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.compose import ComposeSettings
from sdclient.compose.cutout import cut, form_of, to_form, to_levels
from sdclient.compose.placement import Surface
from sdclient.compose.transplant import Transplanted, transplant
from sdcore.errors import SettingsError
from tests.support.compose_material import disc, surface, to_image


def grey_of(levels: np.ndarray) -> Image.Image:  # type: ignore[type-arg]
    return to_image(levels).convert("L")


def deep(image: Image.Image) -> Image.Image:
    """The same in 16 bits."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def defect_picture(level: int = 240) -> Image.Image:
    levels = surface(0)
    levels[disc((64, 64), (30, 34), 5)] = level
    return to_image(levels)


def mask() -> Image.Image:
    return Image.fromarray(disc((64, 64), (30, 34), 6).astype(np.uint8) * np.uint8(255))


def put(
    defect: Image.Image,
    base: Image.Image,
    *,
    seed: int = 0,
    closed: np.ndarray | None = None,  # type: ignore[type-arg]
    has_allowed: bool = False,
    **settings: object,
) -> Transplanted | str:
    form = form_of(base)
    context = Surface(to_levels(to_form(base, form)))
    return transplant(
        cut(to_form(defect, form), mask(), "1.png"),
        context,
        ComposeSettings.checked(settings),
        closed=np.zeros(context.size, dtype=np.bool_) if closed is None else closed,
        has_allowed=has_allowed,
        seed=seed,
    )


@pytest.mark.parametrize("blend", ["auto", "feather", "clone", "mixed"])
@pytest.mark.parametrize("right_angles", [False, True])
def test_where_the_mask_is_0_the_pixels_are_the_base_pictures(blend: str, right_angles: bool) -> None:
    base = to_image(surface(9, (80, 72)))
    for seed in range(4):
        done = put(defect_picture(), base, seed=seed, blend=blend, right_angles=right_angles)
        assert isinstance(done, Transplanted)
        kept = np.asarray(done.mask) == 0
        assert np.array_equal(np.asarray(done.picture)[kept], np.asarray(base)[kept])
        assert (np.asarray(done.picture)[~kept] != np.asarray(base)[~kept]).any()
        assert done.mask.size == done.picture.size == base.size


def test_the_defect_is_there_with_its_contrast() -> None:
    done = put(defect_picture(), to_image(surface(9, (80, 72), (100, 130, 80))), right_angles=True, scale=(1, 1))
    assert isinstance(done, Transplanted)
    inside = np.asarray(done.picture)[np.asarray(done.mask) == 255].astype(float)
    assert np.quantile(inside, 0.9, axis=0) == pytest.approx([220, 220, 230], abs=12)


DEFECTS = {"colour": defect_picture(), "grey": defect_picture().convert("L"), "16 bit": deep(defect_picture())}
BASES = {
    "colour": to_image(surface(9, (80, 72))),
    "grey": to_image(surface(9, (80, 72))).convert("L"),
    "16 bit": deep(to_image(surface(9, (80, 72)))),
    "palette": to_image(surface(9, (80, 72))).quantize(32),
    "alpha": to_image(surface(9, (80, 72))).convert("RGBA"),
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("base", BASES)
def test_results_have_the_base_pictures_form_in_8_bits(defect: str, base: str) -> None:
    done = put(DEFECTS[defect], BASES[base], match_limit=2.0)
    assert isinstance(done, Transplanted)
    form = form_of(BASES[base])
    assert done.picture.mode == form == ("L" if base in {"grey", "16 bit"} else "RGB")
    kept = np.asarray(done.mask) == 0
    assert np.array_equal(np.asarray(done.picture)[kept], np.asarray(to_form(BASES[base], form))[kept])


def test_a_grey_defect_takes_the_colour_of_a_colour_picture() -> None:
    base = BASES["colour"]
    done = put(DEFECTS["grey"], base, match_limit=2.0)
    assert isinstance(done, Transplanted)
    changed = np.asarray(done.picture)[np.asarray(done.mask) > 0].astype(float)
    dark = changed[changed.max(axis=1) < 250]  # brighter ones are cut off at 255
    assert np.median(dark[:, 1] - dark[:, 0]) == pytest.approx(30, abs=2)
    assert np.median(dark[:, 0] - dark[:, 2]) == pytest.approx(30, abs=2)


def test_copies_lie_apart() -> None:
    base = to_image(surface(9, (96, 96)))
    for seed in range(8):
        done = put(defect_picture(), base, seed=seed, copies=(3, 3))
        assert isinstance(done, Transplanted)
        assert len(done.places) == 3
        from scipy import ndimage

        assert ndimage.label(np.asarray(done.mask) > 0)[1] == 3


def test_fewer_copies_than_asked_for_are_none() -> None:
    done = put(defect_picture(), to_image(surface(9, (26, 26))), copies=(5, 5))
    assert done == "no free or allowed area is large enough for the defect"


def test_what_is_closed_is_kept_clear_of() -> None:
    closed = np.zeros((72, 80), dtype=np.bool_)
    closed[:, 40:] = True
    for seed in range(8):
        done = put(defect_picture(), to_image(surface(9, (80, 72))), seed=seed, closed=closed)
        assert isinstance(done, Transplanted)
        assert not np.asarray(done.mask)[:, 38:].any()


def test_an_allowed_area_needs_no_fit_but_a_limit_that_is_asked_for_holds() -> None:
    rough = to_image(np.random.default_rng(0).integers(0, 255, (72, 80, 3), dtype=np.uint8))
    assert isinstance(put(defect_picture(), rough), str)
    assert isinstance(put(defect_picture(), rough, has_allowed=True), Transplanted)
    assert isinstance(put(defect_picture(), rough, has_allowed=True, match_limit=0.1), str)


def test_the_same_seed_gives_the_same_pixels_and_another_one_others() -> None:
    base = to_image(surface(9, (80, 72)))
    first, again, other = (put(defect_picture(), base, seed=seed) for seed in (1, 1, 2))
    assert isinstance(first, Transplanted)
    assert isinstance(again, Transplanted)
    assert isinstance(other, Transplanted)
    assert first.picture.tobytes() == again.picture.tobytes()
    assert first.places == again.places
    assert first.picture.tobytes() != other.picture.tobytes()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale": (1.2, 0.8)}, "scale: .*LOW:HIGH"),
        ({"scale": (0.1, 1)}, "scale: .*0.25 to 4"),
        ({"copies": (0, 1)}, "copies: .*1 or more"),
        ({"rotation_degrees": 200}, "rotation-degrees: 200"),
        ({"blend": "glue"}, "blend: 'glue'"),
        ({"match_limit": float("nan")}, "match-limit"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ComposeSettings.checked(settings)
