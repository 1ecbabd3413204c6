"""The contract of a back end.

What a back end can do (``capabilities``) and whether it can work here is known before any work starts; then it
calibrates a network once, and exports what came of it in one format or several.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
from amctq.graph.placement import PlacedActivations
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.config import QuantConfig
from amctq.quant.layers import Topology
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig


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
        placements: which activations it can quantize.
        records: it makes a model from a record alone, without calibration.
    """

    formats: frozenset[ExportFormat]
    act_algos: frozenset[ActAlgo]
    act_types: frozenset[ActType]
    weight_bits: frozenset[int]
    weight_algos: frozenset[WeightAlgo]
    weight_storages: frozenset[WeightStorage]
    isas: frozenset[TargetIsa]
    devices: frozenset[Device]
    placements: frozenset[Placement]
    records: bool


class FinishedNetwork(ABC):
    """A network that can be written.

    Attributes:
        topology: the layers that are quantized.
        network: the float network that they replace layers of.
    """

    topology: Topology
    network: FloatNetwork

    @property
    def own_files(self) -> Mapping[str, bytes]:
        """What the engine has written by itself, by name; it stands in the place of what amctq would write."""
        return {}

    @abstractmethod
    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the network to ``path`` in a format among the back end's capabilities.

        Raises:
            InputError: the network cannot be written in that format.
            CheckError: the written file is not valid.
        """


class QuantizedNetwork(FinishedNetwork):
    """A calibrated network, its scales known: amctq can write it as QDQ ONNX too, whatever the engine.

    Attributes:
        record: scales and offsets of its layers.
        activations: which tensors are quantized, and how.
    """

    record: QuantRecord
    activations: PlacedActivations

    @abstractmethod
    def simulated(self) -> AbstractContextManager[Any]:
        """The live float cell, computing the quantized network by MindSpore's operators inside the block.

        Raises:
            NotSimulatedError: there is no such forward for this network.
        """


class OpaqueNetwork(FinishedNetwork):
    """A network whose engine keeps its scales to itself: it can be written, and not be looked into."""


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
    ) -> QuantizedNetwork | OpaqueNetwork:
        """End the training.

        Unless the result is opaque, ``cell`` is the float network again afterwards, with the parameters that it has
        been trained to, BatchNorm unfused, in inference mode; the result's ``network`` has it, its graph and topology.

        Args:
            act_type: integer type of activations in ONNX.
            weight_type: integer type of weights in ONNX.

        Returns:
            The trained network on the scales that it was trained with.

        Raises:
            InputError: parameters are not finite.
        """


class Backend(ABC):
    """An engine that quantizes.

    Attributes:
        name: what ``--backend`` calls it.
        capabilities: what it can do.
        default_export: what it writes where nobody asks for a format.
        own_files: names of files that it leaves beside amctq's; ``FinishedNetwork.own_files`` has them.
    """

    name: ClassVar[BackendName]
    capabilities: ClassVar[Capabilities]
    default_export: ClassVar[tuple[ExportFormat, ...]]
    own_files: ClassVar[tuple[str, ...]] = ()

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
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, reporter: Reporter
    ) -> QuantizedNetwork:
        """Calibrate ``network`` with every image of ``calibration``.

        Raises:
            InputError: the activations are not finite.
        """

    @abstractmethod
    def check_record(self, network: FloatNetwork, record: QuantRecord) -> None:
        """Refuse, before anything is measured, a record that ``network`` cannot be quantized with.

        Raises:
            InputError: the record belongs to another network.
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
    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter | None = None
    ) -> RetrainingNetwork:
        """Put quantizers into the live cell of ``network``, to be trained with it. Placement is ``ascend``.

        Args:
            network: the float network; nobody else uses its cell until ``finish``.
            config: which layers are quantized, and how.
            initial: where the clips start, unless ``config`` says it.
            reporter: is told of layers that the engine leaves in float.

        Raises:
            InputError: config and record do not fit the network, or a layer cannot be replaced.
        """
