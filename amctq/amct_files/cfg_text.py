"""AMCT's simplified configurations, ``.cfg``: protobuf text, read with the line that each value stands in.

The format is AMCT's (docs/en/reference.md, "Simplified .cfg").
In protobuf's text a field has a name and no number, so the schema is names and types, and it is built when the first
such file is read: no file of descriptors to build and to ship, and nothing that could go stale. Numbers are read as
float64 where AMCT reads float32, so that 0.7 is 0.7 and not 0.699999988.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from amctq.amct_files.json_reader import JsonReader
from amctq.errors import InputError, nearest

_Field = descriptor_pb2.FieldDescriptorProto
_BOOL, _INT, _NUMBER, _TEXT = _Field.TYPE_BOOL, _Field.TYPE_INT32, _Field.TYPE_DOUBLE, _Field.TYPE_STRING
# By message: its fields, each with a scalar type or the name of a message; a list of one of them is repeated.
_SCHEMA: dict[str, dict[str, Any]] = {
    "Arq": {"channel_wise": _BOOL},
    "Ifmr": {
        **dict.fromkeys(("search_range_start", "search_range_end", "search_step"), _NUMBER),
        **dict.fromkeys(("max_percentile", "min_percentile"), _NUMBER),
        "asymmetric": _BOOL,
    },
    "Hfmg": {"num_of_bins": _INT, "asymmetric": _BOOL},
    "Calibration": {"arq_quantize": "Arq", "ifmr_quantize": "Ifmr", "hfmg_quantize": "Hfmg"},
    "TypeOverride": {"layer_type": _TEXT, "calibration_config": "Calibration"},
    "LayerOverride": {"layer_name": _TEXT, "calibration_config": "Calibration"},
    "PtqConfig": {
        "batch_num": _INT,
        "activation_offset": _BOOL,
        "skip_layers": [_TEXT],
        "skip_layer_types": [_TEXT],
        "common_config": "Calibration",
        "override_layer_types": ["TypeOverride"],
        "override_layer_configs": ["LayerOverride"],
        "do_fusion": _BOOL,
        "skip_fusion_layers": [_TEXT],
    },
    "Clips": {"clip_max": _NUMBER, "clip_min": _NUMBER},
    "Ulq": {"clip_max_min": "Clips", "fixed_min": _BOOL},
    "RetrainData": {"ulq_quantize": "Ulq"},
    "RetrainWeight": {"arq_retrain": "Arq"},
    "RetrainTypeOverride": {
        "layer_type": _TEXT,
        "retrain_data_quant_config": "RetrainData",
        "retrain_weight_quant_config": "RetrainWeight",
    },
    "RetrainLayerOverride": {
        "layer_name": _TEXT,
        "retrain_data_quant_config": "RetrainData",
        "retrain_weight_quant_config": "RetrainWeight",
    },
    "QatConfig": {
        "batch_num": _INT,
        "skip_layers": [_TEXT],
        "skip_layer_types": [_TEXT],
        "quant_skip_layers": [_TEXT],
        "quant_skip_types": [_TEXT],
        "retrain_data_quant_config": "RetrainData",
        "retrain_weight_quant_config": "RetrainWeight",
        "override_layer_types": ["RetrainTypeOverride"],
        "override_layer_configs": ["RetrainLayerOverride"],
    },
}
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[-+.\d][\w.+-]*|[A-Za-z_]\w*|[{}<>]|\n|[^\s]""")
_NO_FIELD = re.compile(r'has no field named "(?P<name>[^"]+)"')


def parse_cfg(text: str, path: Path, schema: str) -> CfgReader:
    """Read the text of a file.

    Args:
        text: of the file.
        path: of the file, given with ``--config``, for messages.
        schema: ``PtqConfig`` or ``QatConfig``.

    Raises:
        InputError: it is no such text; the message names line and field.
    """
    message = _message_class(schema)()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        where = "" if error.GetLine() is None else f", line {error.GetLine()}"
        unknown = _NO_FIELD.search(str(error))
        if unknown:
            told = f"{path}{where}: unknown field {unknown['name']}"
            raise InputError(told, hint=_expected(schema, unknown["name"])) from error
        told = f"{path}{where}: no protobuf text: {str(error).partition(' : ')[2] or error}"
        raise InputError(told, hint="--config takes AMCT's config.json, or its simplified .cfg") from error
    return CfgReader(path, _plain(message), lines=dict(_field_lines(text)))


