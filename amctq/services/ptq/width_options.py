"""Options of ``ptq`` about the width of weights, where each layer gets one of its own, and what they contradict."""

from __future__ import annotations

import math
from dataclasses import replace

from amctq.choices import AUTO, WEIGHT_BITS, BackendName
from amctq.errors import UsageError
from amctq.services import request as shared
from amctq.services.option import QUANTIZATION, Limit, Option
from amctq.services.spelling import size_limit, width_or_auto

_WIDTHS = (*WEIGHT_BITS, AUTO)
WEIGHT_WIDTH = replace(
    shared.WIDTH,
    help="Bits per weight; auto gives each layer its own, within --max-size or --max-drop.  [default: 8]",
    metavar="|".join(map(str, _WIDTHS)),
    limits=(Limit(expected=f"one of {', '.join(map(str, _WIDTHS))}", holds=_WIDTHS.__contains__),),
    read=width_or_auto,
)


def _is_size(value: float) -> bool:
    return math.isfinite(value) and (value > 0 if isinstance(value, int) else 0 < value <= 1)


MAX_SIZE = Option(
    QUANTIZATION,
    "With --weight-bits auto: the most that packed weights, their scales and the biases take, as a share of the float "
    "weights (0.12) or in bytes (40000, 40K, 1.5M).",
    metavar="RATIO|BYTES",
    read=size_limit,
    limits=(Limit(expected="a share such as 0.12, or a number of bytes such as 40K", holds=_is_size),),
)


def refuse_width_options(
    *,
    weight_bits: int | str | None,
    max_size: float | None,
    max_drop: float | None,
    layer_bits: tuple[tuple[str, int], ...],
    backend: BackendName,
) -> None:
    """Refuse a limit that nothing keeps, widths without a limit, and what contradicts widths by layer.

    Raises:
        UsageError: one of these.
    """
    if weight_bits != AUTO:
        if max_size is not None:
            message = f"--max-size {max_size:g}: without --weight-bits auto nothing chooses the widths by it"
            raise UsageError(message, hint="add --weight-bits auto, or leave it out")
        return
    if backend is BackendName.AMCT:
        message = "--weight-bits auto and --backend amct: AMCT gives every layer 8 bits"
        raise UsageError(message, hint="use --backend native")
    if layer_bits:
        pattern, bits = layer_bits[0]
        message = f"--weight-bits auto and --layer-bits {pattern}={bits} both say what width a layer has"
        raise UsageError(message, hint="leave one of the two out")
    if max_size is None and max_drop is None:
        message = "--weight-bits auto needs a limit: --max-size RATIO|BYTES, or --max-drop POINTS"
        raise UsageError(message, hint="for example --max-size 0.12, which is about 4 bits per weight")
