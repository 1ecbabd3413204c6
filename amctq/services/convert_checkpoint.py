"""``amctq convert-checkpoint``: a MindSpore checkpoint from weights in another format, or with other names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amctq.choices import Device
from amctq.errors import UsageError
from amctq.files import Artifact, OutputDirectory, writing
from amctq.networks.checkpoint import Checkpoint, check_readable, read_checkpoint
from amctq.networks.checkpoint_match import Match
from amctq.networks.name_map import read_name_map
from amctq.networks.registry import find_model, refuse_model_file
from amctq.progress import OnEvent, Reporter, silent
from amctq.runtime import load_mindspore, resolve_device
from amctq.services.convert_checkpoint_request import ConvertCheckpointRequest


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvertCheckpointResult:
    """A written checkpoint, and where its values come from.

    Attributes:
        request: the request.
        num_classes: of the network.
        checkpoint: the file that was read.
        matched: which of its tensors were taken, and which were passed over.
        types: number of parameters that were converted, by the two types, as "Float16 to Float32".
        artifact: the written file.
        seconds: wall time by phase.
    """

    request: ConvertCheckpointRequest
    num_classes: int
    checkpoint: Checkpoint
    matched: Match
    types: Mapping[str, int]
    artifact: Artifact
    seconds: Mapping[str, float]

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        loaded, matched = self.checkpoint.loaded, self.matched
        return {
            "model": self.request.model,
            "num_classes": self.num_classes,
            "loaded": {"path": str(loaded.path), "bytes": loaded.bytes, "sha256": loaded.sha256},
            "name_map": None if self.request.name_map is None else str(self.request.name_map),
            "convention": matched.convention,
            "prefix": matched.prefix,
            "taken": matched.tags,
            "renamed": len(matched.renamed),
            "converted": dict(self.types),
            "passed_over": matched.passed_over,
            "written": str(self.artifact.path),
            "timing": {"seconds": {phase: round(value, 3) for phase, value in self.seconds.items()}},
        }


def convert_checkpoint(request: ConvertCheckpointRequest, on_event: OnEvent = silent) -> ConvertCheckpointResult:
    """Write the parameters of a network as a MindSpore checkpoint, with the network's names and types.

    Raises:
        UsageError: the file exists, or the network is not known.
        InputError: the checkpoint or the name map is not valid, or does not fit the network.
        UnavailableError: MindSpore does not work here.
        WriteError: the file cannot be written.
    """
    refuse_model_file(request.model, "convert-checkpoint")
    spec = find_model(request.model)
    check_readable(request.source)
    name_map = read_name_map(request.name_map)
    if request.target.exists() and request.source.samefile(request.target):
        message = f"{request.target} is the checkpoint to read"
        raise UsageError(message, hint="give the new file another name")
    reporter = Reporter(on_event)
    folder = OutputDirectory(
        request.target.parent,
        names=(request.target.name,),
        force=request.force,
        remedy="pass --force to replace it, or give the new file another name",
    )
    with folder as output:
        with reporter.phase("mindspore"):
            mindspore = load_mindspore(resolve_device(Device.CPU, None), output.scratch())
        with reporter.phase("checkpoint"):
            checkpoint = read_checkpoint(request.source, output.scratch())
            classes = request.num_classes or spec.num_classes
            network = spec.build(classes)
            matched = checkpoint.load_into(network, model=spec.name, num_classes=classes, name_map=name_map)
        with reporter.phase("writing"):
            made = output.scratch() / "made.ckpt"
            with writing(request.target):
                mindspore.save_checkpoint(network, str(made))
                output.write(request.target.name, made.read_bytes())
            (artifact,) = output.publish()
    if str(matched):
        reporter.info(f"{request.source}: {matched}")
    return ConvertCheckpointResult(
        request=request,
        num_classes=classes,
        checkpoint=checkpoint,
        matched=matched,
        types=_conversions(network, checkpoint, matched),
        artifact=artifact,
        seconds=dict(reporter.seconds),
    )


def _conversions(network: Any, checkpoint: Checkpoint, matched: Match) -> Counter[str]:
    kinds = {parameter.name: str(parameter.dtype) for parameter in network.get_parameters()}
    pairs = ((checkpoint.file.tensors[tag].type, kinds[own]) for own, tag in matched.tags.items())
    return Counter(f"{found} to {kind}" for found, kind in pairs if found != kind)
