"""The runtimes that a file is written for: one table of what each wants. Options without a value read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from amctq.choices import (
    AMCT_WEIGHT_BITS,
    AUTO,
    AUTO_WEIGHT_BITS,
    ActAlgo,
    ActType,
    ExportFormat,
    Placement,
    Runtime,
    Target,
    TargetIsa,
    WeightStorage,
)
from amctq.graph.qdq_rules import ONNXRUNTIME, OPENVINO, TENSORRT, QdqRules

_X86 = (TargetIsa.VNNI, TargetIsa.AVX2)  # AMX is for onnxruntime alone
_BY_ITSELF = "converter_lite quantizes by itself"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a target wants of an option.

    Attributes:
        values: what it can take, the default first; empty where the option has no meaning for it.
        reason: why it takes nothing else, as a sentence without its full stop.
    """

    values: tuple[Any, ...]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TargetRules:
    """What a target wants.

    Attributes:
        runtime: what runs the file on this machine, for accuracy and speed.
        qdq: how the QDQ graph is written.
        wishes: by the request's field of an option.
        export: the formats that are written where none are named; empty for the back end's default.
        symmetric: activations have the zero point 0.
        refused: by field, why the option contradicts the target, as a sentence without its full stop.
        integer_tables: it can look up embedding tables in integers.
        trains: why ``qat`` cannot write for it; None where it can.
        opsets: of ONNX files that it reads.
        lacks: types of operators that it reads in no ONNX file without a plugin.
        not_run: what has not run on this machine; None where the file runs in the runtime that it is for.
    """

    runtime: Runtime = Runtime.ONNXRUNTIME
    qdq: QdqRules = ONNXRUNTIME
    wishes: Mapping[str, Wish] = field(default_factory=dict)
    export: tuple[ExportFormat, ...] = ()
    symmetric: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    integer_tables: bool = True
    trains: str | None = None
    opsets: range = range(7, 24)  # amctq's own
    lacks: frozenset[str] = frozenset()
    not_run: str | None = None

    @property
    def runs_on_x86(self) -> bool:
        """Whether the CPU's instructions matter."""
        isa = self.wishes.get("isa")
        return isa is None or bool(isa.values)

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of weights that a layer may get, the narrowest first."""
        wish = self.wishes.get("weight_bits")
        return tuple(bits for bits in AUTO_WEIGHT_BITS if wish is None or bits in wish.values)

    def first(self, name: str) -> Any:
        """What the target wants of an option where nobody says it; None where it has no wish of its own."""
        wish = self.wishes.get(name)
        return wish.values[0] if wish is not None and wish.values else None


_NOT_FOR_LITE = Wish(
    values=tuple(form for form in ExportFormat if form is not ExportFormat.MSLITE),
    reason="MindSpore Lite's files are those of --target mslite",
)
_RECORD = "a record of AMCT holds only the scales of placement ascend, with zero points"

TARGETS: Mapping[Target, TargetRules] = MappingProxyType(
    {
        Target.ONNXRUNTIME: TargetRules(wishes={"export": _NOT_FOR_LITE}),
        Target.OPENVINO: TargetRules(
            runtime=Runtime.OPENVINO,
            qdq=OPENVINO,
            wishes={
                "export": Wish(values=(ExportFormat.ONNX,), reason="OpenVINO reads ONNX"),
                "placement": Wish(
                    values=(Placement.ORT,), reason="OpenVINO is slower where tensors between layers stay in float"
                ),
                "act_type": Wish(
                    values=(ActType.UINT8,), reason="OpenVINO joins tensors of signed integers wrongly, and is slower"
                ),
                "isa": Wish(values=_X86, reason="OpenVINO has no use for weights with a zero point"),
            },
            export=(ExportFormat.ONNX,),
            refused={"record": _RECORD},
        ),
        Target.TENSORRT: TargetRules(
            qdq=TENSORRT,
            wishes={
                "export": Wish(values=(ExportFormat.ONNX,), reason="TensorRT reads ONNX"),
                "placement": Wish(values=(Placement.ORT,), reason="TensorRT wants both operands of a sum quantized"),
                "act_type": Wish(values=(ActType.INT8,), reason="TensorRT takes signed activations with zero point 0"),
                "weight_storage": Wish(
                    values=(WeightStorage.INT8,), reason="TensorRT runs layers of integers with 8-bit weights"
                ),
                "isa": Wish(values=(), reason="TensorRT runs on GPUs"),
            },
            export=(ExportFormat.ONNX,),
            symmetric=True,
            refused={"record": _RECORD},
            integer_tables=False,
            trains="its activations have the zero point 0, and AMCT's training gives them one",
            opsets=range(9, 21),
            lacks=frozenset(
                """
                BitShift CenterCropPad Col2Im Compress DFT Det DynamicQuantizeLinear MatMulInteger MaxRoiPool MaxUnpool
                Unique
                """.split()
            ),  # onnx-tensorrt 10.1, docs/operators.md
            not_run="never built by TensorRT here: accuracy and checks are those of the same file in onnxruntime",
        ),
        Target.ASCEND: TargetRules(
            wishes={
                "export": _NOT_FOR_LITE,
                "placement": Wish(values=(Placement.ASCEND,), reason="on an NPU the inputs of layers are quantized"),
                "weight_bits": Wish(values=(*AMCT_WEIGHT_BITS, AUTO), reason="NPUs have the widths of AMCT"),
                "weight_storage": Wish(
                    values=(WeightStorage.INT8,), reason="convert_qat_model and ATC take weights of a byte"
                ),
                "isa": Wish(values=(), reason="NPUs have no x86 instructions"),
            },
            export=(ExportFormat.ONNX, ExportFormat.ASCEND),
            opsets=range(8, 23),  # of CANN 9.0
            not_run="not run on an NPU here: onnxruntime computes what the operators of the deploy file stand for",
        ),
        Target.MSLITE: TargetRules(
            wishes={
                "export": Wish(
                    values=(ExportFormat.MSLITE,), reason="converter_lite reads MindIR in float, with a configuration"
                ),
                "placement": Wish(values=(Placement.ORT,), reason=_BY_ITSELF),
                "weight_bits": Wish(
                    values=(8,), reason="converter_lite quantizes activations only with weights of 8 bits"
                ),
                "isa": Wish(values=(), reason=_BY_ITSELF),
                "act_algo": Wish(
                    values=(ActAlgo.MINMAX, ActAlgo.ENTROPY, ActAlgo.PERCENTILE),
                    reason="converter_lite has no such observer",
                ),
            },
            export=(ExportFormat.MSLITE,),
            refused=dict.fromkeys(
                (
                    *("config", "record", "layer_bits", "weight_algo", "equalize", "arq_rule", "ifmr_variant"),
                    *("hfmg_variant", "act_symmetric", "act_type", "weight_storage", "quantize_attention"),
                    *("auto", "analyze"),
                ),
                _BY_ITSELF,
            ),
            integer_tables=False,
            trains=_BY_ITSELF,
            not_run="not verified here: converter_lite quantizes by itself and has not run; the accuracy is that of "
            "amctq's own INT8 graph of the same layers",
        ),
    }
)


def why_not(target: Target, name: str, value: Any) -> str | None:
    """Why an option's value contradicts a target; None where it does not.

    Args:
        target: of ``--target``.
        name: the request's field of the option.
        value: one value of the option; None where nobody said it.

    Returns:
        A sentence without its full stop.
    """
    rules = TARGETS[target]
    if value is None:
        return None
    if name in rules.refused:
        return rules.refused[name]
    wish = rules.wishes.get(name)
    return None if wish is None or value in wish.values else wish.reason
