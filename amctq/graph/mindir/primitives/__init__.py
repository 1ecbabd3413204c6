"""The primitives that amctq writes as ONNX, by kind. Importing this package registers them all."""

from amctq.graph.mindir.primitives import (  # noqa: F401
    activation,
    arithmetic,
    convolution,
    matrix,
    normalization,
    pooling,
    reduction,
    selection,
    shape,
)
