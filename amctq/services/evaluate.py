"""``amctq evaluate``: accuracy of a checkpoint or of an exported file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.choices import Runtime
from amctq.data.samples import Batches, Dataset, Samples, first_images
from amctq.data.source import find_dataset
from amctq.errors import CheckError, InputError, UsageError
from amctq.export.isa import PLAIN_SESSION_WARNING
from amctq.inference.mindir_trial import trial
from amctq.inference.runtimes import require_runtime
from amctq.inference.session import UserFileSession, reading_model
from amctq.inference.speed import is_busy, speed_range
from amctq.input_file import LoadedFile, load_input
from amctq.leftovers import temporary_folder
from amctq.networks.checkpoint import check_readable
from amctq.networks.name_map import read_name_map
from amctq.networks.registry import find_model
from amctq.networks.verified import load_network
from amctq.progress import OnEvent, Reporter, silent
from amctq.runtime import (
    ResolvedDevice,
    cpu_instructions,
    load_mindspore,
    prepare_environment,
    resolve_device,
    saturates,
)
from amctq.services.evaluate_request import EvaluateRequest
from amctq.services.run import report
from amctq.services.run.command_line import command_line
from amctq.services.run.forecast import Expected, Forecast, forward_seconds, preparation_seconds
from amctq.services.stored_preprocessing import is_of_amctq, say_assumed, stored_preprocessing

if TYPE_CHECKING:
    from amctq.data.preprocess import Preprocessing
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.onnx_file import OnnxFile
    from amctq.inference.proof import ForwardProof
    from amctq.inference.session import FileSession, Session
    from amctq.services.run.sample_changes import SampleChanges

_ACCURACY = "accuracy"


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateResult:
    """The result of an evaluation.

    Attributes:
        request: the request.
        num_classes: of the network.
        device: where MindSpore ran, for a checkpoint or a MindIR file.
        samples: the evaluation images.
        score: of the network.
        changes: its classes, and its worst samples.
        proof: that the graph exported from a checkpoint and MindSpore compute the same; None for a file.
        images_per_second: speed of the evaluation, including the preprocessing of images.
        speed_range: the same of a slow and of a fast batch.
        loaded: the files that the network comes from, as they were read.
        seconds: wall time by phase.
    """

    request: EvaluateRequest
    num_classes: int
    device: ResolvedDevice
    samples: Samples
    score: Score
    changes: SampleChanges
    proof: ForwardProof | None
    images_per_second: float
    speed_range: tuple[float, float]
    loaded: tuple[LoadedFile, ...]
    seconds: dict[str, float]

    @property
    def _form(self) -> str:
        return "onnx" if self.request.onnx else "mindir"

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        request = self.request
        return {
            "schema": report.SCHEMA,
            "command": "evaluate",
            "command_line": list(command_line("evaluate", request)),
            "environment": report.environment(self.device),
            "runtime": "mindspore" if request.mindir else request.runtime.value,
            "file": str(request.ckpt or request.onnx or request.mindir),
            "loaded": [{"path": str(file.path), "bytes": file.bytes, "sha256": file.sha256} for file in self.loaded],
            "model": report.model(request.model if request.ckpt else self._form, self.num_classes, self.samples),
            "data": {"dataset": str(request.dataset), "evaluation": report.samples(self.samples)},
            "accuracy": {
                "metric": self.score.metric.data(),
                "images": len(self.samples),
                **report.figures(self.score),
            },
            "classes": self.changes.classes,
            "worst": list(self.changes.worst),
            "timing": {
                "seconds": {phase: round(value, 3) for phase, value in self.seconds.items()},
                "images_per_second": round(self.images_per_second, 1),
                "images_per_second_range": [round(end, 1) for end in self.speed_range],
                "busy": is_busy(self.speed_range),
            },
        }


def evaluate(request: EvaluateRequest, on_event: OnEvent = silent) -> EvaluateResult:
    """Measure top-1 and top-5 on test images, or on all images if the dataset has no such division.

    Raises:
        UsageError: options contradict each other.
        InputError: dataset, network, checkpoint or file are missing or not valid.
        UnavailableError: the device is missing.
        CheckError: the graph exported from a checkpoint and MindSpore compute different results.
    """
    require_runtime(request.runtime)
    spec = find_model(request.model)
    data = find_dataset(str(request.dataset))
    device = resolve_device(request.device, request.device_id)
    prepare_environment(device)
    reporter = Reporter(on_event)
    named = _named_metric(request)
    with temporary_folder() as folder:
        if request.ckpt is None:
            path, session, loaded = _open(request, device, folder, reporter)
            with reading_model(path):
                own = stored_preprocessing(session.metadata)
            preprocessing = request.preprocessing(spec)
            if own is not None:
                preprocessing = own.changed(image_size=request.image_size, mean=request.mean, std=request.std)
            elif request.image_size is None and session.image_size is not None:
                preprocessing = preprocessing.changed(image_size=session.image_size)
            dataset = request.open_dataset(data, preprocessing, reporter, classes=session.classes)
            samples = _test_images(dataset, request)
            with reading_model(path):
                session.check_input(samples.inputs)
            if own is None and samples.preprocessing is not None:
                _say_assumed(path, session, request, samples.preprocessing, reporter)
            classes = session.classes or request.classes(spec)
            shapes = tuple(port.shape for port in session.outputs)
            user_file = UserFileSession(session, path)
            return _measure(request, classes, device, user_file, shapes, samples, None, loaded, named, reporter)
        check_readable(request.ckpt)
        name_map = read_name_map(request.name_map)
        with reporter.phase("dataset"):
            preprocessing = request.preprocessing(spec)
            dataset = request.open_dataset(data, preprocessing, reporter, classes=request.classes(spec))
            samples = _test_images(dataset, request)
        verified = load_network(
            spec=spec,
            ckpt=request.ckpt,
            num_classes=request.classes(spec),
            device=device,
            examples=Batches(samples=samples, size=request.batch_size),
            scratch=folder,
            reporter=reporter,
            name_map=name_map,
        )
        loaded = verified.loaded
        samples = samples.renamed(verified.names)
        classes, shapes = request.classes(spec), verified.network.graph.output_shapes
        session, proof = verified.session, verified.proof
        return _measure(request, classes, device, session, shapes, samples, proof, loaded, named, reporter)


def _open(
    request: EvaluateRequest, device: ResolvedDevice, scratch: Path, reporter: Reporter
) -> tuple[Path, FileSession, tuple[LoadedFile, ...]]:
    """The path of the model file, a session for it, and the files that it was read from."""
    if request.onnx is not None:
        from amctq.inference.onnx_file import read_onnx
        from amctq.inference.saturation import may_saturate

        file = read_onnx(request.onnx, option="--onnx")
        if request.runtime is Runtime.OPENVINO:
            return request.onnx, _in_openvino(file), file.loaded
        session = file.session()
        if saturates(cpu_instructions()) and not file.is_deploy and may_saturate(file.model):
            reporter.warn(PLAIN_SESSION_WARNING)
        return request.onnx, session, file.loaded
    assert request.mindir is not None
    content, loaded = load_input(request.mindir, option="--mindir")
    with reading_model(request.mindir), trial(content, scratch) as survived:
        with reporter.phase("mindspore"):
            load_mindspore(device, scratch)
            survived()
        from amctq.inference.mindir_session import MindirSession

        return request.mindir, MindirSession(content), (loaded,)


def _named_metric(request: EvaluateRequest) -> Metric | None:
    from amctq.inference.metrics.choose import named_metric

    return None if request.metric is None else named_metric(request.metric)


def _in_openvino(file: OnnxFile) -> FileSession:
    """A session of OpenVINO for a file.

    Raises:
        UnavailableError: OpenVINO is not installed.
        UsageError: it is a deploy file.
        InputError: OpenVINO does not take it.
    """
    from amctq.inference.openvino_session import OpenVinoSession

    path = file.loaded[0].path
    if file.is_deploy:
        message = f"--runtime openvino: {path} is a deploy file, whose operators only an NPU has"
        raise UsageError(message, hint="leave --runtime out: onnxruntime runs standard operators in their place")
    try:
        return OpenVinoSession(file.content)
    except CheckError as error:
        message = f"{path}: {error.message}"
        raise InputError(
            message, hint="it is damaged, or for another runtime: without --runtime onnxruntime says which"
        ) from error


def _say_assumed(
    path: Path, session: FileSession, request: EvaluateRequest, assumed: Preprocessing, reporter: Reporter
) -> None:
    """Say how images are prepared for a file that does not say it: what a wrong guess costs looks like the file's own.

    A file of amctq does not say it where it was made from images that were prepared already.
    """
    if request.mean is not None and request.std is not None:
        return
    tell = reporter.warn if is_of_amctq(session.metadata) else reporter.info
    say_assumed(path, assumed, tell, source=f"--model {request.model}")


def _measure(
    request: EvaluateRequest,
    num_classes: int,
    device: ResolvedDevice,
    session: Session,
    output_shapes: tuple[tuple[object, ...], ...],
    samples: Samples,
    proof: ForwardProof | None,
    loaded: tuple[LoadedFile, ...],
    named: Metric | None,
    reporter: Reporter,
) -> EvaluateResult:
    from amctq.inference.metrics.choose import usual_metric
    from amctq.inference.metrics.measure import measure
    from amctq.services.run.sample_changes import sample_changes

    metric = named or usual_metric(output_shapes, samples)
    if metric is None:
        given = "classes" if samples.classified else "no classes"
        message = f"no metric measures this network: outputs of {_ranks(output_shapes)} axes, and {given} as targets"
        raise InputError(message, hint="name one with --metric; top1 needs one output (N, classes), and classes")
    batches = Batches(samples=samples, size=request.batch_size)
    compiles = request.mindir is not None
    each = preparation_seconds(batches) + forward_seconds(session, batches, compiles=compiles)
    expected = Expected(phases=(_ACCURACY,), units=len(samples), seconds=each)
    Forecast(reporter=reporter, expected=(expected,)).begin(f"{len(samples):,} images")
    start = time.perf_counter()
    ends = [(0, start)]
    with reporter.phase(_ACCURACY, len(samples)) as advance:

        def batch_done(images: int) -> None:
            ends.append((images, time.perf_counter()))
            advance(images)

        outcome = measure(session, batches, metric, batch_done)
    per_second = len(samples) / (time.perf_counter() - start)
    return EvaluateResult(
        request=request,
        num_classes=num_classes,
        device=device,
        samples=samples,
        score=outcome.score,
        changes=sample_changes(None, outcome, samples),
        proof=proof,
        images_per_second=per_second,
        speed_range=speed_range(ends, request.batch_size, per_second),
        loaded=loaded,
        seconds=dict(reporter.seconds),
    )


def _ranks(output_shapes: tuple[tuple[object, ...], ...]) -> str:
    return " and ".join(str(len(shape)) for shape in output_shapes)


def _test_images(dataset: Dataset, request: EvaluateRequest) -> Samples:
    if dataset.test is None:
        message = f"{dataset.name} has no test images, and accuracy is measured on nothing else"
        raise InputError(message, hint="give a --dataset with test images")
    return first_images(dataset.test, request.eval_images)
