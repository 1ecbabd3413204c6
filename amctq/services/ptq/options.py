"""Options of ``ptq`` that are longer than their fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from amctq.choices import WEIGHT_BITS, ActType, ExportFormat, TargetIsa, WeightAlgo, WeightStorage
from amctq.errors import UsageError
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
ARQ_RULE = Option(
    QUANTIZATION,
    "ARQ's weight scale as in AMCT, as in Ascend's WtsARQ, without -128, or exact in pairs.  "
    "[default: what the instructions need: amct, narrow with AMX, pairs without VNNI]",
)


def refuse_rounding_in_order(algos: Iterable[WeightAlgo], *, tunes: bool) -> None:
    """Refuse to measure layers alone whose weights make up for the layers before them.

    Args:
        algos: how weights are rounded.
        tunes: layers are measured alone, or chosen one by one.

    Raises:
        UsageError: one of these layers is to be measured.
    """
    if tunes and WeightAlgo.GPTAQ in algos:
        measuring = "what measures layers one by one (analyze, --analyze, --auto, --weight-bits auto)"
        message = f"gptaq rounds a layer for those before it as they are rounded, which contradicts {measuring}"
        hint = "take gptq here; then write gptaq_quantize in its place into the config.json that was chosen"
        raise UsageError(message, hint=hint)


def refuse_types(isa: TargetIsa | None, storage: WeightStorage, act_type: ActType | None) -> None:
    """Refuse integer types that the instructions asked for have no exact products of.

    Raises:
        UsageError: they have none.
    """
    if isa is TargetIsa.AVX2 and storage is WeightStorage.INT4:
        message = "--isa avx2 and --weight-storage int4 both say how weights are stored"
        raise UsageError(message, hint="4-bit weights are exact on every CPU: leave --isa avx2 out")
    if isa is TargetIsa.AVX2 and act_type is ActType.INT8:
        message = "--isa avx2 and --act-type int8: the exact products of AVX2 are those of uint8 and uint8"
        raise UsageError(message, hint="leave one of the two out")


def refuse_other_weights(model: str, inputs: tuple[tuple[str, Any], ...], others: Mapping[str, Any]) -> None:
    """Refuse weights beside a network that is a file with its own, and shapes beside one that is not.

    Args:
        model: of ``--model``.
        inputs: of ``--input``.
        others: by option, what says where the weights are, or what they are called; None where it is not given.

    Raises:
        UsageError: there are such.
    """
    from amctq.networks.registry import is_model_file

    if not is_model_file(model):
        if inputs:
            message = f"--input {inputs[0][0]}: the inputs of --model {model} have the samples' shapes"
            raise UsageError(message, hint="leave it out")
        return
    for option, given in others.items():
        if given is not None:
            message = f"{option} {given} and --model {model}: the file has its own"
            raise UsageError(message, hint=f"leave {option} out, or name the network as file.py:function")


def refuse_two_shapes(inputs: Iterable[tuple[str, tuple[int, ...]]]) -> None:
    """Refuse another shape for an input that has one; nothing says which holds.

    Args:
        inputs: of ``--input``.

    Raises:
        UsageError: there is such an input.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in inputs:
        if shapes.setdefault(name, shape) != shape:
            both = " and ".join("x".join(map(str, one)) for one in (shapes[name], shape))
            message = f"--input {name} was given twice, as {both}"
            raise UsageError(message, hint="give the shape of each input once")


def refuse_ort(*, record: bool, export: Iterable[ExportFormat]) -> None:
    """Refuse placement ``ort`` if its scales are not known or cannot be written.

    Args:
        record: ``--record`` is given.
        export: of ``--export``.

    Raises:
        UsageError: they are not, or cannot.
    """
    if record:
        message = "--placement ort and --record: a record of AMCT holds only the scales of placement ascend"
        raise UsageError(message, hint="leave --placement out, or calibrate without --record")
    others = [form.value for form in export if form is not ExportFormat.ONNX]
    if others:
        message = f"--placement ort and --export {','.join(others)}: this format has only placement ascend"
        raise UsageError(message, hint="use --placement ascend, or only --export onnx")
