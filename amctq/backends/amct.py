"""Huawei's amct_mindspore as an engine, driven by what its manual documents.

Its functions are listed (docs/en/reference.md, "amct_mindspore").

Everything happens on an NPU in graph mode: AMCT writes its configuration, puts its cells into a network, sees one batch
and writes an AIR file, which ATC takes. Its record is what amctq reads: an ONNX graph on the same scales is what
anybody can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from amctq.amct_files.record_text import load_record
from amctq.backends.amct_config import lay_config
from amctq.backends.amct_work_directory import CONFIG, LOG, RECORD, WorkDirectory
from amctq.backends.base import Backend, Capabilities, PtqConfig, RetrainingNetwork
from amctq.backends.native_network import NativeQuantizedNetwork, on_record, recorded_topology
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
    WeightType,
)
from amctq.data.samples import Batches
from amctq.errors import InputError, first_line
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.layers import Topology
from amctq.quant.numerics import Float32Array
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig

_MANY = 50  # images; all their activations are held at once


@dataclass(frozen=True, kw_only=True, eq=False)
class AmctQuantizedNetwork(NativeQuantizedNetwork):
    """What AMCT makes of a network: its AIR file, and the same network on the scales of its record.

    Attributes:
        air: the AIR file.
        left: AMCT's own configuration, record and log, by name.
    """

    air: bytes
    left: Mapping[str, bytes]

    @property
    def own_files(self) -> Mapping[str, bytes]:
        """AMCT's own configuration, record and log."""
        return self.left

    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write AMCT's AIR file, or amctq's ONNX on AMCT's scales."""
        if form is ExportFormat.AIR:
            path.write_bytes(self.air)
        else:
            super().export(form, path, metadata)


class AmctBackend(Backend):
    """Drives amct_mindspore.

    Args:
        batch_size: images in one forward pass of a network that is retrained, and of its AIR file.
    """

    name: ClassVar[BackendName] = BackendName.AMCT
    # AMCT's MindSpore front end, as its manual has it (docs/en/reference.md, "amct_mindspore"): IFMR and ARQ, 8
    # bits, on an NPU, only AIR.
    # The types of ONNX do not concern it: its activations are int8 whatever --act-type says of uint8 files.
    capabilities: ClassVar[Capabilities] = Capabilities(
        formats=frozenset({ExportFormat.AIR}),
        act_algos=frozenset({ActAlgo.IFMR}),
        act_types=frozenset(ActType),
        weight_bits=frozenset({8}),
        weight_algos=frozenset({WeightAlgo.ARQ}),
        weight_storages=frozenset({WeightStorage.INT8}),
        isas=frozenset({TargetIsa.VNNI}),
        devices=frozenset({Device.ASCEND}),
        placements=frozenset({Placement.ASCEND}),
        records=False,
    )
    default_export: ClassVar[tuple[ExportFormat, ...]] = (ExportFormat.AIR,)
    own_files: ClassVar[tuple[str, ...]] = (LOG,)

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def check_exportable(self, network: FloatNetwork, topology: Topology, form: ExportFormat) -> None:
        """AMCT says so itself, when it sees the network."""

    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, reporter: Reporter
    ) -> AmctQuantizedNetwork:
        """The sample's flow: configuration, calibration cells, the one batch, the AIR file with its record."""
        batch = _one_batch(calibration)
        if len(batch) > _MANY:
            reporter.warn(
                f"AMCT calibrates on one batch, its manual advises 16 or 32 images, and here are {len(batch)}"
            )
        cell = _rebuilt(network)  # before the current directory is another one: paths may be relative
        example = np.zeros_like(batch)  # what the network is traced with; AMCT must not calibrate on it
        with reporter.phase("amct_mindspore"), WorkDirectory(network.scratch, reporter) as work:
            path = str(work.config)
            work.call("create_quant_config", path, cell, example)
            lay_config(work.config, config.quant, reporter)
            content = work.config.read_bytes()
            calibrated = work.call("quantize_model", path, cell, example)
            calibrated.set_train(False)
            _run(calibrated, batch)
            work.call("save_model", work.model_name(), calibrated, example)
            air, record, log = work.model(), work.record(), work.log()
            recorded = load_record(work.record_path)
        known = on_record(
            network,
            _in_order(recorded, network.topology),
            act_type=config.act_type,
            weight_type=config.weight_type,
        )
        shared = {item.name: getattr(known, item.name) for item in fields(known)}
        return AmctQuantizedNetwork(**shared, air=air, left={CONFIG: content, RECORD: record, LOG: log})

    def check_record(self, network: FloatNetwork, record: QuantRecord) -> None:
        """As for amctq's own engine, which writes the network on the record's scales."""
        recorded_topology(network, record)

    def from_record(
        self,
        *,
        network: FloatNetwork,
        record: QuantRecord,
        act_type: ActType,
        weight_type: WeightType = WeightType.INT8,
    ) -> NativeQuantizedNetwork:
        """The network on a record's scales, to be measured: amct_mindspore has no way from a record to a model."""
        return on_record(network, record, act_type=act_type, weight_type=weight_type)

    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter | None = None
    ) -> RetrainingNetwork:
        """AMCT's quantizers in a network of their own."""
        from amctq.backends.amct_retraining import AmctRetrainingNetwork

        return AmctRetrainingNetwork(network, config, initial, self._batch_size, reporter or Reporter())


def _one_batch(calibration: Batches) -> Float32Array:
    """All images that calibrate, as the one batch that AMCT looks at."""
    batch = np.concatenate([images for images, _ in calibration])
    if not np.isfinite(batch).all():
        message = "the calibration images hold NaN or infinity"
        raise InputError(message, hint="check the dataset")
    return batch


def _rebuilt(network: FloatNetwork) -> Any:
    """A cell of its own: AMCT changes what it is given."""
    assert network.rebuild is not None
    return network.rebuild()


def _run(cell: Any, batch: Float32Array) -> None:
    """The calibration batch: left out, AMCT would save factors of nothing."""
    import mindspore

    try:
        finite = np.isfinite(cell(mindspore.Tensor(batch)).asnumpy()).all()
    except Exception as error:
        message = f"MindSpore cannot run the network with AMCT's calibration cells: {first_line(error)}"
        raise InputError(message, hint="use --backend native, and report this with the network") from error
    if not finite:
        message = "the network gives NaN or infinity on the calibration images"
        raise InputError(message, hint="the checkpoint overflows on these images; check it and the data")


def _in_order(record: QuantRecord, topology: Topology) -> QuantRecord:
    """The record's layers in the order of execution; those that the network lacks come last, to be refused."""
    place = {layer.name: index for index, layer in enumerate(topology.layers)}
    return QuantRecord(layers=tuple(sorted(record.layers, key=lambda item: place.get(item.name, len(place)))))
