"""The contract of a back end.

What a back end can do (``capabilities``) and whether it can work here is known before any work starts; then it
calibrates a network once, and exports what came of it in one format or several.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from amctq.choices import (
    ActAlgo,
    ActType,
    ArqRule,
    BackendName,
    Device,
    ExportFormat,
    IfmrVariant,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
    WeightType,
)
from amctq.data.samples import Batches
from amctq.errors import UnavailableError, UsageError
from amctq.progress import Narrator
from amctq.quant.config import QuantConfig
from amctq.quant.placement import PlacedActivations
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig
from amctq.quant.topology import FloatGraph, Topology


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatNetwork:
    """A network with its trained weights.

    Attributes:
        cell: ``mindspore.nn.Cell`` in inference mode, checkpoint loaded.
        graph: the same network as ONNX.
        topology: what there is to quantize in ``graph``.
    """

    cell: Any
    graph: FloatGraph
    topology: Topology


@dataclass(frozen=True, kw_only=True)
class PtqConfig:
    """What post-training quantization shall do.

    Attributes:
        quant: what shall be done to each layer.
        placement: which activations are quantized.
        act_type: integer type of activations in ONNX.
        ifmr_variant: which of AMCT's two IFMRs.
        arq_rule: which of the two weight scales.
        weight_type: integer type of weights in ONNX.
    """

    quant: QuantConfig
    placement: Placement
    act_type: ActType
    ifmr_variant: IfmrVariant
    arq_rule: ArqRule
    weight_type: WeightType = WeightType.INT8


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a back end can do, known before any work.

    Attributes:
        formats: what it exports.
        act_algos: the observers it has.
        act_types: integer types of activations that it can write.
        weight_bits: widths of weights that it has.
        weight_algos: what can choose its scales of weights.
        weight_storages: how it can store weights in ONNX.
        isas: the x86 instructions that it can write for.
        devices: where it runs.
    """

    formats: frozenset[ExportFormat]
    act_algos: frozenset[ActAlgo]
    act_types: frozenset[ActType]
    weight_bits: frozenset[int]
    weight_algos: frozenset[WeightAlgo]
    weight_storages: frozenset[WeightStorage]
    isas: frozenset[TargetIsa]
    devices: frozenset[Device]


# AMCT's MindSpore front end, as its manual has it (reference §1.1, §8): IFMR and ARQ at 8 bits, on an NPU, AIR alone.
# The types of ONNX do not concern it: its activations are int8 whatever --act-type says of uint8 files.
AMCT = Capabilities(
    formats=frozenset({ExportFormat.AIR}),
    act_algos=frozenset({ActAlgo.IFMR}),
    act_types=frozenset(ActType),
    weight_bits=frozenset({8}),
    weight_algos=frozenset({WeightAlgo.ARQ}),
    weight_storages=frozenset({WeightStorage.INT8}),
    isas=frozenset({TargetIsa.VNNI}),
    devices=frozenset({Device.ASCEND}),
)


