"""The result of a run, and its report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from amctq.services.run import report
from amctq.services.run.command_line import command_line
from amctq.services.run.deployment import Deployment, deployment
from amctq.services.run.finish import Finished
from amctq.services.run.verdict import speed_note, verdict

if TYPE_CHECKING:
    from amctq.backends.base import OpaqueNetwork, QuantizedNetwork
    from amctq.data.samples import Samples
    from amctq.files import Artifact
    from amctq.networks.verified import VerifiedNetwork
    from amctq.services.run.plan import RunPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult(Finished, ABC):
    """The result of a run: the part that ``ptq`` and ``qat`` have in common.

    Attributes:
        plan: the plan of the run.
        verified: the float network, and the proof that onnxruntime and MindSpore compute the same.
        quantized: the quantized network; opaque if its back end gives no access to it.
        warnings: the warnings of the run.
        seconds: wall time by phase.
        parts: wall time of parts of phases.
        artifacts: the published files; empty if a check failed.
    """

    command: ClassVar[str]

    plan: RunPlan
    verified: VerifiedNetwork
    quantized: QuantizedNetwork | OpaqueNetwork
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    parts: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()

    @property
    @abstractmethod
    def example_images(self) -> Samples:
        """Some images of the run, for the input shape and the preprocessing."""

    @abstractmethod
    def data_section(self) -> dict[str, Any]:
        """The images, and what they were used for."""

    @abstractmethod
    def quantization_section(self) -> dict[str, Any]:
        """The quantization of each layer."""

    def further_sections(self) -> dict[str, Any]:
        """Sections that only this command has."""
        return {}

    def accuracy_section(self) -> dict[str, Any] | None:
        """Accuracy of float and INT8 on the same images; None if it was not measured."""
        if self.accuracy is None or self.exports is None:
            return None
        return {"file": self.exports.measured.name} | report.accuracy(self.accuracy)

    @property
    def deployment(self) -> Deployment:
        """The commands for the files of the run."""
        plan = self.plan
        inputs = self.verified.network.graph.inputs
        return deployment(plan.request.target, plan.model_files, inputs, plan.converter_configs)

    @abstractmethod
    def histograms_section(self) -> list[dict[str, Any]] | None:
        """How weights and activations of each layer are distributed; None where the back end does not show them."""

    def further_timing(self) -> dict[str, Any]:
        """Further values that differ between two equal runs."""
        return {}

    def data(self) -> dict[str, Any]:
        """The report, ready for JSON; only ``timing`` differs between two equal runs."""
        plan, quantization = self.plan, self.quantization_section()
        timing = {
            "seconds": report.rounded(self.seconds),
            "parts": report.rounded(self.parts),
            **self.further_timing(),
        }
        if self.exports is not None and self.speed is not None:
            note = speed_note(self.speed.ratio, quantization)
            timing["images_per_second"] = report.speed(self.exports.measured.name, self.speed) | {"note": note}
        sections = {
            "command_line": list(command_line(self.command, plan.request)),
            "environment": report.environment(plan.device),
            "model": report.model(plan.spec.name, plan.num_classes, self.example_images)
            | {"checkpoint": str(self.verified.loaded[0].path), "checkpoint_sha256": self.verified.loaded[0].sha256}
            | ({} if plan.name_map is None else {"name_map": dict(plan.name_map.names)}),
            "data": self.data_section(),
            "quantization": quantization,
            **self.further_sections(),
            "accuracy": self.accuracy_section(),
            "fidelity": report.fidelity(self.fidelity),
            "classes": None if self.changes is None else self.changes.classes,
            "worst": [] if self.changes is None else list(self.changes.worst),
            "histograms": self.histograms_section(),
            "simulation": report.simulation(self.simulation, measured=self.accuracy is not None),
            "files": report.model_files(self.files, self.compared),
            "atc": None if self.atc is None else self.atc.data(),
            "deployment": self.deployment.data(),
            "not_run": [file.name for file in self.files.values()]
            if self.exports is None
            else list(self.exports.not_run),
            "checks": report.checks(self.checks),
            "warnings": list(self.warnings),
            "timing": timing,
        }
        return {"schema": report.SCHEMA, "command": self.command, "verdict": verdict(sections), **sections}
