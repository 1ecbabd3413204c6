"""Activations of every shape that an observer may meet, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def _distributions() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(11)
    normal = random.normal(size=(20, 50_000))
    return {
        "relu": np.maximum(normal, 0),
        "normal": normal,
        "exponential": random.exponential(size=(20, 50_000)),
        "negative": -random.exponential(size=(20, 50_000)),
        "heavy-tail": random.standard_t(3, size=(20, 50_000)),
        "sparse": np.where(random.random((20, 50_000)) < 0.98, 0, random.exponential(size=(20, 50_000))),
        "levels": (random.integers(0, 256, (20, 50_000)) / 255 - 0.48) / 0.23,
        "tiny": np.maximum(normal, 0) * 1e-4,
        "huge": normal * 1e6,
        "small-sample": np.maximum(normal[:, :50], 0),
    }


DISTRIBUTIONS = {name: values.astype(np.float32) for name, values in _distributions().items()}

# Many equal values at an end.
SATURATED = {
    "constant": np.full(100_000, 5.0),
    "constant-off-the-grid": np.full(100_000, 0.3),
    "negative-constant": np.full(100_000, -5.0),
    "mask": np.arange(200_000) % 2,
    "relu6": np.where(np.arange(200_000) % 5 == 0, 6.0, np.linspace(0, 0.5, 200_000)),
    "sigmoid": np.where(np.arange(200_000) % 3 == 0, 1.0, np.linspace(0, 1, 200_000)),
}
