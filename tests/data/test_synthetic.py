"""The generated set: the same bytes everywhere, and neither trivial nor noise."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from amctq.data import synthetic


def _records(images: int, *, seed: int = 1, role: int = 0) -> NDArray[np.uint8]:
    return np.concatenate(list(synthetic.records(images, seed=seed, role=role)))


def test_the_bytes_are_these() -> None:
    # Whoever changes a picture gives synthetic.VERSION a new number.
    assert synthetic.VERSION == 1
    digest = hashlib.sha256(_records(600).tobytes()).hexdigest()
    assert digest == "1296ff23c713b365eb582b5c76ddbacd8ac47a598897ba6479b2b7fca34a85a3"


def test_seed_and_role_choose_the_images() -> None:
    sets = [_records(40, seed=seed, role=role) for seed, role in ((1, 0), (1, 1), (2, 0))]
    assert np.array_equal(sets[0], _records(40))
    assert len({images.tobytes() for images in sets}) == 3


def test_classes_are_balanced_and_in_no_order() -> None:
    labels = _records(1005)[:, 0]
    assert sorted(np.bincount(labels, minlength=10).tolist()) == [100] * 5 + [101] * 5
    assert len(set(labels[:20].tolist())) > 5
    assert len(synthetic.CLASS_NAMES) == 10


def test_images_differ_and_use_the_range() -> None:
    pixels = _records(500)[:, 1:]
    assert len(np.unique(pixels, axis=0)) == 500
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert 90 < pixels.mean() < 160


def test_neither_trivial_nor_noise() -> None:
    """Nearest class mean of grey images of mean 0 and deviation 1, far from what a network reaches."""

    def grey(records: NDArray[np.uint8]) -> NDArray[np.float64]:
        images = records[:, 1:].reshape(len(records), 3, -1).mean(1)
        images -= images.mean(1, keepdims=True)
        return images / images.std(1, keepdims=True)

    train, test = _records(4000), _records(1000, role=1)
    means = np.stack([grey(train[train[:, 0] == label]).mean(0) for label in range(10)])
    nearest = ((means**2).sum(1) - 2 * grey(test) @ means.T).argmin(1)
    assert 0.18 < (nearest == test[:, 0]).mean() < 0.5
