"""The preprocessing that an exported file names, whole and damaged."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from amctq.data.preprocess import CIFAR10_224, IMAGENET_224, Preprocessing
from amctq.errors import InputError
from amctq.services.stored_preprocessing import stored_preprocessing

KEY, INPUT = "amctq.preprocessing", "amctq.input"
GOOD: dict[str, Any] = {"image_size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "center_crop": False}


@pytest.mark.parametrize(
    "known", [CIFAR10_224, IMAGENET_224, Preprocessing(image_size=9, mean=(0, 0, 0), std=(1, 1, 1))]
)
def test_it_comes_back_as_it_was(known: Preprocessing) -> None:
    size = known.image_size
    metadata = {KEY: json.dumps(asdict(known)), INPUT: f"float32 NCHW 3x{size}x{size}"}
    assert stored_preprocessing(metadata) == known
    assert stored_preprocessing({INPUT: "anything"}) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"std": [0.2, 0.0, 0.2]}, "std: found [0.2, 0.0, 0.2], expected three numbers above 0"),
        ({"std": [-0.2, 0.2, 0.2]}, "expected three numbers above 0"),
        ({"std": [1e-45, 1, 1]}, "pixels become infinite"),
        ({"std": [1e29] * 3}, "expected three numbers from 0.001 to 10, for pixels in 0…1"),
        ({"std": [1e-30] * 3}, "std: found [1e-30, 1e-30, 1e-30]"),
        ({"std": [1e-6] * 3}, "std: found [1e-06, 1e-06, 1e-06]"),
        ({"mean": [123, 116, 103], "std": [58, 57, 57]}, "and these look like 0…255"),
        ({"mean": [50, 50, 50]}, "mean: found [50.0, 50.0, 50.0], expected three numbers from -1 to 2"),
        ({"std": [0.2, 0.2]}, "expected three finite numbers"),
        ({"std": [0.2, 0.2, 0.2, 0.2]}, "expected three finite numbers"),
        ({"std": 0.2}, "std: found 0.2"),
        ({"std": None}, "std: found null"),
        ({"std": [0.2, True, 0.2]}, "expected three finite numbers"),
        ({"std": ["0.2", 0.2, 0.2]}, "expected three finite numbers"),
        ({"mean": [0.5, 10**400, 0.5]}, "found a whole number of 401 digits"),
        ({"mean": {}}, "mean: found {}"),
        ({"mean": [1e300, 0, 0]}, "expected three finite numbers"),
        ({"image_size": 0}, "image_size: found 0"),
        ({"image_size": -32}, "image_size: found -32"),
        ({"image_size": 33}, "image_size: found 33, and amctq.input is 'float32 NCHW 3x32x32'"),
        ({"image_size": 32.5}, "image_size: found 32.5"),
        ({"image_size": True}, "image_size: found true"),
        ({"image_size": 10**9}, "image_size: found 1000000000"),
        ({"image_size": 10**30}, "image_size: found a number of that size"),
        ({"center_crop": 1}, "center_crop: found 1"),
        ({"centre_crop": True}, "centre_crop: unknown key"),
    ],
)
def test_damage_is_named(change: dict[str, Any], says: str) -> None:
    metadata = {KEY: json.dumps(GOOD | change), INPUT: "float32 NCHW 3x32x32"}
    with pytest.raises(InputError) as found:
        stored_preprocessing(metadata)
    assert says in found.value.message
    assert "export it again" in (found.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "NaN", '"x"', "[" * 100_000, '{"mean": NaN}', "\ud800", "\0", "{}"),
        json.dumps(GOOD).replace("0.2", "NaN"),
        json.dumps(GOOD).replace("0.5", "Infinity"),
        json.dumps(GOOD).replace("32", "9" * 5000),
        json.dumps(GOOD)[:-1] + ', "mean": [0, 0, 0]}',
        *(json.dumps({key: value for key, value in GOOD.items() if key != name}) for name in GOOD),
    ],
)
def test_what_is_no_preprocessing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"its metadata amctq\.preprocessing"):
        stored_preprocessing({KEY: text})
