"""Similarity of images: a 64-bit perceptual hash, and all pairs of a collection that differ in few bits.

The hash is the sign pattern of the lowest 64 spatial frequencies (without the mean) of the image reduced to 32 × 32
(Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1): it survives
re-compression, scaling, and changes in brightness and contrast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SIDE = 32
NEAR_BITS = 6  # of 64: unrelated images of one assay differ in 20 or more


def perceptual_hash(pixels: ArrayLike) -> int:
    """Compute the 64-bit hash of an image (row, column) or (row, column, channel), without alpha (2nd or 4th channel).

    Constant images hash to 0.

    >>> ramp = np.add.outer(np.arange(64), np.arange(48) ** 2)
    >>> perceptual_hash(ramp) == perceptual_hash(3 * ramp + 7)
    True
    """
    image = np.asarray(pixels)
    if image.ndim == 3:
        colours = image.shape[2] - 1 if image.shape[2] in (2, 4) else image.shape[2]
        image = image[..., :colours]
    step = max(1, min(image.shape[0], image.shape[1]) // 256)  # 256 samples per side are plenty for 32
    small = _shrink(image[::step, ::step].astype(np.float64))
    if image.ndim == 3:
        small = small.mean(axis=2)
    spread = np.ptp(small)
    if spread == 0 or not np.isfinite(spread):
        return 0
    coefficients = (_DCT @ ((small - small.mean()) / spread) @ _DCT.T).ravel()
    bits = coefficients[1 : 65 if coefficients.size > 64 else None]
    low = np.concatenate([bits, [0.0]])[:64]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def _shrink(image: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis in (0, 1):
        n = image.shape[axis]
        edges = np.linspace(0, n, _SIDE + 1).astype(int)[:-1] if n >= _SIDE else np.arange(n)
        sums = np.add.reduceat(image, edges, axis=axis)
        lengths = np.diff(np.append(edges, n))
        image = sums / lengths.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
        if n < _SIDE:
            image = np.repeat(image, -(-_SIDE // n), axis=axis).take(range(_SIDE), axis=axis)
    return image


def _dct_rows() -> NDArray[np.float64]:
    k, n = np.mgrid[0:8, 0:_SIDE]
    return np.asarray(np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE)))


_DCT = _dct_rows()


def near_pairs(hashes: ArrayLike, max_bits: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Find all pairs (i, j, bits), i < j, of hashes that differ in at most `max_bits` of 64; skip 0 (constant images).

    >>> near_pairs([0b1100, 0b1101, 0xFFFF << 20], max_bits=2)
    [(0, 1, 1)]
    """
    values = np.asarray(hashes, dtype=np.uint64)
    pairs: list[tuple[int, int, int]] = []
    for start in range(0, len(values), 512):
        block = values[start : start + 512]
        bits = np.bitwise_count(block[:, None] ^ values[None, :])
        bits[(block == 0), :] = 65
        bits[:, values == 0] = 65
        for i, j in np.argwhere(bits <= max_bits).tolist():
            if i + start < j:
                pairs.append((i + start, j, int(bits[i, j])))
    return pairs