class CfgReader(JsonReader):
    """One message of a file; what is refused is told with its line.

    Args:
        path: the file, for messages.
        value: its fields, those that are not there left out.
        lines: of each field in the file, by the names and places that lead to it.
        place: the names and places that lead to this message.
    """

    def __init__(
        self, path: Path, value: dict[str, Any], *, lines: Mapping[tuple[Any, ...], int], place: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(path, value, trail="".join(f"{name}." for name in place if isinstance(name, str)))
        self._lines, self._place = lines, place

    def message(self, name: str, index: int = 0) -> CfgReader:
        """The message in a field, empty where it is not there."""
        found = self.value.get(name, {})
        found = found[index] if isinstance(found, list) else found
        return CfgReader(self._path, found, lines=self._lines, place=(*self._place, name, index))

    def messages(self, name: str) -> list[CfgReader]:
        """Those in a repeated field."""
        return [self.message(name, index) for index in range(len(self.value.get(name, [])))]

    def rewritten(self, value: Mapping[str, Any], names: Mapping[str, str]) -> CfgReader:
        """This message under the names that ``config.json`` has.

        Args:
            value: the fields under their new names.
            names: new names to names in this file, where the two differ.
        """
        lines = dict(self._lines)
        for new, old in names.items():
            lines[(*self._place, new, 0)] = self.line(old)
        return CfgReader(self._path, dict(value), lines=lines, place=self._place)

    def line(self, key: str, index: int = 0) -> int:
        """Where a field stands; where the message does, for a field that is not there."""
        for place in ((*self._place, key, index), (*self._place, key, 0), self._place):
            if place in self._lines:
                return self._lines[place]
        return 1

    def fail(self, key: str, found: str, hint: str, index: int = 0) -> NoReturn:
        """Refuse the file."""
        message = f"{self._path}, line {self.line(key, index)}: {self._trail}{key}: {found}"
        raise InputError(message, hint=hint)


def _expected(schema: str, name: str) -> str:
    """A hint for a field that is nowhere in a schema: the nearest of those that are."""
    fields: set[str] = set()
    waiting = [schema]
    while waiting:
        for field, kind in _SCHEMA[waiting.pop()].items():
            fields.add(field)
            kind = kind[0] if isinstance(kind, list) else kind
            waiting += [kind] if isinstance(kind, str) else []
    return nearest(name, sorted(fields))


def _field_lines(text: str) -> Iterator[tuple[tuple[Any, ...], int]]:
    """For each field of a valid text its place, name and index by turns, and its line."""
    line, place, name = 1, [], ""
    counts: list[dict[str, int]] = [{}]
    for token in _TOKEN.findall(text):
        if token == "\n":
            line += 1
        elif token in "{<":
            place.append((name, counts[-1][name]))
            counts.append({})
        elif token in "}>":
            place.pop()
            counts.pop()
        elif re.match(r"[A-Za-z_]", token) and token not in {"true", "false", "t", "f", "inf", "nan"}:
            name = token
            counts[-1][name] = counts[-1].get(name, -1) + 1
            yield (*(part for step in place for part in step), name, counts[-1][name]), line


def _plain(message: Any) -> dict[str, Any]:
    """A message as a dict of the fields that are set."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is None:
            found[field.name] = list(value) if field.is_repeated else value
        else:
            found[field.name] = [_plain(item) for item in value] if field.is_repeated else _plain(value)
    return found


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="amctq_cfg.proto", package="amctq.cfg", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            repeated = isinstance(kind, list)
            item = kind[0] if isinstance(kind, list) else kind
            added = message.field.add(
                name=field, number=number, label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            )
            if isinstance(item, str):
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".amctq.cfg.{item}"
            else:
                added.type = item
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"amctq.cfg.{name}"))
