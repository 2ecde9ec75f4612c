"""What a picture looks like regardless of its subject: spectrum, noise, grey levels, colour; numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..metrics import FloatArray

_BANDS = 12
_LUMA = np.array([0.299, 0.587, 0.114])
_LEAST = 1e-6


def describe_texture(picture: npt.NDArray[np.uint8]) -> FloatArray:
    """Twenty-five figures of one picture.

    The power of its grey levels in 12 rings of spatial frequency (logarithms, after a Hann window), mean, spread,
    skew and three quantiles of the grey levels, the shares of black and white pixels, size and peakedness of what a
    3 x 3 Laplacian leaves, and how far the colour channels lie apart. Generators, encoders and resizing leave their
    marks in such figures, whatever the picture shows.

    Args:
        picture: (3, S, S), R, G, B, S at least 8.

    Returns:
        (25,), all finite.
    """
    colours = picture.astype(np.float64) / 255.0
    grey = np.tensordot(_LUMA, colours, axes=1)
    side = grey.shape[0]
    window = np.hanning(side)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(window, window))) ** 2
    frequency = np.fft.fftfreq(side)
    ring = np.minimum((2 * _BANDS * np.hypot(frequency[:, None], frequency[None, :])).astype(int), _BANDS - 1)
    rings = np.bincount(ring.ravel(), power.ravel(), minlength=_BANDS) / np.bincount(ring.ravel(), minlength=_BANDS)
    spread = grey.std()
    skew = ((grey - grey.mean()) ** 3).mean() / (spread**3 + _LEAST)
    inner = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    peaked = (edges**4).mean() / (edges.var() ** 2 + _LEAST)
    apart = [np.abs(colours[first] - colours[second]).mean() for first, second in ((0, 1), (1, 2))]
    chroma = (colours.max(axis=0) - colours.min(axis=0)).std()
    return np.array(
        [
            *np.log(rings + _LEAST),
            grey.mean(),
            spread,
            np.clip(skew, -10, 10),
            *np.quantile(grey, [0.05, 0.5, 0.95]),
            (grey <= 1 / 255).mean(),
            (grey >= 254 / 255).mean(),
            np.log(np.abs(edges).mean() + _LEAST),
            np.log(peaked + _LEAST),
            *apart,
            chroma,
        ]
    )
