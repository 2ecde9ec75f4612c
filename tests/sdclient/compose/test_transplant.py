"""One transplant, whatever the images' sizes and modes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.compose import ComposeSettings
from sdclient.compose.cutout import cut_out, form_of, to_form, to_levels
from sdclient.compose.placement import Surface
from sdclient.compose.transplant import (
    WAYS,
    Blended,
    Transplanted,
    Way,
    best_blend,
    blend,
    border_of,
    gradient_across,
    match_tone,
    seam_score,
    transplant,
)
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
        cut_out(to_form(defect, form), mask(), "1.png"),
        context,
        ComposeSettings.checked(settings),
        closed=np.zeros(context.size, dtype=np.bool_) if closed is None else closed,
        has_allowed=has_allowed,
        seed=seed,
    )


@pytest.mark.parametrize("blend", ["auto", "feather", "clone", "mixed"])
@pytest.mark.parametrize("right_angles", [False, True])
def test_where_the_mask_is_0_the_pixels_are_the_base_images(blend: str, right_angles: bool) -> None:
    base = to_image(surface(9, (80, 72)))
    for seed in range(4):
        done = put(defect_picture(), base, seed=seed, blend=blend, right_angles=right_angles)
        assert isinstance(done, Transplanted)
        kept = np.asarray(done.mask) == 0
        assert np.array_equal(np.asarray(done.image)[kept], np.asarray(base)[kept])
        assert (np.asarray(done.image)[~kept] != np.asarray(base)[~kept]).any()
        assert done.mask.size == done.image.size == base.size


def test_the_defect_is_there_with_its_contrast() -> None:
    done = put(defect_picture(), to_image(surface(9, (80, 72), (100, 130, 80))), right_angles=True, scale=(1, 1))
    assert isinstance(done, Transplanted)
    inside = np.asarray(done.image)[np.asarray(done.mask) == 255].astype(float)
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
def test_results_have_the_base_images_form_in_8_bits(defect: str, base: str) -> None:
    done = put(DEFECTS[defect], BASES[base], match_limit=2.0)
    assert isinstance(done, Transplanted)
    form = form_of(BASES[base])
    assert done.image.mode == form == ("L" if base in {"grey", "16 bit"} else "RGB")
    kept = np.asarray(done.mask) == 0
    assert np.array_equal(np.asarray(done.image)[kept], np.asarray(to_form(BASES[base], form))[kept])


def test_a_grey_defect_takes_the_colour_of_a_colour_image() -> None:
    base = BASES["colour"]
    done = put(DEFECTS["grey"], base, match_limit=2.0)
    assert isinstance(done, Transplanted)
    changed = np.asarray(done.image)[np.asarray(done.mask) > 0].astype(float)
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
    assert first.image.tobytes() == again.image.tobytes()
    assert first.places == again.places
    assert first.image.tobytes() != other.image.tobytes()


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


SIZE = (48, 48)


ALPHA = np.clip(10.5 - np.hypot(*(np.mgrid[0:48, 0:48] - np.array([[[22]], [[26]]]))), 0, 1).astype(np.float32)
ALPHA = (np.rint(255 * ALPHA) / 255).astype(np.float32)


RING = (ALPHA == 0) & disc(SIZE, (26, 22), 16)


def with_spot(seed: int, level: float) -> np.ndarray:  # type: ignore[type-arg]
    """A surface with a spot that lies off the middle of the mask: one put a pixel beside would show."""
    pixels = surface(seed, SIZE).astype(np.float32)
    pixels[disc(SIZE, (28, 20), 4)] = level
    return pixels


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_defect_put_where_it_was_changes_nothing(way: Way, channels: int) -> None:
    pixels = with_spot(0, 230)[..., :channels]
    joined = blend(pixels, pixels, ALPHA, RING, own_gradient=1.0, how=way)
    assert np.abs(joined.levels.astype(int) - pixels).max() <= 2
    assert joined.kept_rate == pytest.approx(1, abs=0.03)
    assert joined.likeness == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("way", WAYS)
def test_outside_of_the_mask_every_pixel_is_the_surfaces(way: Way) -> None:
    there = surface(5, SIZE, (60, 80, 200)).astype(np.float32)
    joined = blend(with_spot(0, 230), there, ALPHA, RING, own_gradient=1.0, how=way)
    assert np.array_equal(joined.levels[ALPHA == 0], there[ALPHA == 0].astype(np.uint8))
    assert (joined.levels[ALPHA > 0.9] != there[ALPHA > 0.9]).any()


def test_the_feather_is_the_share_of_the_defect() -> None:
    there, patch = np.full((*SIZE, 1), 100, dtype=np.float32), np.full((*SIZE, 1), 200, dtype=np.float32)
    joined = blend(patch, there, ALPHA, RING, own_gradient=1.0, how="feather")
    assert np.abs(joined.levels[..., 0] - (100 + 100 * ALPHA)).max() <= 0.51


def test_cloning_follows_a_tone_that_the_feather_shows_a_seam_at() -> None:
    y, x = np.mgrid[0:48, 0:48]
    bump = 90 * np.exp(-((x - 26) ** 2 + (y - 22) ** 2) / 18)
    patch = (120 + bump)[..., None].astype(np.float32)
    there = np.full((*SIZE, 1), 108, dtype=np.float32)
    feather, clone = (blend(patch, there, ALPHA, RING, own_gradient=0.0, how=way) for way in WAYS[:2])
    assert clone.seam < 0.7 * feather.seam


def tried(way: Way, seam: float, kept_rate: float = 1.0, likeness: float = 1.0) -> Blended:
    return Blended(np.zeros((1, 1, 1), dtype=np.uint8), way, seam, kept_rate, likeness)


@pytest.mark.parametrize(
    ("ways", "chosen"),
    [
        ([tried("feather", 1.4), tried("clone", 1.2), tried("mixed", 1.3)], "clone"),
        ([tried("feather", 0.95), tried("clone", 0.6)], "feather"),
        ([tried("feather", 1.4), tried("clone", 1.0, kept_rate=0.8), tried("mixed", 1.3)], "mixed"),
        ([tried("feather", 1.4), tried("clone", 1.0, likeness=0.95)], "feather"),
        ([tried("feather", 1.4, likeness=0.5), tried("clone", 1.0, likeness=0.5)], "feather"),
    ],
)
def test_the_least_seam_wins_among_those_that_keep_the_defect(ways: list[Blended], chosen: str) -> None:
    assert best_blend(ways).way == chosen


def test_a_way_that_wipes_the_defect_out_is_not_taken() -> None:
    """Mixed cloning keeps the stronger gradient: a faint defect drowns in a rough surface, without any seam."""
    rng = np.random.default_rng(0)
    there = (surface(5, SIZE) + rng.normal(0, 30, (*SIZE, 1))).clip(0, 255).astype(np.float32)
    patch = with_spot(0, 140)
    mixed = blend(patch, there, ALPHA, RING, own_gradient=30.0, how="mixed")
    best = blend(patch, there, ALPHA, RING, own_gradient=30.0, how="auto")
    assert mixed.likeness < 0.9
    assert best.way == "feather"


def test_a_defect_of_two_pixels_can_be_cloned() -> None:
    alpha = np.zeros(SIZE, dtype=np.float32)
    alpha[20, 20:22] = 1
    there = surface(5, SIZE).astype(np.float32)
    joined = blend(with_spot(0, 230), there, alpha, alpha == 0, own_gradient=1.0, how="clone")
    assert np.array_equal(joined.levels[alpha == 0], there[alpha == 0].astype(np.uint8))


TONE_SIZE = (40, 36)


def ring_around(size: tuple[int, int] = TONE_SIZE) -> np.ndarray:  # type: ignore[type-arg]
    ring = np.ones(size, dtype=np.bool_)
    ring[8:-8, 8:-8] = False
    return ring


def grain(seed: int, level: float, spread: float, channels: int = 3) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).normal(level, spread, (*TONE_SIZE, channels)).astype(np.float32)


def test_the_level_of_each_channel_is_the_new_places() -> None:
    own, there = grain(0, 100, 2), grain(1, 100, 2) + np.array([40, -20, 5], dtype=np.float32)
    matched = match_tone(own, there, ring_around(), "mean")
    assert (matched - own).mean(axis=(0, 1)) == pytest.approx([40, -20, 5], abs=1)


def test_a_slope_of_light_is_followed() -> None:
    own = grain(0, 100, 1)
    y, x = np.mgrid[0 : TONE_SIZE[0], 0 : TONE_SIZE[1]]
    slope = (0.5 * x - 0.25 * y).astype(np.float32)[..., None]
    matched = match_tone(own, own + slope, ring_around(), "mean")
    assert np.abs(matched - own - slope).mean() < 1.2


def test_contrast_follows_within_its_limits() -> None:
    own, there = grain(0, 100, 10), grain(1, 100, 14)
    own[18:22, 16:20] = 180  # the defect
    full, mean = (match_tone(own, there, ring_around(), how) for how in ("full", "mean"))  # type: ignore[arg-type]
    gain = (14 + 6) / (10 + 6)
    assert (full[20, 18] - 100).mean() == pytest.approx(gain * 80, rel=0.08)
    assert (mean[20, 18] - 100).mean() == pytest.approx(80, rel=0.05)
    strong = match_tone(own, grain(1, 100, 90), ring_around(), "full")
    assert (strong[20, 18] - strong[ring_around()].mean(axis=0)).mean() == pytest.approx(1.4 * 80, rel=0.15)


def test_a_trace_that_lies_in_one_ring_alone_moves_nothing() -> None:
    own, there = grain(0, 100, 2), grain(1, 100, 2)
    there[:, :4] = 255
    matched = match_tone(own, there, ring_around(), "full")
    assert np.abs(matched - own)[ring_around()].mean() < 3


def test_none_leaves_all_as_it_is_and_so_does_an_empty_ring() -> None:
    own, there = grain(0, 100, 2), grain(1, 200, 9)
    assert np.array_equal(match_tone(own, there, ring_around(), "none"), own)
    assert np.array_equal(match_tone(own, there, np.zeros(TONE_SIZE, dtype=np.bool_), "full"), own)


def test_grey_defects_take_the_colour_of_the_surface() -> None:
    own = np.repeat(grain(0, 120, 2, 1), 3, axis=2)
    there = grain(1, 0, 2) + np.array([60, 140, 70], dtype=np.float32)
    matched = match_tone(own, there, ring_around(), "full")
    assert matched.mean(axis=(0, 1)) == pytest.approx([60, 140, 70], abs=2)


def test_the_same_trace_around_both_keeps_the_contrast_of_two_level_images() -> None:
    """Half black, half white: a robust deviation jumps from 0 to all there is when a few pixels change sides."""
    own = np.zeros((*TONE_SIZE, 1), dtype=np.float32)
    own[:, 18:] = 255
    there = np.zeros((*TONE_SIZE, 1), dtype=np.float32)
    there[:, 17:] = 255
    matched = match_tone(own, there, ring_around(), "full")
    assert np.abs(matched - own).max() < 6
    paler = match_tone(own, 0.8 * there, ring_around(), "full")
    assert np.ptp(paler) == pytest.approx(0.8 * 255, rel=0.06)


def box_alpha(side: int = 60) -> np.ndarray:  # type: ignore[type-arg]
    alpha = np.zeros((side, side), dtype=np.float32)
    alpha[20:40, 20:40] = 1
    return alpha


def test_the_border_is_a_pixel_to_either_side_and_the_soft_edge() -> None:
    alpha = np.zeros((1, 12), dtype=np.float32)
    alpha[0, 4:9] = [0.5, 1, 1, 1, 1]
    assert np.flatnonzero(border_of(np.repeat(alpha, 12, axis=0))[6]).tolist() == [3, 4, 5, 8, 9]


def test_a_step_of_so_many_levels_is_measured() -> None:
    alpha = box_alpha()
    pixels = np.full((60, 60, 1), 100, dtype=np.float32)
    pixels[20:40, 20:40] = 160
    # A step of 60 has a gradient of 30 a px on both of its sides, and those two pixels are the border.
    assert gradient_across(pixels, alpha) == pytest.approx(30, rel=0.08)


def test_a_trace_across_the_border_is_no_seam() -> None:
    alpha = disc((60, 60), (30, 30), 12).astype(np.float32)
    plain = np.full((60, 60, 1), 100, dtype=np.float32)
    crossing, step = plain.copy(), plain.copy()
    crossing[28:32] = 200
    step[alpha > 0] = 200
    assert gradient_across(plain, alpha) == 0
    assert gradient_across(crossing, alpha) < 0.2 * gradient_across(step, alpha)


def test_channels_are_averaged() -> None:
    pixels = np.full((60, 60, 3), 100, dtype=np.float32)
    pixels[20:40, 20:40, 0] = 160
    assert gradient_across(pixels, box_alpha()) == pytest.approx(10, rel=0.08)


def test_no_mask_has_no_seam() -> None:
    empty = np.zeros((8, 8), dtype=np.float32)
    assert gradient_across(np.zeros((8, 8, 1), dtype=np.float32), empty) == 0


@pytest.mark.parametrize(("here", "own", "score"), [(5, 5, 1), (11, 5, 2), (0, 0, 1), (0, 1, 0.5)])
def test_the_score_is_a_ratio_calmed_by_a_level(here: float, own: float, score: float) -> None:
    assert seam_score(here, own) == score
