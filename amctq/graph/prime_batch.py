"""A batch size by which the sizes that come from the batch are known in a graph."""

from __future__ import annotations

from collections.abc import Collection

# Nothing is computed with it, so it may be large; a small number would divide other sizes.
_PRIMES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061, 1063, 1069)


def prime_batch(sizes: Collection[int]) -> int:
    """A prime that no size of a network is a multiple of, so that its multiples in the graph come from the batch."""
    return next((prime for prime in _PRIMES if all(size % prime for size in sizes if size)), _PRIMES[0])
