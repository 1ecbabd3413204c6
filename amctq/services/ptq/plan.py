"""The plan of ``amctq ptq``, and the configuration of each layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from amctq.backends.choice import Asked
from amctq.choices import ActAlgo, BackendName, ExportFormat, Placement, TargetIsa, WeightStorage
from amctq.errors import InputError, UsageError
from amctq.export.isa import resolve_isa
from amctq.networks.registry import find_model, is_model_file
from amctq.progress import Reporter
from amctq.runtime import cpu_instructions
from amctq.services.ptq.request import PtqRequest
from amctq.services.run.float_parts import layers_in_float
from amctq.services.run.page import PAGE
from amctq.services.run.plan import LOG, RECORD, REPORT, RunPlan, compiled_files, model_files, plan_run

if TYPE_CHECKING:
    from amctq.graph.qdq_rules import QdqRules
    from amctq.networks.float_network import FloatNetwork
    from amctq.quant.config import QuantConfig

CONFIG, PLACEMENT = "config.json", "placement.json"
_CONVERTER_CONFIG = ".cfg"  # beside the MindIR file, for converter_lite
TUNING_IMAGES = 64
# Of images of which 2 % become right or wrong, the drop then has a standard error of 0.3 points.
TUNING_IMAGES_OF_TRIES = 2000
Kind = TypeVar("Kind", bound="PtqPlan")


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqPlan(RunPlan):
    """A request that has passed every check that needs no MindSpore."""

    request: PtqRequest

    @property
    def asked_bits(self) -> int | None:
        """What ``--weight-bits`` and ``--layer-bits`` say at least."""
        return self.request.narrowest_weights

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the run will write; the report comes last, with its page."""
        return (*self.backend.own_files, *_files(self.request, self.record_files))

    @property
    def converter_config(self) -> str | None:
        """Name of converter_lite's configuration; None where no file is for it."""
        return _converter_config(self.model_files)

    @property
    def why_no_tables(self) -> str | None:
        """Placement ``ort`` quantizes them."""
        if not self.request.rules.integer_tables:
            return f"{self.request.target.value} looks up no table in integers"
        return None if self.request.resolved_placement is Placement.ORT else super().why_no_tables

    @property
    def why_no_record(self) -> str | None:
        """Equalization changes the weights that a record belongs to."""
        if self.request.equalize:
            return "--equalize changes the weights, and AMCT's record belongs to those of the checkpoint"
        return super().why_no_record

    def tuning_images(self, dataset: str, left: int) -> int:
        """Number of images on which layers are measured: ``--tuning-images``, or the default as far as there are some.

        Args:
            dataset: its name, for messages.
            left: how many neither calibrate nor are needed to evaluate.

        Raises:
            InputError: none is left.
        """
        if self.request.tuning_images is not None:
            return self.request.tuning_images
        usual = TUNING_IMAGES_OF_TRIES if self.request.auto else TUNING_IMAGES
        if left < 0:
            return usual  # too many calibrate, which is refused first
        if left == 0:
            message = f"{dataset}: every image calibrates or evaluates, and none is left to measure the layers on"
            raise InputError(message, hint="ask for fewer --calib-images, or give more training images")
        return min(usual, left)

    @property
    def corrects_biases(self) -> bool:
        """Whether biases make up for rounded weights: by default wherever amctq chooses the scales."""
        if self.request.bias_correction is not None:
            return self.request.bias_correction
        return self.backend.name is BackendName.NATIVE and self.request.record is None


def ptq_files(request: PtqRequest) -> tuple[str, ...]:
    """Files that a run will write, except those of its back end; the report comes last, with its page.

    Raises:
        UsageError: there is no such model.
        InputError: the file of the user's own model is missing.
    """
    return _files(request, (RECORD,))


def _files(request: PtqRequest, record: tuple[str, ...]) -> tuple[str, ...]:
    stem = f"{find_model(request.model).name}_quant"
    models, converter = compiled_files(request, stem), _converter_config(model_files(request, stem))
    if converter is not None:
        models = (*models, converter)
        if request.export == (ExportFormat.MSLITE,):  # no file holds amctq's own quantization
            return (*models, LOG, REPORT, PAGE)
    config = () if request.record and not request.config else (CONFIG,)
    placement = (PLACEMENT,) if request.resolved_placement is Placement.ORT else ()
    return (*models, *config, *record, *placement, LOG, REPORT, PAGE)


def _converter_config(models: Mapping[ExportFormat, str]) -> str | None:
    model = models.get(ExportFormat.MSLITE)
    return None if model is None else model.removesuffix(".mindir") + _CONVERTER_CONFIG


def plan_ptq(request: PtqRequest, *, dataset: Path | None = None) -> PtqPlan:
    """Check everything that can be checked without MindSpore and without reading the dataset.

    Args:
        request: the request.
        dataset: present path of the dataset, if ``request`` has the path where it will be later.

    Raises:
        AmctqError: as ``plan_run``.
    """
    return plan_calibration(PtqPlan, request, dataset=dataset)


