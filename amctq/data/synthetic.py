"""A generated set in CIFAR-10's format: ten classes of shapes and textures, for a machine without a dataset.

The same seed gives the same bytes on every machine and with every NumPy: random bits come from PCG64's raw stream,
which NumPy promises to keep (NEP 19; it does not promise ``Generator``'s methods), and all arithmetic is on int32.
Lengths are in 1/256 of a pixel, sines and cosines in 1/4096.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.data.cifar import CLASSES, RECORD_BYTES

VERSION = 1  # of the pictures; a new number for other bytes
_SIDE = 32
_BLOCK = 500  # images drawn at once: a few MB for each array
_PIXEL = 256
_ONE = 4096
_TURN = 1024  # angles to a full turn
_MAX_TILT = _TURN // 14  # about 26 degrees: rows stay rows
_COSINE = np.asarray([round(_ONE * math.cos(2 * math.pi * k / _TURN)) for k in range(_TURN)], np.int32)

_Int = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """Where pixels lie in a shape's own frame: ``u`` and ``v`` int32 (N, 32, 32), and its ``radius`` (N, 1, 1)."""

    u: _Int
    v: _Int
    radius: _Int


# Each shape gives how far inside it a point lies, negative outside, as int32 (N, 32, 32).


def _disc(p: _Plane) -> _Int:
    return _inside_circle(p.u, p.v, p.radius)


