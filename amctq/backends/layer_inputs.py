"""Who watches what layers read while their network is calibrated, and in which pass over the images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from amctq.quant.numerics import Float32Array
from amctq.quant.rounding.inputs import InputWatcher
from amctq.quant.rounding.pairs import PairWatcher

AnyWatcher = TypeVar("AnyWatcher", InputWatcher, PairWatcher)
# Of the Gram matrices that are in memory at once. Layers that need more wait for another pass over the images.
_GRAM_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Readers(Generic[AnyWatcher]):
    """Layers that read the same, as query, key and value do, and what watches it for all of them."""

    tensor: str
    layers: tuple[str, ...]
    watcher: AnyWatcher
    gram_bytes: int


def gram_bytes(weight: Float32Array, groups: int) -> int:
    """Size of the Gram matrix of a layer's inputs; the weight is (C_out, C_in / groups, …)."""
    d = math.prod(weight.shape[1:])
    return 4 * groups * d * d


def passes(readers: Iterable[Readers[InputWatcher]]) -> Iterator[tuple[Readers[InputWatcher], ...]]:
    """Parts of ``readers`` whose Gram matrices fit into memory together."""
    part: list[Readers[InputWatcher]] = []
    held = 0
    for item in readers:
        if part and item.gram_bytes and held + item.gram_bytes > _GRAM_BYTES:
            yield tuple(part)
            part, held = [], 0
        part.append(item)
        held += item.gram_bytes
    if part:
        yield tuple(part)


def by_tensor(readers: Iterable[Readers[AnyWatcher]]) -> Mapping[str, tuple[AnyWatcher, ...]]:
    """By tensor, who watches it."""
    found: dict[str, list[AnyWatcher]] = {}
    for item in readers:
        found.setdefault(item.tensor, []).append(item.watcher)
    return {tensor: tuple(watchers) for tensor, watchers in found.items()}
