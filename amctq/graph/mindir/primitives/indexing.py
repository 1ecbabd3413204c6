"""Reading and writing values by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.arithmetic import cast
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Tensor, Type, known


@primitive("Gather")
def gather(call: Call) -> Tensor:
    """``mindspore.ops.gather``: indices along an axis, batch_dims."""
    x, indices = call.tensor(0), call.tensor(1)
    axis, batch = call.axis(2, 0, rank=x.rank), int(call.value(3, call.attribute("batch_dims", 0)))
    batch %= indices.rank + 1
    if not batch:
        return call.emit("Gather", [x, indices], axis=axis)
    # GatherND takes the axis that follows the axes of the batch.
    x = _transposed(call, x, [*range(batch), axis, *range(batch, axis), *range(axis + 1, x.rank)])
    found = call.emit(
        "GatherND",
        [x, cast(call, call.reshape(indices, (*indices.shape, 1)), "int64")],
        Type(x.dtype, (*indices.shape, *x.shape[batch + 1 :])),
        batch_dims=batch,
    )
    between = range(indices.rank, indices.rank + axis - batch)
    order = [*range(batch), *between, *range(batch, indices.rank), *range(between.stop, found.rank)]
    return _transposed(call, found, order)


def _transposed(call: Call, x: Tensor, order: Sequence[int]) -> Tensor:
    if list(order) == list(range(x.rank)):
        return x
    kind = Type(x.dtype, tuple(x.shape[axis] for axis in order))
    return call.emit("Transpose", [x], kind, perm=list(order))


@primitive("IndexSelect")
def index_select(call: Call) -> Tensor:
    """``mindspore.mint.index_select``: an axis and indices along it."""
    x = call.tensor(0)
    return call.emit("Gather", [x, call.tensor(2)], axis=call.axis(1, rank=x.rank))


@primitive("Embedding")
def embedding(call: Call) -> Tensor:
    """``mindspore.mint.nn.functional.embedding``: indices, and a table (rows, width)."""
    if len(call.args) > 3 and call.args[3] is not None:
        call.refuse("max_norm changes the table", "leave max_norm out")
    return call.emit("Gather", [call.tensor(1), call.tensor(0)], axis=0)


@primitive("EmbeddingLookup")
def embedding_lookup(call: Call) -> Tensor:
    """``mindspore.ops.EmbeddingLookup``: a table, indices, and the number that its first row has."""
    if call.value(2, 0):
        call.refuse("an offset other than 0", "use mindspore.nn.Embedding")
    return call.emit("Gather", [call.tensor(0), call.tensor(1)], axis=0)


@primitive("GatherD", "GatherDExt")
def gather_d(call: Call) -> Tensor:
    """``mindspore.ops.gather_elements``: x, axis, indices of the shape of the result."""
    x, indices = call.tensor(0), call.tensor(2)
    return call.emit("GatherElements", [x, cast(call, indices, "int64")], axis=call.axis(1, rank=x.rank))


@primitive("GatherNd", "GatherNdExt")
def gather_nd(call: Call) -> Tensor:
    """``mindspore.ops.gather_nd``, ``x[:, index]``: the last axis of the indices holds one number for each axis."""
    return call.emit("GatherND", [call.tensor(0), cast(call, call.tensor(1), "int64")])


@primitive("TensorScatterUpdate", "TensorScatterAdd")
def tensor_scatter(call: Call) -> Tensor:
    """``mindspore.ops.tensor_scatter_update``, ``x[:, 0] = y``; ``tensor_scatter_add``: x, indices, updates."""
    x, indices, updates = (call.tensor(index) for index in range(3))
    reduction = "add" if call.node.primitive == "TensorScatterAdd" else "none"
    inputs = [x, cast(call, indices, "int64"), cast(call, updates, x.dtype)]
    return call.emit("ScatterND", inputs, reduction=reduction)


@primitive("ScatterNd")
def scatter_nd(call: Call) -> Tensor:
    """``mindspore.ops.scatter_nd``: updates, added up at indices of zeros."""
    indices, updates = cast(call, call.tensor(0), "int64"), call.tensor(1)
    zeros = call.expanded(call.as_tensor(np.zeros((), known(call.type.dtype))), call.shape)
    return call.emit("ScatterND", [zeros, indices, updates], reduction="add")


@primitive("TensorScatterElements", "Scatter", "ScatterAddExt")
def scatter_elements(call: Call) -> Tensor:
    """``mindspore.ops.tensor_scatter_elements``, ``mindspore.mint.scatter``, ``scatter_add``: along one axis."""
    name = call.node.primitive
    places = (0, 1, 2, 3) if name == "TensorScatterElements" else (0, 2, 3, 1)
    x, indices, updates = (call.tensor(place) for place in places[:3])
    axis = int(call.value(places[3], call.attribute("axis", 0))) % x.rank
    mode = "add" if name == "ScatterAddExt" else call.value(4, call.attribute("reduction", 0))
    reduction = {0: "none", "none": "none", 1: "add", "add": "add"}.get(mode)
    if reduction is None:
        call.refuse(f"reduction {mode}", "use none or add")
    inputs = [x, cast(call, indices, "int64"), cast(call, updates, x.dtype)]
    return call.emit("ScatterElements", inputs, axis=axis, reduction=reduction)
