"""Which engine quantizes: what is asked for, held against what each can do and what this machine has."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from amctq.backends.base import Backend, Capabilities
from amctq.choices import (
    ActAlgo,
    ActType,
    BackendName,
    Device,
    ExportFormat,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.errors import UnavailableError, UsageError
from amctq.runtime import ResolvedDevice, ascend_obstacle


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks of an engine; what it does not say is what both engines have.

    Attributes:
        formats: to write; empty for the engine's own.
        device: what ``--device`` says.
        act_algo: the observer.
        act_type: integer type of activations in ONNX.
        weight_bits: width of weights.
        weight_algo: what chooses their scales.
        weight_storage: how ONNX stores them.
        isa: the x86 instructions that are asked for.
        placement: which activations are quantized; None for the engine's own.
        from_record: a model is to be made from a record, without calibration.
    """

    formats: tuple[ExportFormat, ...]
    device: Device
    act_algo: ActAlgo = ActAlgo.IFMR
    act_type: ActType = ActType.UINT8
    weight_bits: int = 8
    weight_algo: WeightAlgo = WeightAlgo.ARQ
    weight_storage: WeightStorage = WeightStorage.INT8
    isa: TargetIsa = TargetIsa.VNNI
    placement: Placement | None = None
    from_record: bool = False


def resolve_backend(
    requested: BackendName, asked: Asked, device: ResolvedDevice, *, batch_size: int
) -> tuple[Backend, str]:
    """Choose the engine, and say why: AMCT where it and an NPU are there and it has all that is asked for.

    Args:
        requested: what ``--backend`` says.
        asked: what it has to do.
        device: where MindSpore runs.
        batch_size: images in one forward pass of what AMCT writes.

    Raises:
        UsageError: the one asked for lacks something that is asked for.
        UnavailableError: it cannot work here.
    """
    # Inside the function: a back end brings ONNX and onnxruntime along.
    from amctq.backends.amct import AmctBackend
    from amctq.backends.native import NativeBackend

    if requested is BackendName.AMCT:
        _refuse(AmctBackend, asked)  # what it never could is said even where it is not installed
        if missing := amct_obstacles(device):
            message = f"--backend amct: {'; '.join(missing)}"
            raise UnavailableError(message, hint="use --backend native, which runs anywhere; see also: amctq doctor")
        return AmctBackend(batch_size=batch_size), "asked for"
    if ExportFormat.AIR in asked.formats and device.kind is not Device.ASCEND:
        message = f"--export air: MindSpore writes AIR with an NPU and CANN alone, and this machine has {device.reason}"
        raise UnavailableError(message, hint="use --export onnx, which runs anywhere")
    if requested is BackendName.NATIVE:
        _refuse(NativeBackend, asked)
        return NativeBackend(), "asked for"
    lacks = next(_lacks(AmctBackend.capabilities, asked), None)
    missing = amct_obstacles(device) or ([f"amct_mindspore has no {lacks[0]} {lacks[1]}".rstrip()] if lacks else [])
    if not missing:
        return AmctBackend(batch_size=batch_size), "amct_mindspore and an NPU are here"
    _refuse(NativeBackend, asked)
    return NativeBackend(), missing[0]


def amct_obstacles(device: ResolvedDevice | None = None) -> list[str]:
    """Why Huawei's tool cannot work: all that is missing, empty where nothing is.

    Args:
        device: where MindSpore runs; None asks about this machine.
    """
    found = []
    if importlib.util.find_spec("amct_mindspore") is None:
        found.append("amct_mindspore is not installed")
    obstacle = ascend_obstacle()
    if obstacle is not None:
        found.append(f"it needs an NPU, and this machine has {obstacle}")
    elif device is not None and device.kind is not Device.ASCEND:
        found.append(f"amct_mindspore needs an NPU, and the device is {device.kind.value} ({device.reason})")
    return found


def _lacks(able: Capabilities, asked: Asked) -> Iterator[tuple[str, str, frozenset[Any]]]:
    """Options that ask for more than an engine has, each with its value and what there is."""
    wanted: list[tuple[str, Enum | int | None, frozenset[Any]]] = [
        ("--act-algo", asked.act_algo, able.act_algos),
        ("--act-type", asked.act_type, able.act_types),
        ("--weight-bits", asked.weight_bits, able.weight_bits),
        ("--weight-algo", asked.weight_algo, able.weight_algos),
        ("--weight-storage", asked.weight_storage, able.weight_storages),
        ("--isa", asked.isa, able.isas),
        ("--placement", asked.placement, able.placements | {None}),
        ("--device", asked.device, able.devices | {Device.AUTO}),
        *(("--export", form, able.formats) for form in asked.formats),
    ]
    for option, value, allowed in wanted:
        if value not in allowed:
            yield option, _format(value), allowed - {None}
    if asked.from_record and not able.records:
        yield "--record", "", frozenset({"no way from a record to a model"})


def _refuse(engine: type[Backend], asked: Asked) -> None:
    for option, value, allowed in _lacks(engine.capabilities, asked):
        known = ", ".join(sorted(map(_format, allowed)))
        message = f"{f'{option} {value}'.rstrip()}: --backend {engine.name.value} has {known}"
        raise UsageError(message, hint=f"change {option}, or choose the other --backend")


def _format(value: Enum | int | str | None) -> str:
    return str(value.value if isinstance(value, Enum) else value)