def _ring(p: _Plane) -> _Int:
    return np.minimum(_disc(p), -_inside_circle(p.u, p.v, p.radius * 9 // 16))


def _square(p: _Plane) -> _Int:
    inside: _Int = p.radius * 7 // 8 - np.maximum(np.abs(p.u), np.abs(p.v))
    return inside


def _frame(p: _Plane) -> _Int:
    square = _square(p)
    inside: _Int = np.minimum(square, p.radius * 3 // 8 - square)
    return inside


def _triangle(p: _Plane) -> _Int:
    across = np.abs(p.u * 3547 // _ONE)  # sin 60 degrees = 3547 / 4096
    inside: _Int = p.radius * 5 // 8 - np.maximum(p.v, across - p.v // 2)  # the edge below, and the two beside it
    return inside


def _cross(p: _Plane) -> _Int:
    u, v, arm = np.abs(p.u), np.abs(p.v), p.radius * 5 // 16
    inside: _Int = np.maximum(np.minimum(p.radius - u, arm - v), np.minimum(p.radius - v, arm - u))
    return inside


def _rows(p: _Plane) -> _Int:
    return np.minimum(_square(p), _wave(p.v, p.radius))


def _columns(p: _Plane) -> _Int:
    return np.minimum(_square(p), _wave(p.u, p.radius))


def _checkerboard(p: _Plane) -> _Int:
    u, v = _wave(p.u, p.radius), _wave(p.v, p.radius)
    near = np.minimum(np.abs(u), np.abs(v))
    return np.minimum(_square(p), np.where((u > 0) == (v > 0), near, -near))


def _dots(p: _Plane) -> _Int:
    period = _period(p.radius)
    u, v = (axis % period - period // 2 for axis in (p.u, p.v))
    return np.minimum(_square(p), _inside_circle(u, v, period * 3 // 8))


_SHAPES: tuple[Callable[[_Plane], _Int], ...] = (
    _disc, _ring, _square, _frame, _triangle, _cross, _rows, _columns, _checkerboard, _dots,
)  # fmt: skip
CLASS_NAMES = tuple(shape.__name__.removeprefix("_") for shape in _SHAPES)


def _inside_circle(u: _Int, v: _Int, radius: _Int) -> _Int:
    """Close to the edge (r² - d²) / 2r is the distance to it, and needs no root."""
    inside: _Int = (radius * radius - u * u - v * v) // (2 * radius)
    return inside


def _period(radius: _Int) -> _Int:
    return radius * 5 // 8


def _wave(axis: _Int, radius: _Int) -> _Int:
    """Stripes of equal width: the distance to the nearest edge, positive in every second one."""
    period = _period(radius)
    wave: _Int = period // 4 - np.abs(axis % period - period // 2)
    return wave


class _Bits:
    """Random numbers from PCG64's raw stream."""

    def __init__(self, seed: int, *key: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence([seed, *key]))

    def octets(self, *shape: int) -> NDArray[np.uint8]:
        """Uniform bytes."""
        count = math.prod(shape)
        raw = self._source.random_raw(-(-count // 8))
        return np.asarray(raw).astype("<u8").view(np.uint8)[:count].reshape(shape)

    def below(self, low: int, high: int, count: int, channels: int = 1) -> _Int:
        """Whole numbers from ``low`` up to ``high`` - 1, int32 (count, channels, 1, 1), or (count, 1, 1) for one."""
        raw = self.octets(count * channels, 4).view("<u4").astype(np.int64).reshape(count, channels, 1, 1)
        drawn: _Int = (low + (raw * (high - low) >> 32)).astype(np.int32)
        return drawn[:, 0] if channels == 1 else drawn


def records(images: int, *, seed: int, role: int) -> Iterator[NDArray[np.uint8]]:
    """Draw images, with the classes in random order and in equal numbers as far as possible.

    Args:
        images: how many.
        seed: the same seed gives the same bytes.
        role: another role gives other images of the same kind (training and test).

    Yields:
        Blocks of records, uint8 (N, 3073), as they are in the files.
    """
    keys = _Bits(seed, VERSION, role).octets(images, 8).view("<u8")[:, 0]
    labels = (np.arange(images) % CLASSES)[np.argsort(keys, kind="stable")]
    for index, start in enumerate(range(0, images, _BLOCK)):
        yield _draw(labels[start : start + _BLOCK], _Bits(seed, VERSION, role, index + 1))


def _draw(labels: NDArray[np.int64], bits: _Bits) -> NDArray[np.uint8]:
    count = len(labels)
    plane = _plane(count, bits)
    distance = np.empty((count, _SIDE, _SIDE), np.int32)
    for label, shape in enumerate(_SHAPES):
        chosen = labels == label
        distance[chosen] = shape(_Plane(u=plane.u[chosen], v=plane.v[chosen], radius=plane.radius[chosen]))
    softness = bits.below(1, 4, count)  # pixels from outside to inside
    coverage = np.clip(distance // softness + _PIXEL // 2, 0, _PIXEL)[:, None]
    image = _paint(coverage, bits)
    out = np.empty((count, RECORD_BYTES), np.uint8)
    out[:, 0] = labels
    out[:, 1:] = np.clip(image, 0, 255).reshape(count, -1)
    return out


def _plane(count: int, bits: _Bits) -> _Plane:
    """A frame for each image: moved by up to 4 pixels, tilted, of a radius of 7 to 13 pixels."""
    reach = 4 * _PIXEL
    radius = bits.below(7 * _PIXEL, 13 * _PIXEL, count)
    axis = (np.arange(_SIDE, dtype=np.int32) - _SIDE // 2) * _PIXEL + _PIXEL // 2
    x = axis[None, None, :] - bits.below(-reach, reach + 1, count)
    y = axis[None, :, None] - bits.below(-reach, reach + 1, count)
    tilt = bits.below(-_MAX_TILT, _MAX_TILT + 1, count)
    cosine, sine = _COSINE[tilt % _TURN], _COSINE[(tilt - _TURN // 4) % _TURN]
    return _Plane(u=(x * cosine + y * sine) // _ONE, v=(y * cosine - x * sine) // _ONE, radius=radius)


def _paint(coverage: _Int, bits: _Bits) -> _Int:
    """Colours, an uneven background, rectangles in front, and noise; int32 (N, 3, 32, 32)."""
    count = len(coverage)
    ground = bits.below(60, 156, count, 3)
    sign = np.where(bits.below(0, 8, count) == 0, -1, 1)
    contrast = bits.below(32, 112, count, 3) * (sign * bits.below(32, 256, count))[:, None] // 256
    clutter = (bits.octets(count, 3, 8, 8).astype(np.int32) - 128) * bits.below(8, 80, count)[:, None] // 256
    image: _Int = ground + clutter.repeat(4, axis=2).repeat(4, axis=3) + contrast * coverage // _PIXEL
    image = np.where(_veil(count, bits)[:, None], bits.below(40, 216, count, 3), image)
    noise = bits.octets(count, 3, _SIDE, _SIDE).astype(np.int32) + bits.octets(count, 3, _SIDE, _SIDE) - 255
    return image + noise * bits.below(8, 80, count)[:, None] // 256


def _veil(count: int, bits: _Bits) -> NDArray[np.bool_]:
    """A rectangle in front of each image, bool (N, 32, 32)."""
    axis = np.arange(_SIDE, dtype=np.int32)
    inside = []
    for across in (axis[None, None, :], axis[None, :, None]):
        start, length = bits.below(-4, _SIDE, count), bits.below(2, 12, count)
        inside.append((across >= start) & (across < start + length))
    return inside[0] & inside[1]
