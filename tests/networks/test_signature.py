"""What a network takes, matched with what the samples have."""

from __future__ import annotations

from typing import Any

import pytest
from mindspore import nn

from amctq.data.inputs import InputSpec
from amctq.errors import InputError
from amctq.networks.signature import input_names
from tests.arrays import image_spec

IMAGES = image_spec(3, 8, 8)
IDS = InputSpec(shape=(12,), dtype="int64")


class One(nn.Cell):
    """A network of images, called otherwise than its samples call them."""

    def construct(self, x: Any) -> Any:
        return x


class Two(nn.Cell):
    """A network of two inputs."""

    def construct(self, x: Any, mask: Any) -> Any:
        return x + mask


class Optional(nn.Cell):
    """A network that does without its second input."""

    def construct(self, ids: Any, mask: Any = None) -> Any:
        return ids if mask is None else ids + mask


class Constant(nn.Cell):
    """A network without an input."""

    def construct(self) -> Any:
        return 1


@pytest.mark.parametrize(
    ("cell", "given", "names"),
    [
        (One, IMAGES, {"image": "image"}),
        (One, {"image": IDS}, {"image": "x"}),
        (Two, {"0": IDS, "1": IDS}, {"0": "x", "1": "mask"}),
        (Two, {"mask": IDS, "x": IDS}, {"x": "x", "mask": "mask"}),
        (Optional, {"ids": IDS}, {"ids": "ids"}),
        (Optional, {"mask": IDS, "ids": IDS}, {"ids": "ids", "mask": "mask"}),
    ],
)
def test_inputs_have_the_order_of_construct(
    cell: type[nn.Cell], given: dict[str, InputSpec], names: dict[str, str]
) -> None:
    found = input_names(cell(), given)
    assert found == names
    assert list(found) == list(names)


@pytest.mark.parametrize(
    ("cell", "given", "taken"),
    [
        (Two, IMAGES, r"takes x, mask, and the dataset gives image float32 \(N, 3, 8, 8\)$"),
        (Constant, IMAGES, "takes nothing, and the dataset gives image "),
        (One, {"0": IDS, "1": IDS}, r"takes x, and the dataset gives 0 int64 \(N, 12\), 1 int64 \(N, 12\)$"),
        (Two, {"x": IDS, "masks": IDS}, "takes x, mask, and the dataset gives x .*, masks "),
        (Optional, {"mask": IDS}, "takes ids and, if given, mask, and the dataset gives mask "),
    ],
)
def test_other_inputs_than_the_networks_are_named(cell: type[nn.Cell], given: dict[str, InputSpec], taken: str) -> None:
    with pytest.raises(InputError, match=rf"construct\(\) of the network {taken}"):
        input_names(cell(), given)
