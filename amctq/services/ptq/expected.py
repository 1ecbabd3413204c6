"""How long a run of ``amctq ptq`` will take."""

from __future__ import annotations

from dataclasses import replace

from amctq.backends.base import CALIBRATION
from amctq.backends.rounding import ROUNDING
from amctq.choices import ExportFormat, WeightAlgo
from amctq.quant.rounding.gptq import operations
from amctq.services.fallback.fallback import FLOAT_TUNING, TUNING_ACCURACY
from amctq.services.fallback.search import MOST_TRIES
from amctq.services.ptq.plan import PtqPlan
from amctq.services.ptq.prepare import Prepared
from amctq.services.ptq.width_trials import COSTS, MEASURED_SAMPLES, MEASURED_WIDTHS, PROBES, TRIES
from amctq.services.run.accuracy import QUANTIZED_ACCURACY
from amctq.services.run.forecast import Expected, forward_seconds, preparation_seconds
from amctq.services.run.inputs import FLOAT_ACCURACY
from amctq.services.run.sensitivity import ALONE, LAYERS, LEFT_IN_FLOAT
from amctq.services.run.simulation import SIMULATED_IMAGES, SIMULATIONS

_OPERATIONS_A_SECOND = 1e10  # of GPTQ, in float64
# Time to run one image through a compared file, relative to the float network.
_COST = {ExportFormat.ASCEND: 3, ExportFormat.FAKEQUANT: 4}
_SIDE_BY_SIDE = 8  # networks: four ways to compute each layer, the quantized network, its sums
_PREPARED_LAYER = 0.05  # to write and open the graph
_SIMULATED_WITHOUT_EVALUATION = 4  # the user wants a quick run


def simulated_images(plan: PtqPlan, prepared: Prepared) -> int:
    """Number of images that MindSpore runs; it takes several times as long as onnxruntime."""
    images = (prepared.evaluation or prepared.calibration).images
    if plan.request.simulate:
        return images
    return min(images, _SIMULATED_WITHOUT_EVALUATION if prepared.evaluation is None else SIMULATED_IMAGES)


def expected_phases(plan: PtqPlan, prepared: Prepared) -> tuple[Expected, ...]:
    """The phases that take long, from a few timed images of the float network."""
    from amctq.inference.cell_session import CellSession

    calibration, evaluation, export = prepared.calibration, prepared.evaluation, plan.request.export
    preparation = preparation_seconds(calibration)
    onnx = forward_seconds(prepared.verified.session, calibration)
    cell = prepared.verified.network.live_cell
    simulated = onnx if cell is None else forward_seconds(CellSession(cell), calibration)
    only_mindir = export == (ExportFormat.MINDIR,)
    steps = []
    if evaluation is not None:
        images = evaluation.images
        steps.append(Expected(phases=(FLOAT_ACCURACY,), units=images, seconds=preparation + onnx, engine="onnxruntime"))
        measured = Expected(
            phases=(QUANTIZED_ACCURACY,), units=images, seconds=preparation + onnx, engine="onnxruntime"
        )
        if only_mindir:
            measured = replace(measured, seconds=preparation + simulated, engine="MindSpore")
        steps.append(measured)
    steps += _calibration(plan, prepared, preparation, onnx)
    compared = (evaluation or calibration).images
    for form, name in plan.model_files.items():
        if form in _COST:
            steps.append(
                Expected(phases=(name,), units=compared, seconds=preparation + _COST[form] * onnx, engine=form.value)
            )
    steps.append(
        Expected(
            phases=SIMULATIONS,
            units=simulated_images(plan, prepared),
            seconds=preparation + onnx + simulated,
            engine="onnxruntime" if cell is None else "MindSpore",
        )
    )
    tries = _tries(plan, prepared, preparation + onnx)
    return (*steps, *_widths(plan, prepared, onnx), *_layers(plan, prepared, onnx), *tries)


