"""The files for MindSpore Lite beside the MindIR file: converter_lite's configuration and the calibration samples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.errors import UsageError

if TYPE_CHECKING:
    from amctq.data.samples import Samples
    from amctq.files import OutputDirectory
    from amctq.services.ptq.plan import PtqPlan
    from amctq.services.ptq.result import PtqResult


def sample_names(plan: PtqPlan, samples: Samples) -> list[str]:
    """The files of the calibration samples that the run will write; nothing without such a format.

    Raises:
        UsageError: a folder for them has other files, which the converter would take for samples of this run.
    """
    names = []
    for folder in sample_folders(plan, samples).values():
        own = [f"{folder}/{index:05d}.bin" for index in range(len(samples))]
        place = plan.request.output_dir / folder
        others = {f"{folder}/{path.name}" for path in place.iterdir()} - set(own) if place.is_dir() else set()
        if others:
            message = (
                f"{place} holds {len(others):,} files more than this run writes; the converter would take them too"
            )
            raise UsageError(message, hint="remove the folder, or choose another --output-dir")
        names += own
    return names


def converter_files(plan: PtqPlan, result: PtqResult, output: OutputDirectory) -> dict[str, bytes]:
    """The configuration and the samples, by name; nothing without such a format."""
    if not plan.converter_configs:
        return {}
    from amctq.data.samples import Batches
    from amctq.export.mslite import converter_config, sample_files
    from amctq.networks.mindir_operators import operators_reading

    request, samples = plan.request, result.split.calibration
    folders = sample_folders(plan, samples)
    quantized = {layer.name for layer in result.quantized.topology.layers}
    whole = result.verified.network.topology
    in_float = {layer.weight for layer in whole.layers if layer.name not in quantized}
    cells = tuple(layer.name.partition(":")[0] for layer in whole.left_in_float)
    parameters = [item.name for item in result.verified.network.cell.get_parameters()]
    in_float |= {name for name in parameters if name in cells or name.rpartition(".")[0] in cells}
    mindir = output.staged(plan.model_files[ExportFormat.MSLITE]).read_bytes()
    skip = operators_reading(mindir, in_float)
    configs = {
        name: converter_config(
            device,
            folders,
            len(samples),
            algo=request.resolved_act_algo,
            bias_correction=plan.corrects_biases,
            per_channel=not request.per_tensor,
            skip=skip,
        ).encode()
        for device, name in plan.converter_configs.items()
    }
    inputs = Batches(samples=samples, size=len(samples)).first()
    return configs | sample_files(folders, inputs)


def sample_folders(plan: PtqPlan, samples: Samples) -> dict[str, str]:
    """By input of the network, the folder of its samples; nothing without such a format."""
    if not plan.converter_configs:
        return {}
    stem = plan.model_files[ExportFormat.MSLITE].removesuffix(".mindir")
    return {name: f"{stem}_{re.sub(r'[^0-9A-Za-z_.-]', '_', name)}" for name in samples.inputs}
