"""The contract of a back end.

What it supports (``supports``) is known before any work starts. It calibrates a network once, and exports the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import onnx

from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, BackendName, ExportFormat, WeightType
from amctq.data.samples import Batches
from amctq.graph.placement import PlacedActivations
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.config import QuantConfig
from amctq.quant.distribution import LayerDistribution
from amctq.quant.equalization import EqualizedPair
from amctq.quant.integer import IntegerLayer, IntegerTable, IntegerWeights
from amctq.quant.layers import Topology
from amctq.quant.numerics import Float32Array
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.retrain_config import RetrainConfig

CALIBRATION = "calibration"  # the phase in which an engine observes the calibration images


class FinishedNetwork(ABC):
    """A network that can be written.

    Attributes:
        topology: the layers that are quantized.
        network: the float network that has these layers.
        own_files: what the engine itself has written, by file name. It replaces amctq's file of the same name.
    """

    topology: Topology
    network: FloatNetwork
    own_files: Mapping[str, bytes] = MappingProxyType({})

    @abstractmethod
    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the network to ``path`` in a format that the back end supports.

        Raises:
            InputError: the network cannot be written in that format.
            CheckError: the written file is not valid.
        """


class QuantizedNetwork(FinishedNetwork):
    """A quantized network with known scales. amctq can write it as QDQ ONNX too, whichever engine made it.

    Attributes:
        record: scales and offsets of its layers.
        layers: the integers of each layer.
        activations: which tensors are quantized, and how.
        tables: its embedding tables in integers.
        per_tensor: by layer that has a weight scale for each channel where AMCT has one for the tensor, that one.
        equalized: the pairs of equalized layers; the record is then that of other weights than the checkpoint's.
        distributions: by layer, how its weights and its calibrated input are distributed, as far as that is known.
        choices: its weights as configured, and as each of ``PtqConfig.others`` has them; empty without these.
    """

    record: QuantRecord
    layers: tuple[IntegerLayer, ...]
    activations: PlacedActivations
    tables: tuple[IntegerTable, ...] = ()
    per_tensor: Mapping[str, Float32Array] = MappingProxyType({})
    equalized: tuple[EqualizedPair, ...] = ()
    distributions: Mapping[str, LayerDistribution] = MappingProxyType({})
    choices: tuple[IntegerWeights, ...] = ()

    @property
    def amct_record(self) -> QuantRecord:
        """What AMCT's record can hold: AMCT's layers, one weight scale for a Dense, and no scale below EPSILON."""
        own = [self.record[layer.name] for layer in self.topology.layers if layer.beyond_amct is None]
        return QuantRecord(
            layers=tuple(
                replace(entry, weight_scale=self.per_tensor.get(entry.name, entry.weight_scale)).by_amcts_rule
                for entry in own
            ),
            pools=self.record.pools,
        )

    @property
    def beyond_amct(self) -> tuple[LayerRecord, ...]:
        """The layers that AMCT's record lacks, or holds with other scales."""
        known = {entry.name: entry for entry in self.amct_record.layers}
        return tuple(
            entry for entry in self.record.layers if entry.name not in known or not entry.same_as(known[entry.name])
        )

    @abstractmethod
    def only(self, names: Collection[str], *, attention: bool = True, stored: bool = False) -> QuantizedNetwork:
        """The same network with only some of its layers quantized, on the same scales, without a new calibration.

        Args:
            names: of layers, tables and means over windows; all others are in float.
            attention: products of two activations stay quantized.
            stored: weights keep the type in which the file stores them; else int8.
        """

    @abstractmethod
    def with_weights(self, *weights: IntegerWeights) -> QuantizedNetwork:
        """The same network with other weights in some layers, such as those of another width.

        Args:
            weights: of the same network and the same calibration; layers that this network lacks are ignored.
        """

    @abstractmethod
    def onnx_graph(self) -> onnx.ModelProto:
        """The QDQ graph, as ``export`` writes it, without metadata."""

    @abstractmethod
    def simulation(self) -> AbstractContextManager[Any]:
        """The live float cell, which computes the quantized network with MindSpore's operators inside the block.

        Raises:
            NoSimulationError: MindSpore's operators cannot compute this quantized network.
        """

    @abstractmethod
    def float_arithmetic(self) -> onnx.ModelProto:
        """The quantized network in float operators: a second way to compute what the ONNX file computes."""


