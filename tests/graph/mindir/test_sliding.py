"""Unfolding and folding as amctq reads them from MindIR."""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, mint, ops

from tests.graph.mindir.compare import Function, assert_same

SETTINGS = [(3, 1, 1, 1), ((2, 3), 2, 0, 2), ((2, 3), (1, 2), (1, 0), (2, 1)), (3, 1, 0, 3)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_windows_become_columns(settings: Any) -> None:
    model = assert_same(Function(ops.unfold, *settings), (4, 9, 8))
    assert "Conv" not in {node.op_type for node in model.graph.node}  # which would be a layer to quantize


def there_and_back(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    columns = ops.unfold(x, kernel, dilation, padding, stride)
    pixels = kernel * kernel if isinstance(kernel, int) else kernel[0] * kernel[1]
    columns = columns.reshape(x.shape[0], x.shape[1], pixels, -1)
    return ops.fold(columns * 0.5, Tensor(np.asarray([9, 8]), mindspore.int32), kernel, dilation, padding, stride)


@pytest.mark.parametrize("settings", SETTINGS)
def test_columns_are_added_up_to_an_image(settings: Any) -> None:
    assert_same(Function(there_and_back, *settings), (4, 9, 8))


def folded_by_mint(x: Any) -> Any:
    functional = mint.nn.functional
    return functional.fold(functional.unfold(x, 3, 1, 1, 2), (9, 8), 3, 1, 1, 2)


def test_those_of_mint() -> None:
    functional = mint.nn.functional
    assert_same(
        Function(functional.unfold, (2, 3), 1, (1, 0), 2), (4, 9, 8), like=Function(ops.unfold, (2, 3), 1, (1, 0), 2)
    )
    assert_same(Function(folded_by_mint), (4, 9, 8), like=Function(lambda x: there_and_back(x, 3, 1, 1, 2) * 2))