class QuantizedNetwork(ABC):
    """A calibrated network.

    Attributes:
        record: scales and offsets of its layers.
        topology: the layers that are quantized.
        activations: which tensors are quantized, and how.
        network: the float network that they replace layers of.
    """

    record: QuantRecord
    topology: Topology
    activations: PlacedActivations
    network: FloatNetwork

    @abstractmethod
    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the network to ``path`` in a format among the back end's capabilities.

        Raises:
            InputError: the network cannot be written in that format.
            CheckError: the written file is not valid.
        """

    @abstractmethod
    def simulated(self) -> AbstractContextManager[Any]:
        """The live float cell, computing the quantized network by MindSpore's operators inside the block.

        Raises:
            NotSimulatedError: there is no such forward for this network.
        """


class RetrainingNetwork(ABC):
    """A network that learns to be quantized.

    Attributes:
        cell: the live ``mindspore.nn.Cell``, images (N, C, H, W) to logits (N, classes), quantizers in it; works in
            graph mode. Its trainable parameters are the network's own and the clips, ``<layer>.clip_max`` and
            ``<layer>.clip_min``, one pair for each quantized tensor. ``cell.set_train(False)``, or the same of a cell
            around it, quantizes the weights as they are then, once for all of the evaluation: call it after
            parameters have changed.
        topology: the layers that are quantized.
        operators: what the quantizers are computed with, and why with that: a line for people.
    """

    cell: Any
    topology: Topology
    operators: str

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """The parameters of ``cell`` that a checkpoint must hold, by name: all but those that follow from others."""

    @abstractmethod
    def finish(
        self, *, act_type: ActType = ActType.UINT8, weight_type: WeightType = WeightType.INT8
    ) -> QuantizedNetwork:
        """End the training.

        Afterwards ``cell`` is the float network again, with the parameters that it has been trained to, BatchNorm
        unfused, in inference mode; the result's ``network`` has it, its graph and its topology.

        Args:
            act_type: integer type of activations in ONNX.
            weight_type: integer type of weights in ONNX.

        Returns:
            The trained network on the scales that it was trained with.

        Raises:
            InputError: parameters are not finite.
        """


class Backend(ABC):
    """An engine that quantizes."""

    name: ClassVar[BackendName]
    capabilities: ClassVar[Capabilities]

    @abstractmethod
    def check_exportable(self, network: FloatNetwork, topology: Topology, form: ExportFormat) -> None:
        """Refuse, before calibration, what could not be written after it.

        Args:
            network: the float network.
            topology: its layers that shall be quantized.
            form: a format among the capabilities.

        Raises:
            InputError: the network cannot be written in that format.
        """

    @abstractmethod
    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, narrator: Narrator
    ) -> QuantizedNetwork:
        """Calibrate ``network`` with every image of ``calibration``.

        Raises:
            InputError: the activations are not finite.
        """

    @abstractmethod
    def from_record(
        self,
        *,
        network: FloatNetwork,
        record: QuantRecord,
        act_type: ActType,
        weight_type: WeightType = WeightType.INT8,
    ) -> QuantizedNetwork:
        """Quantize ``network`` with scales and offsets that are known already.

        Raises:
            InputError: the record belongs to another network.
        """

    @abstractmethod
    def retrain(self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord) -> RetrainingNetwork:
        """Put quantizers into the live cell of ``network``, to be trained with it. Placement is ``ascend``.

        Args:
            network: the float network; nobody else uses its cell until ``finish``.
            config: which layers are quantized, and how.
            initial: where the clips start, unless ``config`` says it.

        Raises:
            InputError: config and record do not fit the network, or a layer cannot be replaced.
        """


def amct_obstacle() -> str:
    """Why Huawei's tool is not used. Its back end comes with a later version of amctq."""
    if importlib.util.find_spec("amct_mindspore") is None:
        return "amct_mindspore is not installed"
    return "amct_mindspore is installed, but this version of amctq does not drive it yet"


def resolve_backend(requested: BackendName) -> tuple[Backend, str]:
    """Choose the back end, and say why.

    Raises:
        UnavailableError: the one asked for cannot work here.
    """
    if requested is BackendName.AMCT:
        message = f"--backend amct: {amct_obstacle()}"
        raise UnavailableError(message, hint="use --backend native, which runs anywhere; see also: amctq doctor")
    # Inside the function: a back end brings ONNX and onnxruntime along.
    from amctq.backends.native import NativeBackend

    why = "asked for" if requested is BackendName.NATIVE else amct_obstacle()
    return NativeBackend(), why


def check_capabilities(
    name: BackendName,
    able: Capabilities,
    *,
    act_algo: ActAlgo,
    act_type: ActType,
    weight_bits: int,
    weight_algo: WeightAlgo,
    weight_storage: WeightStorage,
    isa: TargetIsa,
    formats: tuple[ExportFormat, ...],
    device: Device,
) -> None:
    """Refuse what a back end cannot do, before any work.

    Raises:
        UsageError: an option asks for more than the back end has.
    """
    asked: list[tuple[str, Enum | int, frozenset[Any]]] = [
        ("--act-algo", act_algo, able.act_algos),
        ("--act-type", act_type, able.act_types),
        ("--weight-bits", weight_bits, able.weight_bits),
        ("--weight-algo", weight_algo, able.weight_algos),
        ("--weight-storage", weight_storage, able.weight_storages),
        ("--isa", isa, able.isas),
        ("--device", device, able.devices | {Device.AUTO}),
        *(("--export", form, able.formats) for form in formats),
    ]
    for option, value, allowed in asked:
        if value not in allowed:
            offered = ", ".join(sorted(map(_told, allowed)))
            message = f"{option} {_told(value)}: --backend {name.value} has {offered}"
            raise UsageError(message, hint=f"change {option}, or choose the other --backend")


def _told(value: Enum | int) -> str:
    return str(value.value if isinstance(value, Enum) else value)
