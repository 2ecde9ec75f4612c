"""Which generated images make up an arm's share; pure."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from ..errors import GeneratedSetError
from ..generated import GeneratedImage


def images_for_share(share: float, real: int) -> int:
    """Generated images that make up `share` of a training list with so many real ones: share / (1 - share) each."""
    return max(1, round(share / (1.0 - share) * real))


def largest_share(usable: int, real: int) -> float:
    """The share that all usable images make up, cut to three digits."""
    return math.floor(1000 * usable / (usable + real)) / 1000


def choose_images(
    images: Sequence[GeneratedImage], *, share: float | None, real: int, seed: int, where: str
) -> tuple[GeneratedImage, ...]:
    """The images of one arm, each class in the proportion in which it was generated.

    Which ones a class gives is decided by a hash of the seed and their bytes, so that a larger share holds the
    images of a smaller one (but for one image a class, by rounding).

    Args:
        images: all that may be used.
        share: of the training list, in (0, 1); None takes all.
        real: real training images.
        seed: which choice.
        where: arm, and fold where there are several, for messages.

    Returns:
        In the order of `images`.

    Raises:
        GeneratedSetError: too few images for the share, or so small a share that a class would be left out.
    """
    if not images:
        raise GeneratedSetError(f"{where}: no generated image is left to use; expected one or more")
    if share is None:
        return tuple(images)
    wanted = images_for_share(share, real)
    if wanted > len(images):
        raise GeneratedSetError(
            f"{where}: share {share:g} of a training list with {real} real images takes {wanted} generated ones, found "
            f"{len(images)}; the largest share possible is {largest_share(len(images), real):g}: ask for that or less, "
            "or generate more"
        )
    sizes = Counter(image.label for image in images)
    if wanted < len(sizes):
        raise GeneratedSetError(
            f"{where}: share {share:g} of a training list with {real} real images takes {wanted} generated ones, fewer "
            f"than the {len(sizes)} classes that were generated; ask for a larger share, or generate fewer classes"
        )
    ranked: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(images)), key=lambda n: (_chance(images[n], seed), n)):
        ranked[images[place].label].append(place)
    quotas = _quotas(sizes, wanted)
    taken = {place for label, places in ranked.items() for place in places[: quotas[label]]}
    return tuple(image for place, image in enumerate(images) if place in taken)


def _quotas(sizes: Counter[str], wanted: int) -> dict[str, int]:
    """`wanted` divided in proportion to the sizes by largest remainders, one or more a class."""
    total = sum(sizes.values())
    exact = {label: wanted * size / total for label, size in sizes.items()}
    quotas = {label: math.floor(one) for label, one in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (quotas[label] - exact[label], label))
    for label in by_remainder[: wanted - sum(quotas.values())]:
        quotas[label] += 1
    for label in sorted(label for label, quota in quotas.items() if quota == 0):
        quotas[max(quotas, key=lambda other: (quotas[other], other))] -= 1
        quotas[label] = 1
    return quotas


def _chance(image: GeneratedImage, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{image.sha256}".encode()).hexdigest()
