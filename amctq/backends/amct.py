"""Huawei's amct_mindspore as an engine, called as its manual documents it.

Its functions are listed in the reference (docs/en/reference.md, "amct_mindspore").

Everything runs on an NPU in graph mode. AMCT writes its configuration, puts its cells into a network, calibrates on one
batch and writes an AIR file, which ATC compiles. amctq reads AMCT's record, so it can also write an ONNX file with the
same scales, which runs anywhere.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from amctq.amct_files.record_text import load_record
from amctq.backends.amct_config import check_config, check_retrain_config, lay_config
from amctq.backends.amct_work_directory import CONFIG, LOG, RECORD, rebuilt, work_directory
from amctq.backends.base import RetrainingNetwork
from amctq.backends.native_network import NativeQuantizedNetwork, RecordBackend, on_record
from amctq.backends.ptq_config import PtqConfig
from amctq.backends.replaced_ranges import warn_of_replaced_ranges
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
from amctq.data.inputs import joined
from amctq.data.samples import Batches
from amctq.errors import InputError, first_line
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.config import QuantConfig
from amctq.quant.layers import Topology
from amctq.quant.numerics import Float32Array
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig

_MANY = 50  # images; AMCT keeps all their activations in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class AmctQuantizedNetwork(NativeQuantizedNetwork):
    """A network that AMCT has quantized: its AIR file, and the same network with the scales of AMCT's record.

    Attributes:
        air: the AIR file.
        own_files: AMCT's own configuration, record and log, by name.
    """

    air: bytes
    own_files: Mapping[str, bytes] = field(default_factory=dict)

    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write AMCT's AIR file, or amctq's ONNX with AMCT's scales."""
        if form is ExportFormat.AIR:
            path.write_bytes(self.air)
        else:
            super().export(form, path, metadata)


class AmctBackend(RecordBackend):
    """Calls amct_mindspore.

    Args:
        batch_size: images in one forward pass of a retrained network and of its AIR file.
    """

    name: ClassVar[BackendName] = BackendName.AMCT
    # AMCT's MindSpore front end, according to its manual (docs/en/reference.md, "amct_mindspore"): IFMR and ARQ, 8
    # bits, on an NPU, only AIR. --act-type is about ONNX: AMCT's activations are always int8.
    supports: ClassVar[Mapping[str, frozenset[Any]]] = {
        "target": frozenset({Target.ASCEND, Target.ONNXRUNTIME}),
        "act_algo": frozenset({ActAlgo.IFMR}),
        "act_type": frozenset(ActType),
        "weight_bits": frozenset({8}),
        "weight_algo": frozenset({WeightAlgo.ARQ}),
        "bias_correction": frozenset({False}),
        "equalize": frozenset({False}),
        "auto": frozenset({False}),
        "weight_storage": frozenset({WeightStorage.INT8}),
        "isa": frozenset({TargetIsa.VNNI}),
        "placement": frozenset({Placement.ASCEND}),
        "device": frozenset({Device.AUTO, Device.ASCEND}),
        "export": frozenset({ExportFormat.AIR}),
    }
    records: ClassVar[bool] = False  # from_record only measures a network
    reads_files: ClassVar[bool] = False
    default_export: ClassVar[tuple[ExportFormat, ...]] = (ExportFormat.AIR,)
    own_files: ClassVar[tuple[str, ...]] = (LOG,)

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def check_exportable(self, network: FloatNetwork, topology: Topology, form: ExportFormat) -> None:
        """Do nothing: AMCT itself refuses a network when it gets it."""

    def check_quantizable(self, network: FloatNetwork, config: QuantConfig) -> None:
        """AMCT has one observer, one choice of weight scales and one width."""
        check_config(config)

    def check_retrainable(self, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord | None) -> None:
        """AMCT has one width. It reports by itself which cells it cannot replace."""
        check_retrain_config(config)

    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, reporter: Reporter
    ) -> AmctQuantizedNetwork:
        """As in AMCT's sample: configuration, calibration cells, one batch, AIR file and record."""
        self.check_quantizable(network, config.quant)
        batch = _one_batch(calibration)
        if len(batch) > _MANY:
            reporter.warn(
                f"AMCT calibrates on one batch, its manual advises 16 or 32 images, and here are {len(batch)}"
            )
        cell = rebuilt(network)  # before the current directory changes: paths may be relative
        example = np.zeros_like(batch)  # only traces the network; AMCT must not calibrate on it
        with reporter.phase("amct_mindspore"), work_directory(network.scratch, reporter) as work:
            path = str(work.config)
            work.call("create_quant_config", path, cell, example)
            content = lay_config(work.config, config.quant, reporter)
            calibrated = work.call("quantize_model", path, cell, example)
            calibrated.set_train(False)
            _run(calibrated, batch)
            work.call("save_model", work.model_name(), calibrated, example)
            air, record, log = work.model(), work.record(), work.log()
            recorded = load_record(work.record_path)
        unfused = {layer.name for layer in config.quant.selected(network.topology).layers if layer.fusion_skipped}
        ordered = _in_order(recorded, network.topology, unfused)
        known = on_record(network, ordered, act_type=config.act_type, weight_type=config.weight_type)
        warn_of_replaced_ranges(network, known, calibration, reporter)
        return AmctQuantizedNetwork(**vars(known), air=air, own_files={CONFIG: content, RECORD: record, LOG: log})

    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter | None = None
    ) -> RetrainingNetwork:
        """Put AMCT's quantizers into a network of its own."""
        from amctq.backends.amct_retraining import AmctRetrainingNetwork

        self.check_retrainable(network, config, initial)
        return AmctRetrainingNetwork(network, config, initial, self._batch_size, reporter or Reporter())


def _one_batch(calibration: Batches) -> Float32Array:
    """All calibration images as one batch, because AMCT takes only one."""
    (batch,) = joined(inputs for inputs, _ in calibration).values()
    if not np.isfinite(batch).all():
        message = "the calibration images hold NaN or infinity"
        raise InputError(message, hint="check the dataset")
    return batch


def _run(cell: Any, batch: Float32Array) -> None:
    """Run the calibration batch. Without it AMCT would save scales that were never calibrated."""
    import mindspore

    try:
        finite = np.isfinite(cell(mindspore.Tensor(batch)).asnumpy()).all()
    except Exception as error:
        message = f"MindSpore cannot run the network with AMCT's calibration cells: {first_line(error)}"
        raise InputError(message, hint="use --backend native, and report this with the network") from error
    if not finite:
        message = "the network gives NaN or infinity on the calibration images"
        raise InputError(message, hint="the checkpoint overflows on these images; check it and the data")


def _in_order(record: QuantRecord, topology: Topology, unfused: Container[str]) -> QuantRecord:
    """The record's layers in the order of execution. Layers that the network lacks come last and are refused later.

    AMCT's records do not say which layers were quantized without their BatchNorm: ``unfused`` does.
    """
    place = {layer.name: index for index, layer in enumerate(topology.layers)}
    layers = [replace(entry, skip_fusion=entry.name in unfused) for entry in record.layers]
    return QuantRecord(layers=tuple(sorted(layers, key=lambda item: place.get(item.name, len(place)))))
