"""The plan of a run: its request, after all checks that need no MindSpore."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from amctq.backends.base import Backend
from amctq.backends.choice import Asked, resolve_backend
from amctq.choices import AMCT_WEIGHT_BITS, WEIGHT_BITS, BackendName, ExportFormat, LiteDevice
from amctq.data.inputs import IMAGE, InputSpec
from amctq.data.samples import Batches, Samples
from amctq.data.source import DataSource, find_dataset
from amctq.errors import InputError, UsageError
from amctq.export.isa import ResolvedIsa
from amctq.files import reading
from amctq.inference.metrics.choose import named_metric
from amctq.inference.runtimes import require_runtime
from amctq.networks.checkpoint import check_readable
from amctq.networks.model_spec import ModelSpec
from amctq.networks.name_map import NameMap, read_name_map
from amctq.networks.registry import find_model, refuse_model_file, refuse_no_weights
from amctq.progress import Reporter
from amctq.regular_file import why_no_file
from amctq.runtime import ResolvedDevice, resolve_device
from amctq.services.quantization_request import QuantizationRequest
from amctq.services.run.atc import om_name, require_atc

if TYPE_CHECKING:
    from amctq.amct_files.config_file import ConfigFile
    from amctq.inference.metrics.score import Metric
    from amctq.quant.record import QuantRecord

REPORT, LOG, RECORD = "report.json", "amctq.log", "calibration_record.txt"
CALIB_IMAGES = 32
_DEFAULT_BATCHES = 1  # batch_num where nobody chose it: AMCT always writes the key
# Files that AMCT and ATC define.
_AMCT_FORMATS = frozenset({ExportFormat.ASCEND, ExportFormat.FAKEQUANT, ExportFormat.AIR})
_OF_CONFIG = "AMCT's file of --config cannot hold it"
_OF_CELLS = frozenset({ExportFormat.MINDIR, ExportFormat.AIR, ExportFormat.MSLITE})  # what MindSpore writes
Plan = TypeVar("Plan", bound="RunPlan")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunPlan:
    """A request that has passed every check that needs no MindSpore.

    Attributes:
        request: the request.
        spec: the network.
        data: the dataset, found but not read yet.
        evaluation_data: the dataset of the test images; the same as ``data`` if that holds both.
        device: where MindSpore runs.
        backend: the back end.
        backend_reason: why this back end was chosen.
        isa: the x86 instructions that the ONNX file is written for.
        config: content of ``--config``; None without it.
        recorded: content of ``--record``, with the layer names of the file; None without it.
        metric: of ``--metric``; None without it.
        name_map: content of ``--name-map``; None without it.
    """

    request: QuantizationRequest
    spec: ModelSpec
    data: DataSource
    evaluation_data: DataSource
    device: ResolvedDevice
    backend: Backend
    backend_reason: str
    isa: ResolvedIsa
    config: ConfigFile | None
    recorded: QuantRecord | None
    metric: Metric | None
    name_map: NameMap | None

    @property
    def weights(self) -> str:
        """Where the weights come from, for messages."""
        return str(self.request.ckpt or self.request.model)

    @property
    def num_classes(self) -> int | None:
        """The number of classes of the network; None where it is a file that is no classifier."""
        return self.request.classes(self.spec) if self.spec.file is None else self.spec.file().classes

    @property
    def amct_limits(self) -> str | None:
        """Why only the layers that AMCT can quantize are quantized; None where all are."""
        if self.backend.name is BackendName.AMCT:
            return "AMCT does not quantize it"
        if self.recorded is not None:
            return "AMCT's file of --record cannot hold it"
        forms = [form.value for form in self.request.export if form in _AMCT_FORMATS]
        if forms:
            return f"--export {forms[0]} cannot hold it"
        return None if self.config is None else _OF_CONFIG

    @property
    def beyond_amct(self) -> frozenset[str]:
        """What is quantized all the same: amctq's own ``config.json`` names more than AMCT can quantize."""
        return self.config.named if self.config is not None and self.amct_limits == _OF_CONFIG else frozenset()

    @property
    def why_no_tables(self) -> str | None:
        """Why embedding tables stay in float; None where they are quantized."""
        return "placement ascend quantizes only layers that read activations"

    @property
    def record_files(self) -> tuple[str, ...]:
        """AMCT's record, where it can hold what the run yields."""
        return (RECORD,) if self.why_no_record is None else ()

    @property
    def why_no_record(self) -> str | None:
        """Why AMCT's record cannot hold what the run yields; None where it can."""
        bits = self._narrowest_weights
        return None if bits >= min(AMCT_WEIGHT_BITS) else f"AMCT's record cannot hold weights of {bits} bits"

    @property
    def _narrowest_weights(self) -> int:
        if self.config is not None:
            return self.config.narrowest_weights
        return self.asked_bits or max(WEIGHT_BITS)

    @property
    def asked_bits(self) -> int | None:
        """What ``--weight-bits`` says."""
        raise NotImplementedError

    def warn_of_missing_record(self, reporter: Reporter) -> None:
        """Say so where the run writes no record."""
        if self.why_no_record is not None:
            reporter.warn(f"no {RECORD} is written: {self.why_no_record}")

    @property
    def retrains(self) -> bool:
        """Whether MindSpore trains the quantized network."""
        return False

    @property
    def converter_configs(self) -> Mapping[LiteDevice, str]:
        """Names of the configurations for MindSpore Lite's converter; empty where no file is for it."""
        return {}

    @property
    def stem(self) -> str:
        """Name of the exported files, without suffix."""
        return f"{self.spec.name}_quant"

    @property
    def model_files(self) -> dict[ExportFormat, str]:
        """File names of the INT8 model by format, in the order asked for."""
        return model_files(self.request, self.stem)

    def calibration_images(self, default: int, available: int) -> int:
        """Number of calibration images: ``--calib-images``, else the configuration's batch_num x batch size.

        Args:
            default: the number where nothing is said.
            available: how many there are. AMCT always writes batch_num, so that the one batch of its default may be
                smaller than the batch size.
        """
        if self.request.calib_images is not None:
            return self.request.calib_images
        batches = None if self.config is None else self.config.batch_num
        if batches is None:
            return default
        images = batches * self.request.batch_size
        return min(images, available) if batches == _DEFAULT_BATCHES else images

    def batches(self, samples: Samples) -> Batches:
        """Divide ``samples`` into batches of ``--batch-size``."""
        return Batches(samples=samples, size=self.request.batch_size)

    def evaluation_batches(self, samples: Samples | None) -> Batches | None:
        """Divide the evaluation images into batches; None if there are none."""
        return None if samples is None else self.batches(samples)

    def metadata(self, images: Samples) -> dict[str, str]:
        """Metadata for the exported files: what their users must know."""
        known = {
            "amctq.model": self.spec.name,
            **({} if self.num_classes is None else {"amctq.num_classes": str(self.num_classes)}),
            "amctq.input": ", ".join(itertools.starmap(_layout, images.inputs.items())),
        }
        if images.preprocessing is not None:
            known["amctq.preprocessing"] = json.dumps(asdict(images.preprocessing))
        return known


