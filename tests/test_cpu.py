"""What is said of CPUs with and without instructions for dot products of bytes."""

from __future__ import annotations

import pytest

from amctq.choices import ActType, ArqRule, Placement, Target, TargetIsa, WeightStorage, WeightType
from amctq.export.isa import resolve_isa, saturation_warning
from amctq.inference.onnx_session import session_options
from amctq.runtime import saturates
from amctq.services.doctor import _cpu

OLD, AVX512, VNNI, ARM = ("avx2",), ("avx2", "avx512f"), ("avx2", "avx512f", "avx512_vnni"), ("asimd", "asimddp")
AMX = (*VNNI, "amx_int8")


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (OLD, True),
        (AVX512, True),
        (VNNI, False),
        (("avx2", "avx_vnni"), False),
        (ARM, False),
        (("asimd",), False),
        ((), False),  # SSE2 widens to 16 bits
    ],
)
def test_x86_saturates_without_vnni(instructions: tuple[str, ...], expected: bool) -> None:
    assert saturates(instructions) == expected


@pytest.mark.parametrize("instructions", [OLD, AVX512], ids=str)
def test_doctor_says_what_to_do_without_vnni(instructions: tuple[str, ...]) -> None:
    finding = _cpu(instructions)
    assert not finding.ok
    assert "no VNNI (avx2" in finding.value
    assert finding.advice is not None
    for words in ("--isa avx2", "--weight-bits 7", "session.x64quantprecision"):
        assert words in finding.advice


def test_doctor_names_what_is_there() -> None:
    assert "VNNI (avx2 avx512f avx512_vnni)" in _cpu(VNNI).value
    assert "dot products (asimd asimddp)" in _cpu(ARM).value
    assert all(_cpu(instructions).advice is None for instructions in (VNNI, ARM))
    assert not _cpu(("asimd",)).ok


@pytest.mark.parametrize(
    ("asked", "instructions", "storage", "act_type", "expected"),
    [
        (None, VNNI, WeightStorage.INT8, ActType.UINT8, WeightType.INT8),
        (None, ARM, WeightStorage.INT8, ActType.UINT8, WeightType.INT8),
        (None, OLD, WeightStorage.INT8, ActType.UINT8, WeightType.UINT8),
        (None, AVX512, WeightStorage.INT8, ActType.UINT8, WeightType.UINT8),
        (None, OLD, WeightStorage.INT4, ActType.UINT8, WeightType.INT4),
        (None, OLD, WeightStorage.INT8, ActType.INT8, WeightType.INT8),
        (TargetIsa.VNNI, OLD, WeightStorage.INT8, ActType.UINT8, WeightType.INT8),
        (TargetIsa.AVX2, VNNI, WeightStorage.INT8, ActType.UINT8, WeightType.UINT8),
        (TargetIsa.AMX, VNNI, WeightStorage.INT8, ActType.UINT8, WeightType.AMX),
    ],
)
def test_a_file_is_written_for_this_cpu_unless_another_is_asked_for(
    asked: TargetIsa | None,
    instructions: tuple[str, ...],
    storage: WeightStorage,
    act_type: ActType,
    expected: WeightType,
) -> None:
    assert resolve_isa(asked, instructions, storage, act_type).weight_type is expected


@pytest.mark.parametrize(
    ("threads", "act_type", "target", "isa"),
    [
        (2, ActType.UINT8, Target.ONNXRUNTIME, TargetIsa.AMX),
        (1, ActType.UINT8, Target.ONNXRUNTIME, TargetIsa.VNNI),
        (2, ActType.INT8, Target.ONNXRUNTIME, TargetIsa.VNNI),
        (2, ActType.UINT8, Target.OPENVINO, TargetIsa.VNNI),
    ],
)
def test_amx_is_used_where_it_pays(threads: int, act_type: ActType, target: Target, isa: TargetIsa) -> None:
    found = resolve_isa(None, AMX, WeightStorage.INT8, act_type, target, threads=threads)
    assert found.isa is isa
    assert (found.arq_rule is ArqRule.NARROW) == (isa is TargetIsa.AMX)
    in_float = resolve_isa(None, AMX, WeightStorage.INT8, act_type, target, placement=Placement.ASCEND, threads=threads)
    assert in_float.isa is TargetIsa.VNNI


@pytest.mark.parametrize(
    ("instructions", "kind", "bits", "warned"),
    [
        (OLD, WeightType.INT8, {8}, True),
        (OLD, WeightType.INT4, {8, 4}, True),  # the layers of 8 bits stay int8
        (OLD, WeightType.INT8, {7, 6, 4}, False),
        (OLD, WeightType.UINT8, {8}, False),
        (VNNI, WeightType.INT8, {8}, False),
        (ARM, WeightType.INT8, {8}, False),
    ],
)
def test_a_run_warns_of_sums_that_saturate_here(
    instructions: tuple[str, ...], kind: WeightType, bits: set[int], warned: bool
) -> None:
    assert (saturation_warning(instructions, kind, bits) is not None) == warned


@pytest.mark.parametrize("instructions", [OLD, AVX512, ARM, ()], ids=str)
def test_a_session_adds_up_exactly_where_vnni_is_not_known_to(instructions: tuple[str, ...]) -> None:
    assert session_options(instructions).get_session_config_entry("session.x64quantprecision") == "1"


def test_a_session_with_work_beside_it_leaves_the_cores_to_it() -> None:
    key = "session.intra_op.allow_spinning"
    assert session_options(VNNI, shares_cores=True).get_session_config_entry(key) == "0"
    with pytest.raises(RuntimeError, match="does not have"):
        session_options(VNNI).get_session_config_entry(key)


def test_a_session_has_the_fast_kernels_where_they_are_exact() -> None:
    with pytest.raises(RuntimeError, match="does not have"):
        session_options(VNNI).get_session_config_entry("session.x64quantprecision")
