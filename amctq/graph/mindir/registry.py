"""The registry of primitives: by MindSpore's name, the function that writes it as ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from amctq.graph.mindir.call import Call

# What a function returns: a Tensor, or a tuple of them where the primitive has several outputs; any other value is a
# constant.
Writer: TypeAlias = "Callable[[Call], Any]"
PRIMITIVES: dict[str, Writer] = {}


def primitive(*names: str) -> Callable[[Writer], Writer]:
    """Register a function for the primitives of these names."""

    def register(function: Writer) -> Writer:
        for name in names:
            assert name not in PRIMITIVES, name
            PRIMITIVES[name] = function
        return function

    return register
