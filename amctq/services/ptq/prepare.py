"""The inputs of ``amctq ptq``, and every check that comes before measuring and calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import QuantizedNetwork
from amctq.choices import AUTO, ArqRule, ExportFormat, Placement, WeightAlgo
from amctq.data.samples import Batches, Split, images_to_calibrate_with, images_to_tune_with, split
from amctq.export.isa import amx_warning, saturation_warning
from amctq.networks.verified import VerifiedNetwork
from amctq.progress import Reporter
from amctq.runtime import cpu_instructions
from amctq.services.ptq.layer_configs import quant_config, refuse_idle_int4
from amctq.services.ptq.layer_sizes import LayerSizes, layer_sizes
from amctq.services.ptq.model_file import settle
from amctq.services.ptq.options import refuse_rounding_in_order
from amctq.services.ptq.plan import PtqPlan
from amctq.services.run.inputs import begin, check_exportable, metric_for, named_record, verified_network
from amctq.services.run.plan import CALIB_IMAGES

if TYPE_CHECKING:
    from amctq.inference.metrics.score import Metric
    from amctq.quant.config import QuantConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The inputs of the run, after all checks that come before measuring and calibration.

    Attributes:
        split: images for calibration and for evaluation.
        calibration: the calibration images, in batches.
        evaluation: the evaluation images, in batches; None if there are none.
        tuning: the images on which layers and tries are measured, in batches; None if nothing is.
        metric: how good a network is; None where nothing says it.
        verified: the float network.
        quant: the configuration of each layer; None if a record is used without one.
        quantized: the network quantized by the record; None if calibration has to quantize it.
        sizes: of each layer at every width that it may get; None where its width is given.
    """

    split: Split
    calibration: Batches
    evaluation: Batches | None
    tuning: Batches | None
    metric: Metric | None
    verified: VerifiedNetwork
    quant: QuantConfig | None
    quantized: QuantizedNetwork | None
    sizes: LayerSizes | None


def prepare(plan: PtqPlan, scratch: Path, reporter: Reporter) -> Prepared:
    """Read the inputs, and refuse what can be refused.

    Args:
        plan: the plan of the run.
        scratch: an empty folder for temporary files.
        reporter: gets progress and warnings.

    Raises:
        AmctqError: an input is not what it must be.
    """
    request = plan.request
    begin(plan, reporter)
    with reporter.phase("dataset"):
        preprocessing = request.preprocessing(plan.spec).changed(image_size=request.input_size)
        dataset = request.open_dataset(plan.data, preprocessing, reporter, classes=plan.num_classes)
        available = images_to_calibrate_with(dataset, request.eval_images)
        calibrate = plan.calibration_images(CALIB_IMAGES, available)
        images = split(
            dataset,
            calibration_images=calibrate,
            evaluation_images=request.eval_images,
            seed=request.seed,
            tuning_images=0
            if not request.tunes
            else plan.tuning_images(dataset.name, images_to_tune_with(dataset, calibrate, request.eval_images)),
        )
    if plan.spec.file is not None:
        settle(request, plan.spec.file(), images.calibration, reporter)
    calibration = plan.batches(images.calibration)
    verified = verified_network(plan, calibration, scratch, reporter)
    network, images = verified.network, images.renamed(verified.names)
    calibration = calibration.renamed(verified.names)
    metric = metric_for(plan, network, images.calibration, reporter)
    quant = None if plan.config is None and plan.recorded is not None else quant_config(plan, network, reporter)
    record, quantized, sizes = named_record(plan, network, reporter, quant), None, None
    if record is None:
        assert quant is not None
        plan.backend.check_quantizable(network, quant)
        refuse_rounding_in_order((layer.weight.algo for layer in quant.layers), tunes=request.tunes)
        quant = replace(quant, batch_num=-(-calibration.images // calibration.size))
        if request.weight_bits == AUTO:
            sizes = layer_sizes(
                network,
                quant,
                plan.widths,
                storage=request.weight_storage,
                in_pairs=ExportFormat.ASCEND in request.export,
                adds_biases=plan.corrects_biases and request.resolved_placement is Placement.ORT,
            )
            if request.max_size is not None:
                sizes.limit(request.max_size)
        topology, widths = (
            quant.selected(network.topology),
            [
                item.weight.bits
                for item in quant.enabled.values()
                if plan.arq_rule is not ArqRule.PAIRS or item.weight.algo is not WeightAlgo.ARQ
            ],
        )
    else:
        widths = [entry.weight_bits for entry in record.layers]
        refuse_idle_int4(request, widths)
        quantized = plan.backend.from_record(
            network=network, record=record, act_type=request.resolved_act_type, weight_type=plan.isa.weight_type
        )
        topology = quantized.topology
    check_exportable(plan, network, topology, reporter)
    warning = saturation_warning(cpu_instructions(), plan.isa.weight_type, widths, request.target)
    for text in (warning, amx_warning(request.isa, cpu_instructions())):
        if text is not None:
            reporter.warn(text)
    return Prepared(
        split=images,
        calibration=calibration,
        evaluation=plan.evaluation_batches(images.evaluation),
        tuning=plan.evaluation_batches(images.tuning),
        metric=metric,
        verified=verified,
        quant=quant,
        quantized=quantized,
        sizes=sizes,
    )
