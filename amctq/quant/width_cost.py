"""What a layer costs at every width, from a few at which it was measured (docs/en/reference.md, "Bits by layer")."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_TINY = 1e-300


def costs_of(errors: Mapping[int, float], measured: Mapping[int, float]) -> dict[int, float]:
    """By width, the cost at the network's output; a wider weight never costs more.

    Between two measured widths the cost is a power of the error of the layer's own output, which is known for every
    width; beyond them it is proportional to that error, as for small errors the divergence of the outputs is.

    Args:
        errors: by width, of the layer's output.
        measured: by width, cost at the network's output; at least one, and none below 0.
    """
    widths = sorted(errors)
    known = sorted(measured)
    logs = {bits: np.log(max(errors[bits], _TINY)) for bits in widths}
    found: dict[int, float] = {}
    for bits in widths:
        if bits in measured:
            found[bits] = measured[bits]
            continue
        narrower, wider = [each for each in known if each < bits], [each for each in known if each > bits]
        if narrower and wider and logs[narrower[-1]] > logs[wider[0]]:
            one, other = narrower[-1], wider[0]
            share = (logs[bits] - logs[one]) / (logs[other] - logs[one])
            ends = [np.log(max(measured[each], _TINY)) for each in (one, other)]
            found[bits] = float(np.exp(ends[0] + min(max(share, 0.0), 1.0) * (ends[1] - ends[0])))
        else:
            near = narrower[-1] if narrower else wider[0]
            found[bits] = measured[near] * errors[bits] / max(errors[near], _TINY)
    least = np.minimum.accumulate([found[bits] for bits in widths])
    return {bits: float(cost) for bits, cost in zip(widths, least, strict=True)}
