"""``calibration_record.txt``: the record as AMCT's protobuf text (docs/en/reference.md, "Calibration record")."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_encoding, text_format

from amctq.amct_files.protobuf_text import Schema, message_class, parse_text
from amctq.choices import WEIGHT_BITS
from amctq.errors import InputError
from amctq.input_file import read_input, text_of
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord

# scale_offset_record_mindspore.proto, and what the records of AMCT's other front ends hold: amctq has some of it too
# (wts_type, widths of weights), some says nothing new, and the rest is refused by name.
_SCHEMA: Schema = {
    "ScaleOffsetRecord": "record:MapFiledEntry*",
    "MapFiledEntry": "key:string value:SingleLayerRecord kv_cache_value:SingleLayerKVCacheRecord",
    "SingleLayerRecord": (
        "scale_d:float offset_d:int32 scale_w:float* offset_w:int32* shift_bit:uint32* tensor_balance_factor:float* "
        "skip_fusion:bool dst_type:string act_type:string wts_type:string fakequant_precision_mode:string "
        "scale_h:float offset_h:int32 scale_r:float* offset_r:int32* cluster:int32* "
        "channels:uint32 height:uint32 width:uint32"  # these three in Caffe's records
    ),
    "SingleLayerKVCacheRecord": "scale:float* offset:int32*",
}
# The only values that mean what amctq does; UNSET leaves it to act_type and wts_type.
_ONLY = {"dst_type": {"", "INT8", "UNSET"}, "act_type": {"", "INT8"}, "fakequant_precision_mode": {"", "DEFAULT"}}
# What amctq does not have, by field.
_FOREIGN = {
    **dict.fromkeys(("scale_h", "offset_h", "scale_r", "offset_r"), "a recurrent layer"),
    "cluster": "non-uniform quantization",
}
_WEIGHT_TYPES = {f"INT{bits}": bits for bits in WEIGHT_BITS}


def dump_record(record: QuantRecord, *, types: bool = True) -> bytes:
    """The file, byte for byte as ``text_format`` prints it, which takes a second for a ResNet-50.

    Args:
        record: the record.
        types: write ``act_type`` and ``wts_type``, as AMCT's open front end always does. The prototype of
            amct_mindspore lacks them, so that it cannot read them.
    """
    lines: list[str] = []
    for layer in record.layers:
        name = text_encoding.CEscape(layer.name, True)  # type: ignore[arg-type]  # the stubs know only bytes
        lines += ["record {", f'  key: "{name}"', "  value {"]
        lines += [f"    scale_d: {_decimal(layer.activation.scale)}", f"    offset_d: {layer.activation.offset}"]
        lines += [f"    scale_w: {_decimal(scale)}" for scale in layer.weight_scale]
        lines += ["    offset_w: 0"] * len(layer.weight_scale)
        if layer.skip_fusion:
            lines.append("    skip_fusion: true")
        if types:
            lines += ['    act_type: "INT8"', f'    wts_type: "INT{layer.weight_bits}"']
        lines += ["  }", "}"]
    for pool in record.pools:
        name = text_encoding.CEscape(pool.name, True)  # type: ignore[arg-type]  # the stubs know only bytes
        lines += ["record {", f'  key: "{name}"', "  value {"]
        lines += [f"    scale_d: {_decimal(pool.activation.scale)}", f"    offset_d: {pool.activation.offset}"]
        lines += ["    scale_w: 1.0", "    offset_w: 0", '    act_type: "INT8"', "  }", "}"]
    return "".join(f"{line}\n" for line in lines).encode()


def _decimal(scale: float | np.float32) -> str:
    """The shortest decimals that only this float32 has, written as Python writes a double: NumPy's 1e-04 is 0.0001."""
    return str(float(str(np.float32(scale))))


def load_record(path: Path) -> QuantRecord:
    """Read the file that ``--record`` names, as ``parse_record`` does.

    Raises:
        InputError: it cannot be read, or as there.
    """
    return parse_record(read_input(path, what="record", option="--record"), str(path))


def parse_record(content: bytes, source: str) -> QuantRecord:
    """A record that amctq or one of AMCT's front ends has written; layers keep the names that the file gives them.

    Args:
        content: of the file.
        source: what messages call the file.

    Raises:
        InputError: it is no such text, or holds values that no quantizer has.
    """
    message = _message_class()()
    try:
        parse_text(text_of(content, source), message)
    except text_format.ParseError as error:
        complaint = f"{source} is no calibration record: {error}"
        raise InputError(complaint, hint="expected AMCT's calibration_record.txt") from error
    if not message.record:
        complaint = f"the record {source} is empty"
        raise InputError(complaint, hint="nothing was calibrated when it was written")
    try:
        return QuantRecord(layers=tuple(_layer(entry) for entry in message.record))
    except ValueError as error:
        complaint = f"{source}: {error}"
        hint = "the record is damaged, was edited by hand, or holds more than MindSpore's front end writes"
        raise InputError(complaint, hint=hint) from error


def _layer(entry: Any) -> LayerRecord:
    complaint = _complaint(entry)
    if complaint is not None:
        message = f"{entry.key}: {complaint}"
        raise ValueError(message)
    value = entry.value
    return LayerRecord(
        name=entry.key,
        activation=QParams(float(np.float32(value.scale_d)), value.offset_d),
        weight_scale=np.asarray(value.scale_w, np.float32),
        weight_bits=_WEIGHT_TYPES.get(value.wts_type, LayerRecord.weight_bits),
        skip_fusion=value.skip_fusion,
    )


def _complaint(entry: Any) -> str | None:
    """What an entry says that amctq cannot do."""
    value = entry.value
    if entry.HasField("kv_cache_value"):
        return "kv_cache_value is of a key-value cache, and amctq quantizes Conv2d and Dense"
    given = {descriptor.name for descriptor, _ in value.ListFields()}
    for field, owner in _FOREIGN.items():
        if field in given:
            return f"{field} is of {owner}, and amctq quantizes Conv2d and Dense uniformly"
    for field, known in _ONLY.items():
        if getattr(value, field) not in known:
            return f"{field} {getattr(value, field)}, expected {sorted(known - {'', 'UNSET'})[0]}"
    if any(factor != 1.0 for factor in value.tensor_balance_factor):
        return "tensor_balance_factor is of the DMQ balancer, which amctq does not have"
    if any(value.offset_w):
        return "offset_w must be 0"
    if not value.scale_w:
        return "there is no scale_w"
    if value.wts_type not in {"", *_WEIGHT_TYPES}:
        return f"wts_type {value.wts_type}, expected one of {', '.join(_WEIGHT_TYPES)}"
    return None


@cache
def _message_class() -> Any:
    return message_class("amctq", _SCHEMA)
