"""Retraining with AMCT's own quantizers. A record gives the initial clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amctq.amct_files.record_text import dump_record
from amctq.backends.amct_config import enabled_layers, lay_retrain_config
from amctq.backends.amct_work_directory import LOG, rebuilt, work_directory
from amctq.backends.base import OpaqueNetwork, RetrainingNetwork
from amctq.choices import ExportFormat, WeightType
from amctq.data.inputs import zeros
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.layers import Topology
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig

RETRAIN_CONFIG = "retrain_quant_config.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class AmctRetrainedNetwork(OpaqueNetwork):
    """AMCT's AIR file. AMCT documents no way to read the trained scales.

    Attributes:
        topology: the layers that are quantized.
        network: the float network, with the weights of its checkpoint.
        air: the AIR file.
        own_files: AMCT's own configuration and log, by name.
    """

    topology: Topology
    network: FloatNetwork
    air: bytes
    own_files: Mapping[str, bytes] = field(default_factory=dict)

    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the AIR file."""
        del metadata  # an AIR file has no place for it
        assert form is ExportFormat.AIR
        path.write_bytes(self.air)


class AmctRetrainingNetwork(RetrainingNetwork):
    """A network with AMCT's ActUlq and WeightArq cells.

    Args:
        network: the float network.
        config: which layers are quantized, and how.
        initial: initial clips of the layers for which ``config`` gives none.
        batch_size: images in one forward pass.
        reporter: gets a warning about layers that stay in float.

    Raises:
        InputError: AMCT refuses the network or the configuration.
        UnavailableError: AMCT does not work here.
    """

    operators = "amct_mindspore's own (ActUlq, WeightArq)"

    def __init__(
        self, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, batch_size: int, reporter: Reporter
    ) -> None:
        self._network = network
        (self._example,) = zeros(network.graph.inputs, batch_size).values()
        self._reporter = reporter
        cell = rebuilt(network)  # before the current directory changes: paths may be relative
        cell.set_train(True)
        with work_directory(network.scratch, self._reporter) as work:
            path = str(work.config)
            work.call("create_quant_retrain_config", path, cell, self._example)
            self._config = lay_retrain_config(work.config, config, self._reporter)
            initializer = work.call("initializer.UlqInitializer", work.put_record(dump_record(initial, types=False)))
            self.cell = work.call("create_quant_retrain_model", path, cell, initializer, self._example)
            self._log = work.log()
        self.topology = network.topology.only(enabled_layers(self._config, "retrain_enable"))

    def state(self) -> Mapping[str, Any]:
        """All parameters, under AMCT's names, because ``restore_quant_retrain_model`` needs them all."""
        return {parameter.name: parameter for parameter in self.cell.get_parameters()}

    def finish(self, *, weight_type: WeightType = WeightType.INT8) -> AmctRetrainedNetwork:
        """Restore the trained parameters into a new network, and let AMCT save it.

        So the network has no half precision any more, and it is certain that AMCT can restore from such a checkpoint.
        """
        import mindspore

        del weight_type  # only for ONNX
        cell = rebuilt(self._network)
        with work_directory(self._network.scratch, self._reporter) as work:
            path, checkpoint = str(work.config), str(work.folder / "trained.ckpt")
            work.config.write_bytes(self._config)
            mindspore.save_checkpoint(self.cell, checkpoint)
            restored = work.call("restore_quant_retrain_model", path, cell, checkpoint, self._example)
            restored.set_train(False)
            restored.to_float(mindspore.float32)
            work.call("save_quant_retrain_model", path, work.model_name(), restored, self._example)
            air, log = work.model(), work.log()
        return AmctRetrainedNetwork(
            topology=self.topology,
            network=self._network,
            air=air,
            own_files={RETRAIN_CONFIG: self._config, LOG: self._log + log},
        )