def _layout(name: str, spec: InputSpec) -> str:
    """An input for the metadata of a file."""
    shape = "x".join(map(str, spec.shape))
    return f"{spec.dtype} NCHW {shape}" if spec.is_image and name == IMAGE else f"{name} {spec.dtype} Nx{shape}"


def model_files(request: QuantizationRequest, stem: str) -> dict[ExportFormat, str]:
    """Names of the exported files by format, in the order asked for; they begin with ``stem``."""
    # What MindSpore Lite reads is still the float network.
    stems = {ExportFormat.MSLITE: stem.removesuffix("_quant")}
    return {form: f"{stems.get(form, stem)}{form.suffix}" for form in request.export}


def compiled_files(request: QuantizationRequest, stem: str) -> tuple[str, ...]:
    """Names of the exported files, which begin with ``stem``, and of the model that ATC compiles."""
    models = model_files(request, stem)
    compiled = () if request.soc_version is None else (om_name(models[ExportFormat.ASCEND]),)
    return (*models.values(), *compiled)


def plan_run(
    kind: type[Plan],
    request: QuantizationRequest,
    asked: Asked,
    isa: ResolvedIsa,
    *,
    dataset: str,
    evaluation_dataset: str | None,
    retrain: bool,
) -> Plan:
    """Check what ``ptq`` and ``qat`` have in common, and read the configuration and the record, once.

    Args:
        kind: the plan of the command.
        request: the request.
        asked: what the request needs from a back end.
        isa: the x86 instructions that the ONNX file is written for.
        dataset: path of the dataset.
        evaluation_dataset: path of the dataset of the test images; None for the same dataset.
        retrain: ``--config`` is a retraining configuration.

    Raises:
        UsageError: options contradict each other, or name something that does not exist.
        InputError: dataset, network, checkpoint, configuration or record are missing or not valid.
        UnavailableError: back end or device are missing.
    """
    spec = find_model(request.model)
    data = find_dataset(dataset)
    evaluation_data = data if evaluation_dataset is None else find_dataset(evaluation_dataset)
    for form in request.resolved_export:
        if form in _OF_CELLS:
            refuse_model_file(request.model, f"--export {form.value}")
    refuse_no_weights(request.model, request.ckpt)
    if request.ckpt is not None:
        with reading(f"--ckpt {request.ckpt}"):
            check_readable(request.ckpt)
    name_map = read_name_map(request.name_map)
    for option, path in (("--config", request.config), ("--record", request.record)):
        with reading(f"{option} {path}"):
            if path is not None and (found := why_no_file(path)) is not None:
                message = f"{option} {path}: {found}"
                raise InputError(message, hint="check the path")
    require_atc(request.soc_version)
    require_runtime(request.rules.runtime)
    device = resolve_device(request.device, request.device_id)
    backend, reason = resolve_backend(request.backend, asked, device, batch_size=request.batch_size)
    return kind(
        request=replace(request, export=request.resolved_export or backend.default_export),
        spec=spec,
        data=data,
        evaluation_data=evaluation_data,
        device=device,
        backend=backend,
        backend_reason=reason,
        isa=isa,
        config=_read_config(request, retrain=retrain),
        recorded=_read_record(request.record),
        metric=None if request.metric is None else named_metric(request.metric),
        name_map=name_map,
    )


def _read_config(request: QuantizationRequest, *, retrain: bool) -> ConfigFile | None:
    if request.config is None:
        return None
    from amctq.amct_files.config_file import open_config

    config = open_config(request.config, retrain=retrain)
    if request.calib_images is not None and config.batch_num not in {None, _DEFAULT_BATCHES}:
        batches = -(-request.calib_images // request.batch_size)
        if batches != config.batch_num:
            message = (
                f"--calib-images {request.calib_images} makes {batches} batches of {request.batch_size} images, "
                f"and batch_num in {request.config} is {config.batch_num}"
            )
            raise UsageError(message, hint="leave --calib-images out, or change batch_num")
    return config


def _read_record(path: Path | None) -> QuantRecord | None:
    if path is None:
        return None
    from amctq.amct_files.record_text import load_record

    return load_record(path)