def plan_calibration(kind: type[Kind], request: PtqRequest, *, dataset: Path | None = None) -> Kind:
    """Check everything that can be checked without MindSpore and without reading the dataset.

    Args:
        kind: the plan of the command.
        request: the request.
        dataset: present path of the dataset, if ``request`` has the path where it will be later.

    Raises:
        AmctqError: as ``plan_run``.
    """
    storage, act_type = request.weight_storage, request.resolved_act_type
    isa = resolve_isa(request.isa, cpu_instructions(), storage, act_type, request.target)
    if request.weight_bits is None and request.config is None and request.record is None:
        request = replace(request, weight_bits=isa.weight_bits)
    return plan_run(
        kind,
        request,
        _asked(request),
        isa,
        dataset=str(dataset or request.dataset),
        evaluation_dataset=None,
        retrain=False,
    )


def _asked(request: PtqRequest) -> Asked:
    return Asked(
        export=request.resolved_export,
        device=request.device,
        act_algo=request.act_algo or ActAlgo.IFMR,
        act_type=request.resolved_act_type,
        weight_bits=request.narrowest_weights,
        weight_algo=request.resolved_weight_algo,
        bias_correction=bool(request.bias_correction),
        equalize=request.equalize,
        auto=request.auto,
        weight_storage=request.weight_storage,
        isa=request.isa or TargetIsa.VNNI,
        placement=request.placement,
        record=request.record is not None,
        file=is_model_file(request.model),
    )


def quant_config(plan: PtqPlan, network: FloatNetwork, reporter: Reporter) -> QuantConfig:
    """Make the configuration of each layer: from ``--config``, else from the options.

    Args:
        plan: the plan of the run.
        network: the float network.
        reporter: warns of each correction to the file.

    Raises:
        UsageError: ``--skip-layer`` or ``--skip-after`` matches nothing, or ``--weight-storage int4`` has nothing to
            store.
        InputError: the file is not valid, or no layer is left to quantize.
    """
    from amctq.quant.config import pairs_for_int4
    from amctq.quant.default_config import default_config

    request, topology = plan.request, network.topology
    if plan.config is not None:
        config = plan.config.quant_config(topology, reporter.warn)
        _refuse_zero_points(request, config)
        if ExportFormat.ASCEND in request.export:
            config = pairs_for_int4(config, topology, reporter.warn)
        refuse_idle_int4(request, (layer.weight.bits for layer in config.enabled.values()))
        return config
    config = default_config(
        topology,
        algo=request.act_algo or ActAlgo.IFMR,
        symmetric=request.symmetric,
        per_tensor=request.per_tensor,
        dense_per_channel=request.resolved_placement is Placement.ORT,
        weight_bits=request.weight_bits or 8,
        weight_algo=request.weight_algo_of,
        widths=request.layer_bits,
        skip=request.skip_layers,
        in_float=layers_in_float(network, head=request.float_head, after=request.skip_after),
    )
    if ExportFormat.ASCEND in request.export:
        config = pairs_for_int4(config, topology, reporter.warn)
    adapts = request.act_algo is None and plan.backend.name is BackendName.NATIVE
    if not adapts or request.resolved_placement is not Placement.ORT:
        return config
    return _observing_floats(config, network, request.rules.qdq)


def _observing_floats(config: QuantConfig, network: FloatNetwork, rules: QdqRules) -> QuantConfig:
    """The least squared error chooses the range of what operators in float yield: LayerNorm, GELU, attention.

    A few of their channels may be far larger than the others. Measured with random weights and one observer for all
    tensors, MSE against IFMR: 0.3 dB (PiT) and 1.0 dB (Swin) more with such channels put in, 0.6 dB and 0.05 dB less
    without them.
    """
    from amctq.graph.placement_ort import place_ort

    graph = network.graph
    sites = place_ort(graph, config.selected(network.topology), rules=rules).sites
    names = {name for site in sites if site.only_integers and site.tensor not in graph.inputs for name in site.layers}
    return replace(
        config,
        layers=tuple(
            replace(layer, activation=replace(layer.activation, algo=ActAlgo.MSE)) if layer.name in names else layer
            for layer in config.layers
        ),
    )


def _refuse_zero_points(request: PtqRequest, config: QuantConfig) -> None:
    """Refuse a configuration that gives activations a zero point which the target cannot have.

    Raises:
        UsageError: it does.
    """
    names = [name for name, layer in config.enabled.items() if layer.activation.asymmetric]
    if request.rules.symmetric and names:
        shown = ", ".join(names[:3]) + " …" * (len(names) > 3)
        message = (
            f"--target {request.target.value} and --config {request.config}: the target has the zero point 0, and the "
            f"configuration has activation_offset true for {shown}"
        )
        raise UsageError(message, hint="set activation_offset to false, or choose another --target")


def refuse_idle_int4(request: PtqRequest, weight_bits: Iterable[int]) -> None:
    """Refuse ``--weight-storage int4`` if the configuration or the record has no layer with weights of 4 bits or less.

    Raises:
        UsageError: there is no such layer.
    """
    if request.weight_storage is WeightStorage.INT4 and min(weight_bits) > 4:
        message = f"--weight-storage int4: {request.config or request.record} has no layer with weights of 4 bits"
        raise UsageError(message, hint="leave --weight-storage out, or quantize with --weight-bits 4")
