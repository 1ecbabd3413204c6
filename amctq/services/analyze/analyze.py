"""``amctq analyze``: calibrate, quantize, and measure every layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.files import Artifact, OutputDirectory
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.analyze.request import AnalyzeRequest
from amctq.services.ptq.calibrate import calibrated
from amctq.services.ptq.expected import calibration_phases
from amctq.services.ptq.plan import PtqPlan, plan_calibration
from amctq.services.ptq.prepare import prepare
from amctq.services.run import report
from amctq.services.run.command_line import command_line
from amctq.services.run.forecast import Forecast
from amctq.services.run.inputs import measure_float
from amctq.services.run.log import RunLog
from amctq.services.run.page import PAGE, drawn
from amctq.services.run.plan import LOG, REPORT
from amctq.services.run.sensitivity import measure_layers

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.samples import Split
    from amctq.networks.verified import VerifiedNetwork
    from amctq.quant.config import QuantConfig
    from amctq.services.run.sensitivity import Sensitivity


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalyzePlan(PtqPlan):
    """A request that has passed every check that needs no MindSpore."""

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the run will write."""
        return (LOG, REPORT, PAGE)

    def warn_of_missing_record(self, reporter: Reporter) -> None:
        """Say nothing: no run writes one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalyzeResult:
    """The result of an analysis.

    Attributes:
        plan: the checked request.
        verified: the float network.
        quantized: the quantized network.
        split: images used for calibration and for measuring.
        quant: the configuration of each layer; None if a record was used without one.
        sensitivity: what each layer costs.
        warnings: the warnings of the run.
        seconds: wall time by phase.
        artifacts: the published files.
    """

    plan: AnalyzePlan
    verified: VerifiedNetwork
    quantized: QuantizedNetwork
    split: Split
    quant: QuantConfig | None
    sensitivity: Sensitivity
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()

    def data(self) -> dict[str, Any]:
        """The report, ready for JSON; only ``timing`` differs between two equal runs."""
        from amctq.services.run.float_parts import why_skipped

        plan, request, split = self.plan, self.plan.request, self.split
        assert split.tuning is not None
        topology = self.verified.network.topology
        quantized = {layer.name for layer in self.sensitivity.layers}
        return {
            "schema": report.SCHEMA,
            "command": "analyze",
            "command_line": list(command_line("analyze", request)),
            "environment": report.environment(plan.device),
            "model": report.model(plan.spec.name, plan.num_classes, split.calibration)
            | {"checkpoint": str(self.verified.loaded[0].path), "checkpoint_sha256": self.verified.loaded[0].sha256},
            "data": {
                "dataset": str(request.dataset),
                "kind": plan.data.kind,
                "seed": request.seed,
                "calibration": report.samples(split.calibration),
                "tuning": report.samples(split.tuning),
            },
            "quantization": {
                "backend": plan.backend.name.value,
                "placement": request.resolved_placement.value,
                "from": "record" if request.record else "config" if request.config else "options",
                "left_in_float": report.left_in_float(why_skipped(topology, quantized, self.quant), topology),
            },
            "analysis": self.sensitivity.summary(),
            "sensitivity": self.sensitivity.data(),
            "warnings": list(self.warnings),
            "timing": {"seconds": report.rounded(self.seconds)},
        }


def analyze(request: AnalyzeRequest, on_event: OnEvent = silent) -> AnalyzeResult:
    """Quantize a trained network, and measure what each of its layers costs.

    Args:
        request: the request.
        on_event: receives progress, notices and warnings.

    Returns:
        The figures, the worst layer first; ``report.json`` in ``request.output_dir`` has the same.

    Raises:
        UsageError: options contradict each other or files would be overwritten.
        InputError: dataset, network, checkpoint, configuration or record are missing or not valid.
        UnavailableError: back end or device are missing.
        WriteError: the output directory cannot be written.
    """
    plan = plan_calibration(AnalyzePlan, request)
    with OutputDirectory(request.output_dir, names=plan.files, force=request.force) as output:
        log = RunLog(on_event)
        result = _run(plan, output.scratch(), Reporter(log))
        encoded = report.report_bytes(result.data())
        output.write(REPORT, encoded)
        output.write(PAGE, drawn(encoded, request.lang, log))
        output.write(LOG, log.content())
        return replace(result, artifacts=output.publish())


def _run(plan: AnalyzePlan, scratch: Path, reporter: Reporter) -> AnalyzeResult:
    prepared = prepare(plan, scratch, reporter)
    assert prepared.tuning is not None
    Forecast(reporter=reporter, expected=calibration_phases(plan, prepared)).begin(
        f"{prepared.calibration.images:,} calibration images, {prepared.tuning.images:,} that measure the layers"
    )
    measure_float(plan, prepared.verified, prepared.tuning, prepared.metric, reporter)  # refuses what only guesses
    quantized = calibrated(plan, prepared, reporter)
    sensitivity = measure_layers(quantized, prepared.tuning, prepared.metric, reporter)
    return AnalyzeResult(
        plan=plan,
        verified=prepared.verified,
        quantized=quantized,
        split=prepared.split,
        quant=prepared.quant,
        sensitivity=sensitivity,
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
    )
