"""The x86 instructions that an ONNX file is written for, and the warning where this CPU has others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from amctq.choices import ActType, ArqRule, Placement, Runtime, Target, TargetIsa, WeightStorage, WeightType
from amctq.export.targets import TARGETS
from amctq.runtime import SATURATION_ADVICE, saturates

PLAIN_SESSION_WARNING = (
    "on this CPU a plain onnxruntime session computes other numbers than the file says, and than amctq measures: "
    + SATURATION_ADVICE
)
OPENVINO_WARNING = (
    "without VNNI OpenVINO's sums of products with weights of 8 bits saturate at 16 bits, and it measures that: "
    "--weight-bits 7, and --arq-rule pairs, are exact, and as fast"
)
# On one thread the kernels of AMX are slower than those of VNNI: 0.88 x on ResNet-50; on two 1.27 x.
_THREADS_FOR_AMX = 2
# The widest weights with which no sum of two products saturates: 2 x 255 x 64 < 2^15.
EXACT_BITS = 7


@dataclass(frozen=True, kw_only=True)
class ResolvedIsa:
    """The x86 instructions that an ONNX file is written for.

    Attributes:
        isa: the instructions; None for a target that is no x86 CPU.
        reason: why they were chosen.
        weight_type: integer type of the weights, where their width allows it.
        weight_bits: the width of weights where nobody says it.
        arq_rule: the rule of ARQ where nobody says it.
    """

    isa: TargetIsa | None
    reason: str
    weight_type: WeightType
    weight_bits: int = 8
    arq_rule: ArqRule = ArqRule.AMCT

    @property
    def name(self) -> str | None:
        """What ``--isa`` calls the instructions; None for a target that is no x86 CPU."""
        return None if self.isa is None else self.isa.value


def resolve_isa(
    asked: TargetIsa | None,
    instructions: Collection[str],
    storage: WeightStorage,
    act_type: ActType,
    target: Target = Target.ONNXRUNTIME,
    *,
    in_pairs: bool = True,
    placement: Placement = Placement.ORT,
    threads: int = 1,
) -> ResolvedIsa:
    """The instructions of ``--isa``, else those of this CPU, so that a plain session computes the file exactly.

    Args:
        asked: the value of ``--isa``.
        instructions: those of this CPU.
        storage: INT4 excludes the uint8 weights that a CPU without VNNI needs.
        act_type: INT8 excludes them too.
        target: OpenVINO computes layers with uint8 weights in float.
        in_pairs: ARQ chooses the scales of weights of 8 bits, so that its rule can make them exact without VNNI.
        placement: with placement ascend, onnxruntime computes convolutions in float.
        threads: that run the file; AMX pays from two on.
    """
    weight_type = WeightType.INT4 if storage is WeightStorage.INT4 else WeightType.INT8
    rules = TARGETS[target]
    if not rules.runs_on_x86:
        return ResolvedIsa(isa=None, reason=rules.wishes["isa"].reason, weight_type=weight_type)
    pays = "amx_int8" in instructions and threads >= _THREADS_FOR_AMX and target is Target.ONNXRUNTIME
    plain = (storage, act_type, placement) == (WeightStorage.INT8, ActType.UINT8, Placement.ORT)
    if asked is not None:
        isa, reason = asked, "asked for"
    elif pays and plain:
        isa, reason = TargetIsa.AMX, "this CPU has AMX, and more than one core"
    elif not saturates(instructions):
        isa, reason = TargetIsa.VNNI, "this CPU adds up 8-bit products exactly"
    elif rules.runtime is not Runtime.OPENVINO and (storage is WeightStorage.INT4 or act_type is ActType.INT8):
        isa, reason = TargetIsa.VNNI, "the uint8 weights of avx2 do not go with the types asked for"
    else:
        isa, reason = TargetIsa.AVX2, "this CPU has no VNNI"
    if isa is TargetIsa.AMX:
        return ResolvedIsa(isa=isa, reason=reason, weight_type=WeightType.AMX, arq_rule=ArqRule.NARROW)
    if isa is not TargetIsa.AVX2:
        return ResolvedIsa(isa=isa, reason=reason, weight_type=weight_type)
    if rules.runtime is Runtime.OPENVINO:
        bits = 8 if in_pairs else EXACT_BITS
        return ResolvedIsa(isa=isa, reason=reason, weight_type=weight_type, weight_bits=bits, arq_rule=ArqRule.PAIRS)
    return ResolvedIsa(isa=isa, reason=reason, weight_type=WeightType.UINT8, arq_rule=ArqRule.PAIRS)


def amx_warning(asked: TargetIsa | None, instructions: Collection[str]) -> str | None:
    """The warning for a file for AMX, on a CPU without it; None on others."""
    if asked is not TargetIsa.AMX or "amx_int8" in instructions:
        return None
    return "this CPU has no AMX: a file for it is as exact here, but no faster than one of --isa vnni"


def saturation_warning(
    instructions: Collection[str],
    weight_type: WeightType,
    weight_bits: Iterable[int],
    target: Target = Target.ONNXRUNTIME,
) -> str | None:
    """The warning for a file whose products this CPU does not add exactly; None where it does.

    Args:
        instructions: those of this CPU.
        weight_type: the requested integer type of the weights.
        weight_bits: weight widths of all layers; up to 7 bits nothing saturates.
        target: what the file is for.
    """
    rules = TARGETS[target]
    if weight_type is WeightType.UINT8 or 8 not in set(weight_bits) or not saturates(instructions):
        return None
    if rules.runtime is Runtime.OPENVINO:
        return OPENVINO_WARNING
    return PLAIN_SESSION_WARNING if rules.runs_on_x86 else None
