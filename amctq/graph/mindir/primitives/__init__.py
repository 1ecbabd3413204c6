"""The primitives that amctq writes as ONNX, by kind. Importing this package registers them all."""

from amctq.graph.mindir.primitives import (  # noqa: F401
    activation,
    arithmetic,
    convolution,
    creation,
    functions,
    indexing,
    logic,
    matrix,
    normalization,
    pooling,
    reduction,
    search,
    selection,
    shape,
)
