"""Means and deviations of pixels in 0…255 are found, and no honest ones are refused."""

from __future__ import annotations

import pytest

from amctq.data.pixel_range import Three, out_of_range
from amctq.data.preprocess import CIFAR10_224, IMAGENET_224

ZEROS, ONES, HALVES = (0.0,) * 3, (1.0,) * 3, (0.5,) * 3


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        *((known.mean, known.std) for known in (CIFAR10_224, IMAGENET_224)),
        *((ZEROS, ONES), (HALVES, HALVES), (ONES, ONES), (None, None), (ZEROS, None), (None, ONES)),
        (ZEROS, (1 / 255,) * 3),  # the network takes 0…255
        ((0.485, 0.456, 0.406), (1 / 255,) * 3),
        ((127 / 255,) * 3, (128 / 255,) * 3),
        ((127.5 / 255,) * 3, (1 / 255,) * 3),
    ],
)
def test_honest_values_are_taken(mean: Three | None, std: Three | None) -> None:
    assert out_of_range(mean, std) is None


@pytest.mark.parametrize(
    ("mean", "std", "name", "divided"),
    [
        (
            (123.675, 116.28, 103.53),
            (58.395, 57.12, 57.375),
            "mean",
            {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        ),
        ((127.5,) * 3, None, "mean", {"mean": HALVES}),
        (None, (255.0,) * 3, "std", {"std": ONES}),
        (ZEROS, (255.0,) * 3, "std", {"mean": ZEROS, "std": ONES}),
        ((127.5,) * 3, ONES, "mean", {"mean": HALVES, "std": (0.003922,) * 3}),
        ((1000.0,) * 3, ONES, "mean", {}),
        (ZEROS, (1e-6,) * 3, "std", {}),
        (HALVES, (0.2, 0.2, 1e29), "std", {}),
        ((-50.0, 0.0, 0.0), ONES, "mean", {}),
    ],
)
def test_others_are_named(mean: Three | None, std: Three | None, name: str, divided: dict[str, Three]) -> None:
    found = out_of_range(mean, std)
    assert found is not None
    assert (found.name, dict(found.divided)) == (name, divided)
