"""The end of ``amctq qat``: export the trained network, and measure its files if they can run on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.backends.base import OpaqueNetwork, QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.files import OutputDirectory, writing
from amctq.progress import Reporter
from amctq.services.qat.plan import QatPlan
from amctq.services.qat.prepare import Prepared
from amctq.services.run.accuracy import PTQ_ACCURACY
from amctq.services.run.checks import training_checks
from amctq.services.run.exports import export_opaque
from amctq.services.run.finish import Finished, finish
from amctq.services.run.simulation import SIMULATED_IMAGES

if TYPE_CHECKING:
    from amctq.data.samples import Batches
    from amctq.inference.accuracy import LabelRanks, Outcome


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """The three stages before export, measured on the evaluation images.

    Attributes:
        float_ranks: label ranks of the float network.
        ptq_ranks: label ranks of the network that training started from, after post-training quantization.
        training: outcome of the training network.
    """

    float_ranks: LabelRanks
    ptq_ranks: LabelRanks
    training: Outcome


def measure_start(
    plan: QatPlan, evaluation: Batches | None, start: QuantizedNetwork, output: OutputDirectory, reporter: Reporter
) -> LabelRanks | None:
    """Measure the network before training, as an ONNX file; None without evaluation images."""
    from amctq.inference.accuracy import measure
    from amctq.inference.onnx_session import OnnxSession

    if evaluation is None:
        return None
    path = output.scratch() / "ptq.onnx"
    with writing(output.path):
        start.export(ExportFormat.ONNX, path, {})
    with reporter.phase(PTQ_ACCURACY, evaluation.images) as advance:
        return measure(OnnxSession(path.read_bytes()), evaluation, advance)


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
        float_ranks=None if stages is None else stages.float_ranks,
        simulated_images=min((evaluation or calibration).images, SIMULATED_IMAGES),
        output=output,
        reporter=reporter,
        training=None if stages is None else stages.training,
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
    ranks = None if stages is None else (stages.float_ranks, stages.training.ranks)
    checks = training_checks(prepared.verified.proof, ranks, plan.request.max_drop)
    return Finished(files=files, checks=checks)
