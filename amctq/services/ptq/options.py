"""Options of ``ptq`` that are longer than their fields."""

from __future__ import annotations

from dataclasses import replace

from amctq.choices import WEIGHT_BITS
from amctq.services import request as shared
from amctq.services.option import INPUT, QUANTIZATION, Limit, Option
from amctq.services.spelling import input_shape, layer_width


def _known_widths(layers: tuple[tuple[str, int], ...]) -> bool:
    return all(bits in WEIGHT_BITS for _, bits in layers)


MODEL = replace(
    shared.MODEL,
    help="Network of the checkpoint: a known name, mindcv:NAME, or your own file.py:function. Or a file with its "
    "weights: net.onnx, net.mindir.",
)
INPUT_SHAPE = Option(
    INPUT,
    "Shape of one sample for an input of --model FILE, where the file leaves it open; repeatable.",
    name="input",
    metavar="NAME:SHAPE",
    read=input_shape,
    repeatable=True,
    after="image_size",
)
LAYER_BITS = Option(
    QUANTIZATION,
    "Bits per weight of these layers, instead of --weight-bits; repeatable, the last one that matches holds.",
    metavar="PATTERN=BITS",
    read=layer_width,
    repeatable=True,
    limits=(Limit(expected=f"a width of {', '.join(map(str, WEIGHT_BITS))}", holds=_known_widths),),
)