class OpaqueNetwork(FinishedNetwork):
    """A network whose engine does not show the scales. It can be exported, but not inspected."""


class RetrainingNetwork(ABC):
    """A network with quantizers, ready to be trained.

    Attributes:
        cell: the live ``mindspore.nn.Cell`` with the quantizers: images (N, C, H, W) to logits (N, classes). It works
            in graph mode. Its trainable parameters are those of the network and the clips, ``<layer>.clip_max`` and
            ``<layer>.clip_min``, one pair for each quantized tensor. ``cell.set_train(False)``, also on a cell around
            it, quantizes the current weights once for the whole evaluation. Call it after parameters have changed.
        topology: the layers that are quantized.
        operators: which operators compute the quantizers, and why these: one line for people.
    """

    cell: Any
    topology: Topology
    operators: str

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """The parameters of ``cell`` that a checkpoint must hold, by name; not those that follow from others."""

    def begin_at(self, start: QuantizedNetwork) -> None:
        """Let training start from what ``start`` computes, as far as ``config`` says so: from its rounded weights.

        Args:
            start: the network that ``quantize`` has made of the same float network; ``initial`` is its record.
        """
        del start

    @abstractmethod
    def finish(self, *, weight_type: WeightType = WeightType.INT8) -> QuantizedNetwork | OpaqueNetwork:
        """End the training.

        Unless the result is opaque, ``cell`` is the float network again: with the trained parameters, BatchNorm
        unfused, in inference mode. The result's ``network`` holds this cell, its graph and its topology.

        Args:
            weight_type: integer type of weights in ONNX; activations are uint8.

        Returns:
            The trained network, quantized with the scales of the training.

        Raises:
            InputError: parameters are not finite.
        """


class Backend(ABC):
    """An engine that quantizes.

    Attributes:
        name: its name in ``--backend``.
        supports: the values that it supports, by field of ``choice.Asked``.
        records: it can make a model from a record, without calibration.
        reads_files: it can quantize a network that is a file, without cells of MindSpore.
        default_export: the formats that it writes if the user names none.
        own_files: names of the files that it writes besides amctq's; see ``FinishedNetwork.own_files``.
    """

    name: ClassVar[BackendName]
    supports: ClassVar[Mapping[str, frozenset[Any]]]
    records: ClassVar[bool] = True
    reads_files: ClassVar[bool] = True
    default_export: ClassVar[tuple[ExportFormat, ...]]
    own_files: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def check_exportable(self, network: FloatNetwork, topology: Topology, form: ExportFormat) -> None:
        """Refuse, before calibration, a network that cannot be exported after it.

        Args:
            network: the float network.
            topology: its layers that will be quantized.
            form: a format that the back end supports.

        Raises:
            InputError: the network cannot be written in that format.
        """

    def without_cells(self, network: FloatNetwork) -> Mapping[str, str]:
        """By layer, why MindSpore itself cannot compute it as a quantized layer; empty where it can compute all.

        Such a layer can be neither retrained nor written as MindIR.
        """
        del network
        return {}

    @abstractmethod
    def check_quantizable(self, network: FloatNetwork, config: QuantConfig) -> None:
        """Refuse, before anything is measured, a configuration that ``quantize`` could not follow.

        Raises:
            InputError: the engine does not support what a layer asks for, or a layer's weights are not finite.
        """

    @abstractmethod
    def check_retrainable(self, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord | None) -> None:
        """Refuse, before anything is measured, a configuration that ``retrain`` could not follow.

        Args:
            network: the float network.
            config: which layers are quantized, and how.
            initial: the record to start from; None where a calibration makes one of all these layers.

        Raises:
            InputError: config and record do not fit the network, or a layer is one of ``without_cells``.
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
        """Quantize ``network`` with the scales and offsets of a record. Layers that the record lacks stay in float.

        Raises:
            InputError: the record belongs to another network.
        """

    @abstractmethod
    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter | None = None
    ) -> RetrainingNetwork:
        """Put quantizers into the live cell of ``network``, for training. Placement is ``ascend``.

        Args:
            network: the float network; nothing else may use its cell until ``finish``.
            config: which layers are quantized, and how.
            initial: clips of the layers for which ``config`` gives none, and the scales that weights of GPTQ keep.
            reporter: gets a warning about layers that the engine leaves in float.

        Raises:
            InputError: config or record do not fit the network, or a layer is one of ``without_cells``.
        """
