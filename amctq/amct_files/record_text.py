"""``calibration_record.txt``: the record as AMCT's protobuf text (docs/en/reference.md, "Calibration record").

The schema is built at run time from its field numbers, so that there is no generated code to go stale.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_encoding, text_format

from amctq.choices import WEIGHT_BITS
from amctq.errors import InputError
from amctq.input_file import read_input, text_of
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord

_Field = descriptor_pb2.FieldDescriptorProto
_OPTIONAL, _REPEATED = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
# scale_offset_record_mindspore.proto, and what the records of AMCT's other front ends hold: amctq has some of it too
# (wts_type, widths of weights), some says nothing new, and the rest is refused by name. Numbers do not stand in text.
_LAYER_FIELDS = (
    ("scale_d", 1, _OPTIONAL, _Field.TYPE_FLOAT),
    ("offset_d", 2, _OPTIONAL, _Field.TYPE_INT32),
    ("scale_w", 3, _REPEATED, _Field.TYPE_FLOAT),
    ("offset_w", 4, _REPEATED, _Field.TYPE_INT32),
    ("shift_bit", 5, _REPEATED, _Field.TYPE_UINT32),
    ("skip_fusion", 9, _OPTIONAL, _Field.TYPE_BOOL),
    ("dst_type", 10, _OPTIONAL, _Field.TYPE_STRING),
    ("act_type", 11, _OPTIONAL, _Field.TYPE_STRING),
    ("wts_type", 12, _OPTIONAL, _Field.TYPE_STRING),
    ("fakequant_precision_mode", 13, _OPTIONAL, _Field.TYPE_STRING),
    ("tensor_balance_factor", 6, _REPEATED, _Field.TYPE_FLOAT),
    ("scale_h", 21, _OPTIONAL, _Field.TYPE_FLOAT),
    ("offset_h", 22, _OPTIONAL, _Field.TYPE_INT32),
    ("scale_r", 23, _REPEATED, _Field.TYPE_FLOAT),
    ("offset_r", 24, _REPEATED, _Field.TYPE_INT32),
    ("cluster", 31, _REPEATED, _Field.TYPE_INT32),
    ("channels", 32, _OPTIONAL, _Field.TYPE_UINT32),  # these three in Caffe's records
    ("height", 33, _OPTIONAL, _Field.TYPE_UINT32),
    ("width", 34, _OPTIONAL, _Field.TYPE_UINT32),
)
# The only values that mean what amctq does; UNSET leaves it to act_type and wts_type.
_ONLY = {
    "dst_type": {"", "INT8", "UNSET"},
    "act_type": {"", "INT8"},
    "fakequant_precision_mode": {"", "DEFAULT"},
}
# What they belong to.
_FOREIGN = {
    "scale_h": "a recurrent layer",
    "offset_h": "a recurrent layer",
    "scale_r": "a recurrent layer",
    "offset_r": "a recurrent layer",
    "cluster": "non-uniform quantization",
}

_WEIGHT_TYPES = {f"INT{bits}": bits for bits in WEIGHT_BITS}


def dump_record(record: QuantRecord) -> bytes:
    """The file, byte for byte as ``text_format`` prints it, which takes a second for a ResNet-50.

    ``wts_type`` is written where it is not AMCT's default, INT8.
    """
    lines: list[str] = []
    for layer in record.layers:
        name = text_encoding.CEscape(layer.name, True)  # type: ignore[arg-type]  # the stubs know bytes alone
        lines += ["record {", f'  key: "{name}"', "  value {"]
        lines += [f"    scale_d: {_decimal(layer.activation.scale)}", f"    offset_d: {layer.activation.offset}"]
        lines += [f"    scale_w: {_decimal(scale)}" for scale in layer.weight_scale]
        lines += ["    offset_w: 0"] * len(layer.weight_scale)
        if layer.skip_fusion:
            lines.append("    skip_fusion: true")
        if layer.weight_bits != LayerRecord.weight_bits:
            lines.append(f'    wts_type: "INT{layer.weight_bits}"')
        lines += ["  }", "}"]
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
        text_format.Parse(text_of(content), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        told = f"{source} is no calibration record: {error}"
        raise InputError(told, hint="expected AMCT's calibration_record.txt") from error
    if not message.record:
        told = f"the record {source} is empty"
        raise InputError(told, hint="nothing was calibrated when it was written")
    try:
        return QuantRecord(layers=tuple(_layer(entry) for entry in message.record))
    except ValueError as error:
        told = f"{source}: {error}"
        hint = "the record is damaged, was edited by hand, or holds more than MindSpore's front end writes"
        raise InputError(told, hint=hint) from error


def _layer(entry: Any) -> LayerRecord:
    value = entry.value
    if entry.HasField("kv_cache_value"):
        message = f"{entry.key}: kv_cache_value is of a key-value cache, and amctq quantizes Conv2d and Dense"
        raise ValueError(message)
    for field, owner in _FOREIGN.items():
        if field in {descriptor.name for descriptor, _ in value.ListFields()}:
            message = f"{entry.key}: {field} is of {owner}, and amctq quantizes Conv2d and Dense uniformly"
            raise ValueError(message)
    for field, known in _ONLY.items():
        if getattr(value, field) not in known:
            message = f"{entry.key}: {field} {getattr(value, field)}, expected {sorted(known - {'', 'UNSET'})[0]}"
            raise ValueError(message)
    if any(factor != 1.0 for factor in value.tensor_balance_factor):
        message = f"{entry.key}: tensor_balance_factor is of the DMQ balancer, which amctq does not have"
        raise ValueError(message)
    if any(value.offset_w):
        message = f"{entry.key}: offset_w must be 0"
        raise ValueError(message)
    if not value.scale_w:
        message = f"{entry.key}: there is no scale_w"
        raise ValueError(message)
    if value.wts_type not in {"", *_WEIGHT_TYPES}:
        message = f"{entry.key}: wts_type {value.wts_type}, expected one of {', '.join(_WEIGHT_TYPES)}"
        raise ValueError(message)
    return LayerRecord(
        name=entry.key,
        activation=QParams(float(np.float32(value.scale_d)), value.offset_d),
        weight_scale=np.asarray(value.scale_w, np.float32),
        weight_bits=_WEIGHT_TYPES.get(value.wts_type, LayerRecord.weight_bits),
        skip_fusion=value.skip_fusion,
    )


@cache
def _message_class() -> Any:
    """The class of ScaleOffsetRecord."""
    file = descriptor_pb2.FileDescriptorProto(name="amctq_scale_offset_record.proto", package="amctq", syntax="proto2")
    layer = file.message_type.add(name="SingleLayerRecord")
    for name, number, label, kind in _LAYER_FIELDS:
        layer.field.add(name=name, number=number, label=label, type=kind)
    entry = file.message_type.add(name="MapFiledEntry")  # AMCT's spelling
    entry.field.add(name="key", number=1, label=_OPTIONAL, type=_Field.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=_OPTIONAL, type=_Field.TYPE_MESSAGE, type_name=".amctq.SingleLayerRecord"
    )
    cache = file.message_type.add(name="SingleLayerKVCacheRecord")
    cache.field.add(name="scale", number=1, label=_REPEATED, type=_Field.TYPE_FLOAT)
    cache.field.add(name="offset", number=2, label=_REPEATED, type=_Field.TYPE_INT32)
    entry.field.add(
        name="kv_cache_value",
        number=3,
        label=_OPTIONAL,
        type=_Field.TYPE_MESSAGE,
        type_name=".amctq.SingleLayerKVCacheRecord",
    )
    record = file.message_type.add(name="ScaleOffsetRecord")
    record.field.add(
        name="record", number=1, label=_REPEATED, type=_Field.TYPE_MESSAGE, type_name=".amctq.MapFiledEntry"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("amctq.ScaleOffsetRecord"))
