"""Reading and writing by index, as amctq reads it from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, Tensor, mint, nn, ops

from tests.graph.mindir.compare import assert_same

_ROWS = Tensor(np.random.default_rng(7).normal(0, 1, (4, 6)).astype(np.float32))
_INDEX = Tensor(np.array([2, 0, 1], np.int32))
_GRID = Tensor(np.array([[2, 0], [1, 3]], np.int64))
_PLACES = Tensor(np.array([[0], [2]], np.int32))


def by_tensors(x: Any) -> Any:
    return (
        x[:, _INDEX],
        x[:, :, _INDEX],
        x[:, _INDEX, _INDEX],
        x[:, _GRID],
        x[:, [0, 2]],
        x[:, Tensor(np.array([-1, 0]))],
        _ROWS[_INDEX] + x[:, :3],
    )


def written(x: Any) -> Any:
    first, second, third, fourth = x * 1, x * 1, x * 1, x * 1
    first[:, 0] = 0
    second[:, 1:3] = x[:, 0:2]
    third[..., 0] *= 2
    fourth[fourth > 0] = 0
    return first, second, third, fourth


def gathered(x: Any) -> Any:
    mask = (x > 0).astype(mindspore.int32)
    return (
        ops.gather(x, _INDEX, 1),
        ops.gather(x, _GRID, 2),
        ops.gather(x, Tensor(2), 1),
        ops.gather(x, _INDEX, -1),
        ops.gather(x, mask[:, 0, :2], 1, 1),
        ops.gather(x, mask[:, :, :3], 2, 2),
        ops.gather(x, mask[:, :2, 0], 2, 1),
        x.take(_INDEX, 1),
        ops.index_select(x, 1, _INDEX),
        ops.gather_d(x, 2, mask),
        mint.gather(x, 1, mask.astype(mindspore.int64)),
        ops.gather_nd(x.transpose(1, 2, 0), Tensor(np.array([[0, 1], [2, 3]], np.int32))),
    )


def scattered(x: Any) -> Any:
    zeros = (x > 100).astype(mindspore.int32)
    return (
        ops.scatter_nd(_PLACES, _ROWS[:2], (4, 6)) + x,
        ops.scatter_nd(Tensor(np.array([[1], [1]], np.int32)), _ROWS[:2], (4, 6)) + x,
        ops.tensor_scatter_update(_ROWS, _PLACES, _ROWS[1:3]) + x,
        ops.tensor_scatter_add(_ROWS, _PLACES, _ROWS[1:3]) + x,
        ops.tensor_scatter_elements(x, zeros[:, :1], x[:, 1:2], 1),
        ops.tensor_scatter_elements(x, zeros, x, 1, "add"),
    )


@pytest.mark.parametrize(("function", "outputs"), [(by_tensors, 7), (written, 4), (gathered, 12), (scattered, 6)])
def test_indices_are_those_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


class Tables(nn.Cell):
    """Embeddings of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.hot = nn.Embedding(10, 3), nn.Embedding(10, 3, use_one_hot=True)
        self.lookup, self.places = nn.EmbeddingLookup(10, 3), nn.Embedding(10, 6)
        self.token = Parameter(Tensor(np.random.default_rng(3).normal(0, 1, (1, 1, 6)).astype(np.float32)))

    def construct(self, x: Any) -> Any:
        index = x.abs().astype(mindspore.int32)
        tokens = ops.cat((self.token.tile((x.shape[0], 1, 1)), x), 1)
        return self.plain(index), self.hot(index), self.lookup(index), tokens + self.places(ops.arange(5))


def test_embeddings_are_those_of_mindspore() -> None:
    assert_same(Tables(), (4, 6), outputs=4)


class MintTable(nn.Cell):
    """An embedding that MindSpore has no kernel of for the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.table = mint.nn.Embedding(10, 3, padding_idx=1)

    def construct(self, x: Any) -> Any:
        return self.table(x.abs().astype(mindspore.int64)), mint.index_select(x, 2, _INDEX)


def test_indices_that_mindspore_has_no_kernel_of_on_a_cpu() -> None:
    network = MintTable()
    weight = network.table.weight

    def expected(x: Tensor) -> Any:
        return ops.gather(weight, x.abs().astype(mindspore.int64), 0), ops.gather(x, _INDEX, 2)

    assert_same(network, (4, 6), outputs=2, like=expected)
