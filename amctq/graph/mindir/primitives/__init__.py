"""The primitives that amctq writes as ONNX, by kind. Importing this package registers them all."""

from amctq.graph.mindir.primitives import (  # noqa: F401
    activation,
    adaptive_pooling,
    arithmetic,
    convolution,
    creation,
    functions,
    indexing,
    logic,
    matrix,
    normalization,
    padding,
    pooling,
    recurrent,
    reduction,
    resize,
    sampling,
    search,
    selection,
    shape,
    sliding,
)