def calibration_phases(plan: PtqPlan, prepared: Prepared) -> tuple[Expected, ...]:
    """The phases of ``analyze``."""
    preparation = preparation_seconds(prepared.calibration)
    onnx = forward_seconds(prepared.verified.session, prepared.calibration)
    return (*_calibration(plan, prepared, preparation, onnx), *_layers(plan, prepared, onnx))


def _calibration(plan: PtqPlan, prepared: Prepared, preparation: float, onnx: float) -> list[Expected]:
    if prepared.quantized is not None:
        return []
    # An observer takes about as much time as the forward pass.
    images = prepared.calibration.images * (2 if plan.request.equalize else 1)
    calibration = Expected(phases=(CALIBRATION,), units=images, seconds=preparation + 2 * onnx, engine="onnxruntime")
    # In a pass of GPTAQ's, half of two networks runs, and their outputs are multiplied.
    assert prepared.quant is not None
    layers = sum(layer.weight.algo is WeightAlgo.GPTAQ for layer in prepared.quant.enabled.values())
    again = layers * prepared.calibration.images * (preparation + 2 * onnx)
    rounding = _rounding_seconds(plan, prepared) + again
    return [calibration, Expected(phases=(ROUNDING,), units=100, seconds=rounding / 100)]


def _layers(plan: PtqPlan, prepared: Prepared, onnx: float) -> tuple[Expected, ...]:
    """Measuring the layers: every one runs half of the network, once alone and once left in float."""
    if prepared.tuning is None or not plan.request.analyze:
        return ()
    topology, quant = prepared.verified.network.topology, prepared.quant
    layers = len(topology.layers if quant is None else quant.enabled)
    one = _PREPARED_LAYER + prepared.tuning.images * onnx / 2
    return (
        Expected(phases=(LAYERS,), units=prepared.tuning.images, seconds=_SIDE_BY_SIDE * onnx, engine="onnxruntime"),
        *(Expected(phases=(name,), units=layers, seconds=one, engine="layers") for name in (ALONE, LEFT_IN_FLOAT)),
    )


def _widths(plan: PtqPlan, prepared: Prepared, onnx: float) -> tuple[Expected, ...]:
    """Choosing widths: every layer runs half of the network at some of them, and some choices run all of it."""
    if prepared.sizes is None or prepared.tuning is None:
        return ()
    images = prepared.tuning.images
    measured = sum(bits <= MEASURED_WIDTHS for bits in plan.widths)
    one = measured * (_PREPARED_LAYER + min(images, MEASURED_SAMPLES) * onnx / 2)
    whole = (PROBES + 2) * (_PREPARED_LAYER + images * onnx)
    return (
        Expected(phases=(COSTS,), units=len(prepared.sizes.by_width), seconds=one, engine="layers"),
        Expected(phases=(TRIES,), units=100, seconds=whole / 100, engine="onnxruntime"),
    )


def _tries(plan: PtqPlan, prepared: Prepared, one: float) -> tuple[Expected, ...]:
    """``--auto``, as if it took all its tries; a network that is good enough takes one."""
    if prepared.tuning is None or not plan.request.auto:
        return ()
    images = prepared.tuning.images
    return (
        Expected(phases=(FLOAT_TUNING,), units=images, seconds=one, engine="onnxruntime"),
        Expected(phases=(TUNING_ACCURACY,), units=MOST_TRIES * images, seconds=one, engine="onnxruntime"),
    )


def _rounding_seconds(plan: PtqPlan, prepared: Prepared) -> float:
    assert prepared.quant is not None
    arrays, layers = prepared.verified.network.graph.arrays, prepared.quant.enabled
    by_gptq = [
        layer.by_channel(arrays[layer.weight]).shape
        for layer in prepared.verified.network.topology.layers
        if layer.name in layers and layers[layer.name].weight.algo.by_inputs
    ]
    times = 1 if prepared.sizes is None else len(plan.widths)
    return times * sum(map(operations, by_gptq)) / _OPERATIONS_A_SECOND
