"""AMCT's simplified configurations, ``.cfg``: protobuf text, read with the line of each value.

The format is AMCT's (docs/en/reference.md, "Simplified .cfg"). Numbers are read as float64 where AMCT reads float32, so
that 0.7 is 0.7 and not 0.699999988.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from google.protobuf import text_format

from amctq.amct_files.protobuf_text import Schema, fields_of, message_class, parse_text
from amctq.errors import InputError, nearest
from amctq.json_file import JsonReader

_SKIP = "skip_layers:string* skip_layer_types:string*"
_RETRAIN = "retrain_data_quant_config:RetrainData retrain_weight_quant_config:RetrainWeight"
_TYPE = "dst_type:INT4|INT8|INT16"
_PRECISION = "fakequant_precision_mode:DEFAULT|FORCE_FP16_QUANT"
_SCHEMAS: dict[str, Schema] = {
    "PtqConfig": {
        "PtqConfig": (
            f"batch_num:int32 activation_offset:bool joint_quant:bool weight_offset:bool {_PRECISION} {_SKIP} "
            "do_fusion:bool skip_fusion_layers:string* "
            "common_config:Calibration override_layer_types:TypeOverride* override_layer_configs:LayerOverride* "
            "accuracy_based_auto_calibration:AutoCalibration"
        ),
        "AutoCalibration": "strategy:string sensitivity:string",
        "TypeOverride": "layer_type:string calibration_config:Calibration",
        "LayerOverride": "layer_name:string calibration_config:Calibration",
        "Calibration": "arq_quantize:Arq ada_quantize:Ada ifmr_quantize:Ifmr hfmg_quantize:Hfmg",
        "Arq": "channel_wise:bool quant_bits:int32",
        "Ada": (
            "num_iteration:int64 reg_param:double beta_range_start:double beta_range_end:double warm_start:double "
            "channel_wise:bool"
        ),
        "Ifmr": (
            "search_range_start:double search_range_end:double search_step:double "
            f"max_percentile:double min_percentile:double asymmetric:bool {_TYPE}"
        ),
        "Hfmg": f"num_of_bins:int32 asymmetric:bool {_TYPE}",
    },
    "QatConfig": {
        "QatConfig": (
            f"batch_num:int32 {_PRECISION} {_SKIP} quant_skip_layers:string* quant_skip_types:string* {_RETRAIN} "
            "override_layer_types:RetrainTypeOverride* override_layer_configs:RetrainLayerOverride*"
        ),
        "RetrainTypeOverride": f"layer_type:string {_RETRAIN}",
        "RetrainLayerOverride": f"layer_name:string {_RETRAIN}",
        "RetrainData": "ulq_quantize:Ulq",
        "RetrainWeight": "arq_retrain:Arq",
        "Ulq": f"clip_max_min:Clips fixed_min:bool {_TYPE}",
        "Clips": "clip_max:double clip_min:double",
        "Arq": f"channel_wise:bool {_TYPE}",
    },
}
# Fields of AMCT's own for what amctq does not have.
_CALIBRATION = "amctq quantizes activations with ifmr_quantize or hfmg_quantize, and weights with arq_quantize"
_PRUNING = "amctq does not prune"
_LACKING = {
    "nuq_quantize": f"AMCT's non-uniform quantization: {_CALIBRATION}",
    "nuq_config": f"AMCT's non-uniform quantization: {_CALIBRATION}",
    "dmq_balancer": f"AMCT's DMQ balancer: {_CALIBRATION}",
    "tensor_quantize": "inputs of other operators: AMCT's files hold convolutions and Dense in amctq",
    "conv_calibration_config": "a field that AMCT itself has deprecated: say it in common_config",
    "fc_calibration_config": "a field that AMCT itself has deprecated: say it in override_layer_types",
    "ulq_retrain": "AMCT's learned weight scales: amctq retrains weights with arq_retrain",
    "prune_config": _PRUNING,
    "regular_prune_skip_layers": _PRUNING,
    "regular_prune_skip_types": _PRUNING,
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
        parse_text(text, message)
    except text_format.ParseError as error:
        where = "" if error.GetLine() is None else f", line {error.GetLine()}"
        unknown = _NO_FIELD.search(str(error))
        if unknown:
            name = unknown["name"]
            if name in _LACKING:
                complaint = f"{path}{where}: amctq does not have {name}, {_LACKING[name]}"
                raise InputError(complaint, hint="take it out of the file") from error
            complaint = f"{path}{where}: unknown field {name}"
            fields = {name for message in _SCHEMAS[schema].values() for name, _ in fields_of(message)}
            raise InputError(complaint, hint=nearest(name, sorted(fields))) from error
        complaint = f"{path}{where}: no protobuf text: {str(error).partition(' : ')[2] or error}"
        raise InputError(complaint, hint="--config takes AMCT's config.json, or its simplified .cfg") from error
    return CfgReader(path, _plain(message), lines=dict(_field_lines(text)))


class CfgReader(JsonReader):
    """One message of a file; a refusal names the line.

    Args:
        path: the file, for messages.
        value: the fields that are there.
        lines: of each field in the file, by the names and places that lead to it.
        place: the names and places that lead to this message.
        names: by field that the file names in another way, the name there.
    """

    def __init__(
        self,
        path: Path,
        value: dict[str, Any],
        *,
        lines: Mapping[tuple[Any, ...], int],
        place: tuple[Any, ...] = (),
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(value, "".join(f"{name}." for name in place if isinstance(name, str)))
        self._path, self._lines, self._place, self._names = path, lines, place, names

    def message(self, name: str, index: int = 0) -> CfgReader:
        """The message in a field, empty where it is not there."""
        found = self.value.get(name, {})
        found = found[index] if isinstance(found, list) else found
        return CfgReader(self._path, found, lines=self._lines, place=(*self._place, name, index))

    def messages(self, name: str) -> list[CfgReader]:
        """The messages in a repeated field."""
        return [self.message(name, index) for index in range(len(self.value.get(name, [])))]

    def rewritten(self, value: dict[str, Any], **names: str) -> CfgReader:
        """This message with other fields.

        Args:
            value: the fields.
            names: of new fields, each with the field of the file that says it.
        """
        return CfgReader(self._path, value, lines=self._lines, place=self._place, names={**self._names, **names})

    def line(self, key: str, index: int = 0) -> int:
        """The line of a field; of the message, for a field that is not there."""
        key = self._names.get(key, key)
        for place in ((*self._place, key, index), (*self._place, key, 0), self._place):
            if place in self._lines:
                return self._lines[place]
        return 1

    def fail(self, key: str, found: str, hint: str, index: int = 0) -> NoReturn:
        """Refuse the file."""
        message = f"{self._path}, line {self.line(key, index)}: {self.place}{self._names.get(key, key)}: {found}"
        raise InputError(message, hint=hint)


def _field_lines(text: str) -> Iterator[tuple[tuple[Any, ...], int]]:
    """For each field of a valid text its place, name and index by turns, and its line."""
    line, place, name, before = 1, [], "", ""
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
        elif re.match(r"[A-Za-z_]", token) and before != ":":  # after a colon it is a value, such as true or INT8
            name = token
            counts[-1][name] = counts[-1].get(name, -1) + 1
            yield (*(part for step in place for part in step), name, counts[-1][name]), line
        if token != "\n" and not token.startswith("#"):
            before = token


def _plain(message: Any) -> dict[str, Any]:
    """A message as a dict of the fields that are set."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.enum_type is not None:
            found[field.name] = field.enum_type.values_by_number[value].name
        elif field.message_type is None:
            found[field.name] = list(value) if field.is_repeated else value
        else:
            found[field.name] = [_plain(item) for item in value] if field.is_repeated else _plain(value)
    return found


@cache
def _message_class(schema: str) -> Any:
    return message_class("amctq.cfg", _SCHEMAS[schema])
