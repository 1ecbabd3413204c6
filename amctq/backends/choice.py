"""Which engine quantizes: compares the request with what each engine supports and with this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amctq.backends.base import Backend
from amctq.choices import (
    ActAlgo,
    ActType,
    BackendName,
    Device,
    ExportFormat,
    Placement,
    Target,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.errors import UnavailableError, UsageError
from amctq.runtime import ResolvedDevice, ascend_obstacle


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks of an engine: its options of the same names. The defaults are what both engines support.

    Attributes:
        export: the formats to write; empty for the engine's default.
        device: as ``--device``.
        act_algo: the observer.
        act_type: integer type of activations in ONNX.
        weight_bits: width of weights.
        weight_algo: how weight scales are chosen.
        bias_correction: biases make up for rounded weights; False where the engine decides.
        equalize: channels between layers get factors that cancel.
        auto: layers fall back to wider weights or to float until the accuracy is enough.
        weight_storage: how ONNX stores weights.
        isa: the x86 instructions that the file is written for.
        placement: which activations are quantized; None for the engine's default.
        target: what the file is for.
        record: a model is made from a record, without calibration.
        file: the network is a file, and has no cells of MindSpore.
    """

    export: tuple[ExportFormat, ...]
    device: Device
    act_algo: ActAlgo = ActAlgo.IFMR
    act_type: ActType = ActType.UINT8
    weight_bits: int = 8
    weight_algo: WeightAlgo = WeightAlgo.ARQ
    bias_correction: bool = False
    equalize: bool = False
    auto: bool = False
    weight_storage: WeightStorage = WeightStorage.INT8
    isa: TargetIsa = TargetIsa.VNNI
    placement: Placement | None = None
    target: Target = Target.ONNXRUNTIME
    record: bool = False
    file: bool = False


def resolve_backend(
    requested: BackendName, asked: Asked, device: ResolvedDevice, *, batch_size: int
) -> tuple[Backend, str]:
    """Choose the engine, and say why: AMCT if it and an NPU are here and it supports the whole request.

    Args:
        requested: as ``--backend``.
        asked: what the engine has to do.
        device: where MindSpore runs.
        batch_size: images in one forward pass of the model that AMCT writes.

    Raises:
        UsageError: the engine does not support a part of the request.
        UnavailableError: the engine cannot work here.
    """
    # Inside the function: a back end imports ONNX and onnxruntime.
    from amctq.backends.amct import AmctBackend
    from amctq.backends.native import NativeBackend

    if requested is BackendName.AMCT:
        _refuse(AmctBackend, asked)  # first: this holds also where AMCT is not installed
        if missing := amct_obstacles(device):
            message = f"--backend amct: {'; '.join(missing)}"
            raise UnavailableError(message, hint="use --backend native, which runs anywhere; see also: amctq doctor")
        return AmctBackend(batch_size=batch_size), "asked for"
    if ExportFormat.AIR in asked.export and device.kind is not Device.ASCEND:
        message = f"--export air: MindSpore writes AIR only with an NPU and CANN, and this machine has {device.reason}"
        raise UnavailableError(message, hint="use --export onnx, which runs anywhere")
    reason = "asked for"
    if requested is BackendName.AUTO:
        unsupported = (f"amct_mindspore has no {option}" for option, _ in _unsupported(AmctBackend, asked))
        missing = amct_obstacles(device) or list(unsupported)
        if not missing:
            return AmctBackend(batch_size=batch_size), "amct_mindspore and an NPU are here"
        reason = missing[0]
    _refuse(NativeBackend, asked)
    return NativeBackend(), reason


def amct_obstacles(device: ResolvedDevice | None = None) -> list[str]:
    """All reasons why Huawei's tool cannot work; empty if it can.

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


def _refuse(engine: type[Backend], asked: Asked) -> None:
    for option, supported in _unsupported(engine, asked):
        message = f"{option}: --backend {engine.name.value} has {', '.join(sorted(map(_format, supported)))}"
        raise UsageError(message, hint=f"change {option.split()[0]}, or choose the other --backend")


def _unsupported(engine: type[Backend], asked: Asked) -> Iterator[tuple[str, frozenset[Any]]]:
    """Options that the engine does not support, each with its value, and what the engine supports instead."""
    for name, supported in engine.supports.items():
        values = getattr(asked, name)
        for value in values if isinstance(values, tuple) else (values,):
            if value not in supported and value is not None:
                yield f"--{name.replace('_', '-')} {_format(value)}", supported
    if asked.record and not engine.records:
        yield "--record", frozenset({"no way from a record to a model"})
    if asked.file and not engine.reads_files:
        yield "--model FILE", frozenset({"only networks of MindSpore's cells"})


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(getattr(value, "value", value))
