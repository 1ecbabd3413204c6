"""Small networks with operators between convolutions, as mobile networks and transformers have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.graph.float_graph import FloatGraph
from tests.graph.graphs import float_graph, quoted

IMAGES = np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)

# Behind a convolution that yields x, and in front of one that reads y: 8 channels, 8 x 8.
PATTERNS = {
    "relu6": "y = Clip (x, zero, six)",
    "hard tanh": "y = Clip (x, minus, one)",
    "clip without zero": "y = Clip (x, one, six)",
    "silu": "s = Sigmoid (x) y = Mul (x, s)",
    "hswish": "y = HardSwish (x)",
    "hswish by hand": "p = Add (x, three) q = Clip (p, zero, six) r = Div (q, six) y = Mul (x, r)",
    "minus": "p = Sub (x, channels) y = Relu (p)",
    "leaky": "y = LeakyRelu <alpha = 0.1> (x)",
    "residual": "p = Conv (x, point.weight) y = Add (x, p)",
    "residual and relu": "p = Conv (x, point.weight) q = Add (x, p) y = Relu (q)",
    "relu beside": "p = Relu (x) q = Conv (p, point.weight) y = Add (x, q)",
    "squeeze and excite": """
        p = GlobalAveragePool (x) q = Conv (p, point.weight) r = Relu (q) s = Conv (r, point2.weight)
        t = Sigmoid (s) y = Mul (x, t)
    """,
    "hard squeeze and excite": """
        p = GlobalAveragePool (x) q = Conv (p, point.weight) t = HardSigmoid <alpha = 0.16666667, beta = 0.5> (q)
        y = Mul (x, t)
    """,
    "shuffle": """
        p = Reshape (x, grouped) q = Transpose <perm = [0, 2, 1, 3, 4]> (p) y = Reshape (q, back)
    """,
    "split and concat": "p, q = Split <axis = 1> (x) r = Conv (p, half.weight) y = Concat <axis = 1> (r, q)",
    "parts": "p, q = Split <axis = 1> (x) y = Concat <axis = 1> (q, p)",
    "dense block": """
        p = BatchNormalization (x, bn.gamma, bn.beta, bn.mean, bn.variance) r = Relu (p) q = Conv (r, point.weight)
        y = Concat <axis = 1> (x, q)
    """,
    "max pool": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)",
    "average pool": "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)",
    "average pool with pads": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)",
    "upsample": 'y = Resize <mode = "nearest"> (x, , scales)',
    "depth to space": "y = DepthToSpace <blocksize = 2> (x)",
    "space to depth": "y = SpaceToDepth <blocksize = 2> (x)",
    "gather": "y = Gather <axis = 1> (x, order)",
    "depthwise": "p = Conv <group = 8> (x, depthwise.weight) y = Clip (p, zero, six)",
}
# The same, where something stays in float: with the operators that are named.
FLOAT_PATTERNS = {
    "instance norm": ("y = InstanceNormalization (x, bn.gamma, bn.beta)", ["InstanceNormalization"]),
    "gelu": (
        "p = Div (x, root) q = Erf (p) r = Add (q, one) s = Mul (x, r) y = Mul (s, half)",
        ["Erf"],
    ),
    "few channels a group": ("p = Conv <group = 4, pads = [1, 1, 1, 1]> (x, grouped.weight) y = Relu (p)", ["Conv"]),
    "channels of zeros": (
        "p, q = Split <axis = 1> (x) r = Pad (p, beside) s = Conv (x, point.weight) t = Add (r, s) y = Relu (t)",
        [],
    ),
    "transposed": ("y = ConvTranspose (x, transposed.weight)", ["ConvTranspose"]),
    "sum that only floats read": ("p = Conv (x, point.weight) q = Add (x, p) y = Erf (q)", ["Erf"]),
    "scaled residual": ("p = Conv (x, point.weight) q = Mul (p, half) y = Add (q, x)", []),
    "constants added": ("p = MatMul (dense.weight, dense.weight) q = ReduceSum (p) y = Add (x, q)", []),
    "constants multiplied": ("p = MatMul (dense.weight, dense.weight) q = ReduceSum (p) y = Mul (x, q)", []),
    "sum with floats": (
        "p = Conv (x, point.weight) q = Relu (p) r = Conv (q, point2.weight) s = Erf (r) y = Add (q, s)",
        ["Erf"],
    ),
}


def network(pattern: str, channels: int = 8) -> FloatGraph:
    random = np.random.default_rng(1)

    def array(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    arrays = {
        "stem.weight": array(8, 3, 3, 3),
        "point.weight": array(8, 8, 1, 1),
        "point2.weight": array(8, 8, 1, 1),
        "half.weight": array(4, 4, 1, 1),
        "depthwise.weight": array(8, 1, 3, 3),
        "grouped.weight": array(8, 2, 3, 3),
        "transposed.weight": array(8, 8, 2, 2),
        "dense.weight": array(8, 8),
        "last.weight": array(6, channels, 1, 1),
        "fc.weight": array(5, 6),
        "channels": array(8, 1, 1),
        "vector": np.abs(array(8)),
        "row": array(1, 8),
        "bn.gamma": array(8) + 1,
        "bn.beta": array(8),
        "bn.mean": array(8),
        "bn.variance": np.abs(array(8)) + np.float32(0.1),
        **{name: np.asarray(value, np.float32) for name, value in CONSTANTS.items()},
    }
    body = f"""
        grouped = Constant <value = int64[5] {{0, 2, 4, 8, 8}}> ()
        back = Constant <value = int64[4] {{0, 8, 8, 8}}> ()
        image_again = Constant <value = int64[4] {{0, 8, 1, 1}}> ()
        beside = Constant <value = int64[8] {{0, 2, 0, 0, 0, 2, 0, 0}}> ()
        order = Constant <value = int64[8] {{3, 1, 2, 0, 7, 6, 5, 4}}> ()
        x = Conv <pads = [1, 1, 1, 1]> (image, stem.weight)
        {pattern}
        z = Conv (y, last.weight)
        u = Relu (z)
        v = GlobalAveragePool (u)
        w = Flatten (v)
        logits = Gemm <transB = 1> (w, fc.weight)
    """
    names = {name for name in arrays if "." in name}
    return float_graph(quoted(body, {name: arrays[name] for name in names}), _read(arrays, body))


CONSTANTS = {
    "zero": 0.0,
    "one": 1.0,
    "minus": -1.0,
    "three": 3.0,
    "six": 6.0,
    "half": 0.5,
    "root": 2.0**0.5,
    "scales": [1.0, 1.0, 2.0, 2.0],
}
CHANNELS = {"dense block": 16, "depth to space": 2, "space to depth": 32}


def _read(arrays: dict[str, NDArray[np.float32]], body: str) -> dict[str, NDArray[np.float32]]:
    return {name: array for name, array in arrays.items() if name in body}
