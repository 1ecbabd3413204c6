"""The names of a MindIR graph's inputs and outputs, as users read them."""

from __future__ import annotations

from collections.abc import Sequence


def input_names(own: Sequence[str]) -> tuple[str, ...]:
    """The parameters of construct(): MindSpore writes ``417_1_network_construct_27:x`` for ``x``."""
    short = tuple(name.rpartition(":")[2] for name in own)
    return short if len(set(short)) == len(short) else tuple(own)


def output_names(shapes: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """MindSpore has only numbers for outputs: ``logits`` where the one output is (N, classes), else ``output``."""
    if len(shapes) > 1:
        return tuple(f"output_{index}" for index in range(len(shapes)))
    return tuple("logits" if len(shape) == 2 else "output" for shape in shapes)
