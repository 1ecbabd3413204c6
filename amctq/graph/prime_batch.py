"""A batch size by which the sizes that come from the batch are known in a graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection

# Nothing is computed with it, so it may be large; a small number would divide other sizes.
_LEAST = 1009


def prime_batch(sizes: Collection[int], *, least: int = _LEAST) -> int:
    """The first prime from ``least`` on that none of ``sizes`` is a multiple of.

    So its multiples in a graph come from the batch, where ``sizes`` are the other numbers of the network.
    """
    return next(
        number
        for number in itertools.count(least)
        if all(number % factor for factor in range(2, math.isqrt(number) + 1))
        and not any(size and size % number == 0 for size in sizes)
    )
