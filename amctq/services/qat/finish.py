"""The end of ``amctq qat``: export the trained network, and measure its files if they can run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.backends.base import OpaqueNetwork, QuantizedNetwork
from amctq.choices import ExportFormat, Runtime
from amctq.files import OutputDirectory, writing
from amctq.progress import Reporter
from amctq.services.qat.plan import QatPlan
from amctq.services.qat.prepare import Prepared
from amctq.services.qat.stages import Stages
from amctq.services.run.accuracy import PTQ_ACCURACY
from amctq.services.run.checks import training_checks
from amctq.services.run.exports import export_opaque
from amctq.services.run.finish import Finished, finish
from amctq.services.run.simulation import SIMULATED_IMAGES

if TYPE_CHECKING:
    from amctq.data.samples import Batches
    from amctq.inference.metrics.score import Metric, Score


def measure_start(
    evaluation: Batches | None,
    metric: Metric | None,
    start: QuantizedNetwork,
    runtime: Runtime,
    output: OutputDirectory,
    reporter: Reporter,
) -> Score | None:
    """Measure the network before training, as an ONNX file; None without evaluation samples or metric."""
    from amctq.inference.metrics.measure import measure
    from amctq.inference.runtimes import open_onnx

    if evaluation is None or metric is None:
        return None
    path = output.scratch() / "ptq.onnx"
    with writing(output.path):
        start.export(ExportFormat.ONNX, path, {})
    with reporter.phase(PTQ_ACCURACY, evaluation.images) as advance:
        return measure(open_onnx(path.read_bytes(), runtime), evaluation, metric, advance).score


def finish_trained(
    plan: QatPlan,
    prepared: Prepared,
    network: QuantizedNetwork | OpaqueNetwork,
    stages: Stages | None,
    output: OutputDirectory,
    reporter: Reporter,
) -> Finished:
    """Write the trained network, and check the files if they can run on this machine.

    Raises:
        AmctqError: as ``finish``.
    """
    if isinstance(network, OpaqueNetwork):
        return _finish_opaque(plan, prepared, network, stages, output, reporter)
    images = prepared.images
    calibration = plan.batches(images.split.calibration)
    evaluation = plan.evaluation_batches(images.evaluation)
    return finish(
        plan,
        network,
        prepared.verified,
        calibration=calibration,
        evaluation=evaluation,
        metric=prepared.metric,
        before=None if stages is None else stages.before,
        simulated_images=min((evaluation or calibration).images, SIMULATED_IMAGES),
        output=output,
        reporter=reporter,
        training=None if stages is None else stages.training.score,
    )


def _finish_opaque(
    plan: QatPlan,
    prepared: Prepared,
    network: OpaqueNetwork,
    stages: Stages | None,
    output: OutputDirectory,
    reporter: Reporter,
) -> Finished:
    """Write files that cannot run on this machine; only the training network can be checked."""
    files = export_opaque(network, prepared.verified, plan.model_files, output, reporter)
    names = ", ".join(file.name for file in files.values())
    reporter.warn(f"{names}: not run, because an AIR file runs on an NPU, after ATC has compiled it")
    scores = None if stages is None else (stages.before.score, stages.training.score)
    checks = training_checks(prepared.verified.proof, scores, plan.request.max_drop)
    return Finished(files=files, checks=checks)
