"""A MindIR file as the network: ``--model net.mindir``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from amctq.data.inputs import InputSpec
from amctq.graph.float_graph import FloatGraph
from amctq.graph.foreign.reader import fit_samples
from amctq.graph.mindir.integers import integers
from amctq.graph.mindir.model import tensors_in
from amctq.graph.mindir.reader import read_mindir
from amctq.graph.prime_batch import prime_batch
from amctq.inference.mindir_ports import input_ports, output_ports
from amctq.inference.session import Port, reading_model
from amctq.input_file import LoadedFile, load_input
from amctq.networks.mindir_sizes import leaves_sizes_open, with_sizes
from amctq.networks.model_file import FileNetwork, ModelFile

# The batch of a dynamic file while it is read is a prime from here on, and the first one but for rare files.
_LEAST = 1_000_003


class MindirModel(ModelFile):
    """A MindIR file, which MindSpore reads and runs."""

    needs_mindspore: ClassVar[bool] = True

    @property
    def loaded(self) -> tuple[LoadedFile, ...]:
        """The file."""
        return (self._file[1],)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes."""
        return self._ports[0]

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        return self._ports[1]

    def network(self, given: Mapping[str, InputSpec], scratch: Path) -> FileNetwork:
        """The graph with a dynamic batch; MindSpore runs the file itself, first in a process of its own."""
        from amctq.inference.mindir_session import MindirSession
        from amctq.inference.mindir_trial import trial

        content, names = self._file[0], self.names(given)
        with reading_model(self.path):
            with trial(content, scratch) as survived:
                survived()
            original = MindirSession(content)
            original.check_input({str(index): given[name] for index, name in enumerate(names)})
            specs = {own: given[name] for name, own in names.items()}
            model = self._model
            if leaves_sizes_open(self.inputs):
                model = with_sizes(content, specs, scratch, batch=original.fixed_batch)
            batch = prime_batch(integers(model), least=_LEAST)
            read = read_mindir(_with_batch(model, batch), batch, inputs=tuple(names.values()))
            if original.fixed_batch is not None:
                fit_samples(read.model, specs)
        graph = FloatGraph(model=read.model, file_bytes=read.model.ByteSize(), half=read.half)
        return FileNetwork(graph=graph, original=original, runtime="MindSpore", names=names)

    @cached_property
    def _file(self) -> tuple[bytes, LoadedFile]:
        return load_input(self.path, option="--model")

    @cached_property
    def _model(self) -> Any:
        """The protobuf of the file, which is complete."""
        from amctq.inference.mindir_session import parse_mindir

        with reading_model(self.path):
            return parse_mindir(self._file[0])

    @cached_property
    def _ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        graph = self._model.graph
        return input_ports(graph), output_ports(graph)


def _with_batch(model: Any, batch: int) -> Any:
    """A copy in which the dynamic first axis of every tensor has the size that stands for the batch."""
    copy = type(model)()
    copy.CopyFrom(model)
    tensors = [tensor for value in (*copy.graph.input, *copy.graph.output) for tensor in value.tensor]
    for node in copy.graph.node:
        tensors += [tensor for item in node.attribute if item.name == "shape" for tensor in tensors_in(item)]
    for tensor in tensors:
        if tensor.dims and tensor.dims[0] < 0:
            tensor.dims[0] = batch
    return copy
