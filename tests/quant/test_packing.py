"""Two weights of 4 bits in a byte."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.packing import pack_int4, unpack_int4


def test_the_even_one_stands_in_the_low_half() -> None:
    assert pack_int4(np.asarray([[1, 2, -1, -8]], np.int8), axis=1).tolist() == [[0x21, 0x8F - 256]]
    assert pack_int4(np.asarray([[1, 7], [2, -8]], np.int8), axis=0).tolist() == [[0x21, 0x87 - 256]]


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_what_is_packed_is_unpacked(axis: int) -> None:
    values = np.random.default_rng(0).integers(-8, 8, (4, 6, 2), np.int8)
    packed = pack_int4(values, axis=axis)
    assert packed.dtype == np.int8
    assert packed.size * 2 == values.size
    assert np.array_equal(unpack_int4(packed, axis=axis), values)


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="3 integers along axis 1"):
        pack_int4(np.zeros((2, 3), np.int8), axis=1)
