"""``amctq ptq``: calibrate, quantize, export, verify."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import (
    Backend,
    FloatNetwork,
    PtqConfig,
    check_capabilities,
    resolve_backend,
)
from amctq.choices import ActAlgo, ActType, BackendName, Device, ExportFormat
from amctq.data import cifar
from amctq.data.batches import Batches
from amctq.errors import CheckError, UsageError
from amctq.files import Artifact, OutputDirectory, sha256_of, writing
from amctq.models.checkpoint import check_readable, load_checkpoint
from amctq.models.registry import ModelSpec, find_model
from amctq.progress import Narrator, OnEvent, silent
from amctq.quant.paired import paired_difference
from amctq.runtime import ResolvedDevice, load_mindspore, resolve_device
from amctq.services.checks import Accuracy, Check, refuse_chance, run_checks
from amctq.services.log import RunLog
from amctq.services.report import ptq_report, report_bytes

if TYPE_CHECKING:
    from amctq.export.session import OnnxSession
    from amctq.export.verify import ForwardProof
    from amctq.quant.record import QuantRecord
    from amctq.quant.topology import Topology

REPORT = "report.json"
LOG = "amctq.log"


@dataclass(frozen=True, kw_only=True)
class PtqRequest:
    """What ``amctq ptq`` shall do; fields carry the names of the options.

    Attributes:
        dataset: folder with CIFAR-10 record files.
        ckpt: MindSpore checkpoint.
        model: name in the registry.
        image_size: height and width that images are resized to; None for the model's own.
        num_classes: of the checkpoint.
        calib_images: how many training images calibrate.
        batch_size: images per forward pass.
        eval_images: how many test images evaluate; None for all, 0 for none.
        act_algo: name of the observer.
        act_type: integer type of activations in ONNX.
        export: formats to write.
        backend: which engine.
        device: where MindSpore runs.
        device_id: index of the NPU; None for DEVICE_ID, else 0.
        max_drop: fail when top-1 drops by more percentage points than this; None for no gate.
        allow_poor_float: go on although the float network is hardly better than chance.
        seed: chooses the calibration images.
        output_dir: where the files go.
        force: replace the files of a former run.
    """

    dataset: Path
    ckpt: Path
    model: str = "resnet50"
    image_size: int | None = None
    num_classes: int = 10
    calib_images: int = 32
    batch_size: int = 32
    eval_images: int | None = None
    act_algo: ActAlgo = ActAlgo.MINMAX
    act_type: ActType = ActType.UINT8
    export: tuple[ExportFormat, ...] = (ExportFormat.ONNX,)
    backend: BackendName = BackendName.AUTO
    device: Device = Device.AUTO
    device_id: int | None = None
    max_drop: float | None = None
    allow_poor_float: bool = False
    seed: int = 1
    output_dir: Path = Path("results")
    force: bool = False

    def __post_init__(self) -> None:
        positive = {
            "calib_images": self.calib_images,
            "batch_size": self.batch_size,
            "num_classes": self.num_classes,
        }
        for name, value in positive.items():
            if value < 1:
                message = f"--{name.replace('_', '-')} {value}: expected at least 1"
                raise UsageError(message)
        if self.image_size is not None and self.image_size < 8:
            message = f"--image-size {self.image_size}: expected at least 8 pixels"
            raise UsageError(message)
        if self.eval_images is not None and self.eval_images < 0:
            message = f"--eval-images {self.eval_images}: expected a number of images, 0 for none, or all"
            raise UsageError(message)
        if self.max_drop is not None and self.eval_images == 0:
            message = "--max-drop needs an accuracy, and --eval-images 0 measures none"
            raise UsageError(message, hint="drop one of the two options")
        if self.seed < 0:
            message = f"--seed {self.seed}: expected 0 or more"
            raise UsageError(message)


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqResult:
    """What a run found and left behind.

    Attributes:
        request: what was asked for.
        spec: the network, with the preprocessing that was used.
        device: where MindSpore ran.
        backend: the engine that quantized.
        backend_reason: why this one.
        split: which images calibrated and which evaluated.
        topology: what there was to quantize.
        record: scales and offsets.
        proof: that onnxruntime computes what MindSpore computes.
        accuracy: None where none was asked for.
        checks: what was made sure of.
        float_bytes: size of the float ONNX as MindSpore exports it.
        int8_bytes: size of the INT8 ONNX.
        checkpoint_sha256: of the checkpoint file.
        warnings: what was said on the way.
        seconds: wall time by phase.
        artifacts: the files, in their final place; empty when a check failed.
    """

    request: PtqRequest
    spec: ModelSpec
    device: ResolvedDevice
    backend: BackendName
    backend_reason: str
    split: cifar.Split
    topology: Topology
    record: QuantRecord
    proof: ForwardProof
    accuracy: Accuracy | None
    checks: tuple[Check, ...]
    float_bytes: int
    int8_bytes: int
    checkpoint_sha256: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()


def ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqResult:
    """Quantize a network after training, and prove what came of it.

    Args:
        request: what to do.
        on_event: is told of progress, notices and warnings.

    Returns:
        The measured result; its files lie in ``request.output_dir``.

    Raises:
        UsageError: options contradict each other or files would be overwritten.
        InputError: dataset or checkpoint are not what they must be.
        UnavailableError: backend or device are missing.
        CheckError: the INT8 file fails a check; nothing is left in the output directory.
        WriteError: the output directory cannot be written.
    """
    plan = _plan(request)
    with OutputDirectory(request.output_dir, names=plan.files, force=request.force) as output:
        log = RunLog(on_event)
        narrator = Narrator(log)
        narrator.info(
            f"back end {plan.backend.name.value} ({plan.backend_reason}), "
            f"device {plan.device.kind.value} ({plan.device.reason})"
        )
        result = _run(plan, output, narrator)
        return _publish(result, output, log)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """A request that has passed every check that costs nothing."""

    request: PtqRequest
    spec: ModelSpec
    data: cifar.Cifar10Files
    device: ResolvedDevice
    backend: Backend
    backend_reason: str
    config: PtqConfig

    @property
    def model_file(self) -> str:
        return f"{self.spec.name}_quant.onnx"

    @property
    def files(self) -> tuple[str, ...]:
        """What the run will write; the report last, because it speaks of the others."""
        return (self.model_file, LOG, REPORT)

    def batches(self, images: cifar.Images) -> Batches:
        return Batches(images=images, preprocessing=self.spec.preprocessing, batch_size=self.request.batch_size)


def _plan(request: PtqRequest) -> _Plan:
    spec = find_model(request.model)
    if request.image_size is not None:
        spec = replace(spec, preprocessing=replace(spec.preprocessing, image_size=request.image_size))
    data = cifar.find_files(request.dataset)
    cifar.check_files(data)
    check_readable(request.ckpt)
    device = resolve_device(request.device, request.device_id)
    backend, reason = resolve_backend(request.backend)
    config = PtqConfig(act_algo=request.act_algo, act_type=request.act_type)
    check_capabilities(backend, config=config, formats=request.export, device=device)
    return _Plan(
        request=request,
        spec=spec,
        data=data,
        device=device,
        backend=backend,
        backend_reason=reason,
        config=config,
    )


def _run(plan: _Plan, output: OutputDirectory, narrator: Narrator) -> PtqResult:
    from amctq.export import verify
    from amctq.export.session import OnnxSession

    request = plan.request
    with narrator.phase("dataset"):
        split = cifar.split(
            plan.data,
            calibration_images=request.calib_images,
            evaluation_images=request.eval_images,
            seed=request.seed,
        )
    calibration = plan.batches(split.calibration)
    evaluation = None if split.evaluation is None else plan.batches(split.evaluation)
    network = _load(plan, output, narrator)
    float_session = OnnxSession(network.graph.model)
    with narrator.phase("proof"):
        proof = verify.prove_forward(network.cell, float_session, calibration.first())
    _tell_estimate(float_session, calibration, evaluation, narrator)
    float_ranks = None
    if evaluation is not None:
        with narrator.phase("float accuracy", len(evaluation.images)) as advance:
            float_ranks = verify.measure(float_session, evaluation, advance)
        refuse_chance(float_ranks, request.num_classes, allow=request.allow_poor_float)

    quantized = plan.backend.quantize(network=network, config=plan.config, calibration=calibration, narrator=narrator)
    staged = output.staged(plan.model_file)
    with narrator.phase("export"), writing(output.path / plan.model_file):
        quantized.export(ExportFormat.ONNX, staged, plan.spec.describe(request.num_classes))
    int8_session = OnnxSession(staged.read_bytes())
    accuracy = None
    if evaluation is not None and float_ranks is not None:
        with narrator.phase("INT8 accuracy", len(evaluation.images)) as advance:
            int8_ranks = verify.measure(int8_session, evaluation, advance)
        with narrator.phase("speed"):
            speed = verify.compare_speed(float_session, int8_session, evaluation.first())
        accuracy = Accuracy(
            float_ranks=float_ranks,
            int8_ranks=int8_ranks,
            difference=paired_difference(float_ranks.hits, int8_ranks.hits),
            speed=speed,
        )
    return PtqResult(
        request=request,
        spec=plan.spec,
        device=plan.device,
        backend=plan.backend.name,
        backend_reason=plan.backend_reason,
        split=split,
        topology=network.topology,
        record=quantized.record,
        proof=proof,
        accuracy=accuracy,
        checks=run_checks(proof, accuracy, int8_session.logits(calibration.first()), request.max_drop),
        float_bytes=network.graph.file_bytes,
        int8_bytes=staged.stat().st_size,
        checkpoint_sha256=sha256_of(request.ckpt),
        warnings=tuple(narrator.warnings),
        seconds=dict(narrator.seconds),
    )


def _load(plan: _Plan, output: OutputDirectory, narrator: Narrator) -> FloatNetwork:
    """The network with its checkpoint, and its ONNX twin."""
    request = plan.request
    with narrator.phase("mindspore"):
        load_mindspore(plan.device, output.scratch("mindspore"))
    with narrator.phase("checkpoint"):
        cell = plan.spec.build(request.num_classes)
        load_checkpoint(request.ckpt, cell, plan.spec, request.num_classes)
    from amctq.export.float_onnx import export_float
    from amctq.quant.topology import read_topology

    with narrator.phase("float export"), writing(output.path):
        graph = export_float(cell, plan.spec.preprocessing.input_shape, output.scratch("float.onnx"))
    topology = read_topology(graph)
    for layer in topology.left_in_float:
        narrator.warn(f"{layer.name} stays in float: {layer.reason}")
    return FloatNetwork(cell=cell, graph=graph, topology=topology)


def _tell_estimate(session: OnnxSession, calibration: Batches, evaluation: Batches | None, narrator: Narrator) -> None:
    """Say how long the rest takes, from one timed batch of the float network."""
    images = calibration.first()
    start = time.perf_counter()
    session.run(images)
    per_image = (time.perf_counter() - start) / len(images)
    evaluated = 0 if evaluation is None else len(evaluation.images)
    # Observing costs about as much as the pass itself; the evaluation runs the float and the quantized network.
    seconds = per_image * (2 * len(calibration.images) + 2 * evaluated)
    narrator.info(
        f"about {max(seconds, 1):.0f} s to go: {len(calibration.images):,} calibration images, "
        f"{evaluated:,} evaluation images"
    )


def _publish(result: PtqResult, output: OutputDirectory, log: RunLog) -> PtqResult:
    """Put the files in place, or refuse to where a check has failed."""
    report = ptq_report(result)
    failed = [check for check in result.checks if not check.passed]
    if failed:
        message = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        hint = "nothing was written; try more --calib-images, or a higher --max-drop where there is one"
        raise CheckError(message, hint=hint, data=report)
    output.write(LOG, log.content())
    output.write(REPORT, report_bytes(report))
    return replace(result, artifacts=output.publish())
