"""Moving values: other shapes and orders, joining and dividing tensors."""

from __future__ import annotations

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.primitives.matrix import product_of
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Batch, Tensor, Type


@primitive("Reshape", "View", "FlattenExt", "ExpandDims", "ExpandDimsView", "Squeeze", "Unsqueeze", "ViewAs")
def reshape(call: Call) -> Tensor:
    """``mindspore.ops.Reshape`` and all that only sets another shape, which MindIR tells."""
    return call.reshape(call.tensor(0), call.shape)


@primitive("Flatten")
def flatten(call: Call) -> Tensor:
    """``mindspore.ops.Flatten``: all axes but the first as one."""
    return call.emit("Flatten", [call.tensor(0)])


@primitive("Transpose", "TransposeView", "TransposeExtView", "Permute")
def transpose(call: Call) -> Tensor:
    """``mindspore.ops.Transpose``: the order of the axes."""
    x = call.tensor(0)
    if call.node.primitive == "TransposeExtView":
        order = list(range(x.rank))
        one, other = (call.axis(index, rank=x.rank) for index in (1, 2))
        order[one], order[other] = order[other], order[one]
    else:
        order = [int(axis) % x.rank for axis in call.value(1)]
    return call.emit("Transpose", [x], perm=order)


@primitive("Concat")
def concat(call: Call) -> Tensor:
    """``mindspore.ops.Concat`` of a tuple; one axis."""
    parts = [call.as_tensor(part) for part in call.args[0]]
    return call.emit("Concat", parts, axis=call.axis(1, 0, rank=parts[0].rank))


@primitive("Stack", "StackExt")
def stack(call: Call) -> Tensor:
    """``mindspore.ops.Stack`` of a tuple along a new axis."""
    parts = [call.as_tensor(part) for part in call.args[0]]
    axis = call.attribute("axis", None)
    axis = int(call.value(1, 0) if axis is None else axis) % (parts[0].rank + 1)
    rows = [call.reshape(part, (*part.shape[:axis], 1, *part.shape[axis:])) for part in parts]
    return call.emit("Concat", rows, axis=axis)


@primitive(
    "Split", "SplitTensor", "SplitTensorView", "SplitWithSize", "SplitWithSizeView", "SplitV", "Chunk", "ChunkView"
)
def split(call: Call) -> tuple[Tensor, ...]:
    """``mindspore.ops.Split`` and its kin: the outputs' shapes tell the sizes."""
    return _parts(call, call.tensor(0))


@primitive("Unstack", "UnstackExt", "UnstackExtView")
def unstack(call: Call) -> tuple[Tensor, ...]:
    """``mindspore.ops.unstack``: the slices along an axis, without this axis."""
    x = call.tensor(0)
    axis = call.attribute("axis", None)
    axis = int(call.value(1, 0) if axis is None else axis) % x.rank
    row = Type(x.dtype, tuple(1 if index == axis else size for index, size in enumerate(x.shape)))
    parts = call.emit_several("Split", [x], [row] * int(x.shape[axis]), axis=axis)
    return tuple(call.reshape(part, (*x.shape[:axis], *x.shape[axis + 1 :])) for part in parts)


def _parts(call: Call, x: Tensor) -> tuple[Tensor, ...]:
    kinds = call.node.type
    different = [axis for axis in range(x.rank) if any(kind.shape[axis] != x.shape[axis] for kind in kinds)]
    axis = different[0] if different else 0
    if len(kinds) == 1:
        return (x,)
    sizes = [kind.shape[axis] for kind in kinds]
    if isinstance(x.shape[axis], Batch) and not all(isinstance(size, Batch) for size in sizes):
        call.refuse("a division of the batch", "divide other axes; the batch may have any size, such as 1")
    kinds = [Type(x.dtype, kind.shape) for kind in kinds]
    return call.emit_several("Split", [x, call.graph.ints(sizes)], kinds, axis=axis)


@primitive("Tile", "Repeat")
def tile(call: Call) -> Tensor:
    """``mindspore.ops.Tile``: how often along each axis."""
    x, times = call.tensor(0), tuple(call.value(1))
    if len(times) > x.rank:
        x = call.reshape(x, (*(1,) * (len(times) - x.rank), *x.shape))
    times = (*(1,) * (x.rank - len(times)), *times)
    return call.emit("Tile", [x, call.graph.ints(times)])


@primitive("RepeatInterleaveInt")
def repeat_interleave(call: Call) -> Tensor:
    """``mindspore.mint.repeat_interleave``: every slice along an axis several times; of all values where it is None."""
    x, times = call.tensor(0), int(call.value(1))
    if call.value(2, None) is None:
        x = call.reshape(x, (product_of(x.shape),))
    axis = 0 if call.value(2, None) is None else call.axis(2, rank=x.rank)
    rows = call.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    repeated = call.expanded(rows, (*x.shape[: axis + 1], times, *x.shape[axis + 1 :]))
    return call.reshape(repeated, call.shape)


@primitive("BroadcastTo", "ExpandAs", "BroadcastToView", "ExpandTo")
def broadcast_to(call: Call) -> Tensor:
    """``mindspore.ops.BroadcastTo``: to a shape, which MindIR tells."""
    return call.expanded(call.tensor(0), call.shape)


@primitive("DepthToSpace")
def depth_to_space(call: Call) -> Tensor:
    """``mindspore.ops.DepthToSpace`` (block_size)."""
    return call.emit("DepthToSpace", [call.tensor(0)], blocksize=int(call.attribute("block_size")), mode="DCR")


@primitive("SpaceToDepth")
def space_to_depth(call: Call) -> Tensor:
    """``mindspore.ops.SpaceToDepth`` (block_size)."""
    return call.emit("SpaceToDepth", [call.tensor(0)], blocksize=int(call.attribute("block_size")))


@primitive("ChannelShuffle")
def channel_shuffle(call: Call) -> Tensor:
    """``mindspore.ops.channel_shuffle`` (group): the first channels of all groups, then the second ones, and so on."""
    x, groups = call.tensor(0), int(call.attribute("group"))
    batch, channels, *rest = x.shape
    rows = call.reshape(x, (batch, groups, int(channels) // groups, *rest))
    kind = Type(x.dtype, (batch, int(channels) // groups, groups, *rest))
    return call.reshape(call.emit("Transpose", [rows], kind, perm=[0, 2, 1, *range(3, rows.rank)]), x.shape)


@primitive("Shape", "TensorShape")
def shape_of(call: Call) -> tuple[int | Batch, ...]:
    """``mindspore.ops.Shape``: a constant, but for the batch."""
    return call.tensor(0).shape
