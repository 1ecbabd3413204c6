"""The x86 instructions that an ONNX file is written for, and the warning where this CPU has others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from amctq.choices import ActType, TargetIsa, WeightStorage, WeightType
from amctq.runtime import SATURATION_ADVICE, saturates

PLAIN_SESSION_WARNING = (
    "on this CPU a plain onnxruntime session computes other numbers than the file says, and than amctq measures: "
    + SATURATION_ADVICE
)


@dataclass(frozen=True, kw_only=True)
class ResolvedIsa:
    """The x86 instructions that an ONNX file is written for.

    Attributes:
        isa: the instructions.
        reason: why they were chosen.
        weight_type: integer type of the weights, where their width allows it.
    """

    isa: TargetIsa
    reason: str
    weight_type: WeightType


def resolve_isa(
    asked: TargetIsa | None, instructions: Collection[str], storage: WeightStorage, act_type: ActType
) -> ResolvedIsa:
    """The instructions of ``--isa``, else those of this CPU, so that a plain session computes the file exactly.

    Args:
        asked: the value of ``--isa``.
        instructions: those of this CPU.
        storage: INT4 excludes the uint8 weights that a CPU without VNNI needs.
        act_type: INT8 excludes them too.
    """
    if asked is not None:
        isa, reason = asked, "asked for"
    elif not saturates(instructions):
        isa, reason = TargetIsa.VNNI, "this CPU adds up 8-bit products exactly"
    elif storage is WeightStorage.INT4 or act_type is ActType.INT8:
        isa, reason = TargetIsa.VNNI, "the uint8 weights of avx2 do not go with the types asked for"
    else:
        isa, reason = TargetIsa.AVX2, "this CPU has no VNNI"
    weight_type = WeightType.INT4 if storage is WeightStorage.INT4 else WeightType.INT8
    return ResolvedIsa(isa=isa, reason=reason, weight_type=WeightType.UINT8 if isa is TargetIsa.AVX2 else weight_type)


def saturation_warning(
    instructions: Collection[str], weight_type: WeightType, weight_bits: Iterable[int]
) -> str | None:
    """The warning for a file whose products this CPU does not add exactly; None where it does.

    Args:
        instructions: those of this CPU.
        weight_type: the requested integer type of the weights.
        weight_bits: weight widths of all layers; up to 7 bits nothing saturates.
    """
    if weight_type is WeightType.UINT8 or 8 not in set(weight_bits) or not saturates(instructions):
        return None
    return PLAIN_SESSION_WARNING
