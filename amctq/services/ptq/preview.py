"""The result of ``amctq ptq --dry-run``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amctq.choices import AUTO
from amctq.services.ptq.mslite import sample_folders

if TYPE_CHECKING:
    from amctq.data.samples import Split
    from amctq.quant.config import QuantConfig
    from amctq.quant.layers import EmbeddingTable, QuantizableLayer, Topology
    from amctq.quant.record import PoolRecord
    from amctq.services.ptq.plan import PtqPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqPreview:
    """What ``ptq`` would do: the result of ``--dry-run``.

    Attributes:
        plan: the checked request.
        split: images for calibration and for evaluation.
        topology: the layers that can be quantized, and those that cannot.
        quant: the configuration of each layer; None if a record is used without one.
        recorded_pools: the means over windows of that record.
        estimated_seconds: of calibration and evaluation.
        warnings: the warnings so far.
    """

    plan: PtqPlan
    split: Split
    topology: Topology
    quant: QuantConfig | None
    recorded_pools: tuple[PoolRecord, ...]
    estimated_seconds: float
    warnings: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The preview, ready for JSON."""
        return {
            "dry_run": True,
            "backend": self.plan.backend.name.value,
            "backend_reason": self.plan.backend_reason,
            "placement": self.plan.request.resolved_placement.value,
            "isa": self.plan.isa.name,
            "device": self.plan.device.kind.value,
            "calibration_images": len(self.split.calibration),
            "evaluation_images": 0 if self.split.evaluation is None else len(self.split.evaluation),
            "split": self.split.note,
            "layers": [
                *(self._layer(layer) for layer in self.topology.layers),
                *(self._table(table) for table in self.topology.tables),
            ],
            "pools": self._pools(),
            "left_in_float": [{"name": layer.name, "reason": layer.reason} for layer in self.topology.left_in_float],
            "files": [str(self.plan.request.output_dir / name) for name in (*self.plan.files, *self._folders)],
            "estimated_seconds": round(self.estimated_seconds, 1),
            "warnings": list(self.warnings),
        }

    @property
    def _folders(self) -> list[str]:
        """The folders of samples for MindSpore Lite's converter."""
        return [f"{folder}/*.bin" for folder in sample_folders(self.plan, self.split.calibration).values()]

    def _pools(self) -> list[dict[str, Any]]:
        """The means over windows that the configuration or the record names."""
        if self.quant is not None:
            return [
                {"name": pool.name, "quantized": pool.enabled, "act_algo": pool.activation.algo.value}
                for pool in self.quant.pools
            ]
        return [{"name": pool.name, "quantized": True, "act_algo": None} for pool in self.recorded_pools]

    def _layer(self, layer: QuantizableLayer) -> dict[str, Any]:
        config = None if self.quant is None else self.quant.enabled.get(layer.name)
        chosen = self.plan.request.weight_bits == AUTO
        return {
            "name": layer.name,
            "type": layer.kind.value,
            "quantized": self.quant is None or config is not None,
            "why_in_float": None if self.quant is None else self.quant.why_in_float.get(layer.name),
            "act_algo": None if config is None else config.activation.algo.value,
            "weight_bits": None if config is None else AUTO if chosen else config.weight.bits,
            "weight_algo": None if config is None else config.weight.algo.value,
            "channel_wise": None if config is None else config.weight.channel_wise,
            "batch_norm": layer.batch_norm is not None,
        }

    def _table(self, table: EmbeddingTable) -> dict[str, Any]:
        config = None if self.quant is None else self.quant.enabled_tables.get(table.name)
        return {
            "name": table.name,
            "type": "Embedding",
            "quantized": config is not None,
            "why_in_float": None if self.quant is None else self.quant.why_in_float.get(table.name),
            "act_algo": None,
            "weight_bits": None if config is None else config.weight.bits,
            "weight_algo": None if config is None else config.weight.algo.value,
            "channel_wise": None if config is None else config.weight.channel_wise,
            "batch_norm": False,
        }
