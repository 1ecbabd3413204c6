"""Networks that are files with their weights: float ONNX of any producer, and MindIR."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from amctq.data.inputs import InputSpec
from amctq.graph.float_graph import FloatGraph
from amctq.inference.session import FileSession, Port, classes_of, image_size_of
from amctq.input_file import LoadedFile
from amctq.networks.signature import matched


@dataclass(frozen=True, kw_only=True, eq=False)
class FileNetwork:
    """The network of a file, for samples of one shape.

    Attributes:
        graph: the float graph that amctq has read.
        original: runs the file itself.
        runtime: what runs the file.
        names: the names of its inputs, by those that the samples have.
    """

    graph: FloatGraph
    original: FileSession
    runtime: str
    names: Mapping[str, str]


class ModelFile(ABC):
    """A file with a float network and its weights, read once.

    Attributes:
        path: as the user gave it.
        needs_mindspore: MindSpore reads and runs it.
    """

    needs_mindspore: ClassVar[bool]

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def loaded(self) -> tuple[LoadedFile, ...]:
        """The files that it was read from, its own first.

        Raises:
            InputError: as ``inputs``.
        """

    @property
    @abstractmethod
    def inputs(self) -> tuple[Port, ...]:
        """What it takes.

        Raises:
            InputError: it cannot be read, or is no such file.
        """

    @property
    @abstractmethod
    def outputs(self) -> tuple[Port, ...]:
        """What it gives.

        Raises:
            InputError: as ``inputs``.
        """

    @property
    def image_size(self) -> int | None:
        """Height of its images (N, C, H, W); None where it is dynamic, or it takes none."""
        return image_size_of(self.inputs)

    @property
    def classes(self) -> int | None:
        """The number of classes; None where it is dynamic, or the network is no classifier."""
        return classes_of(self.outputs)

    @abstractmethod
    def network(self, given: Mapping[str, InputSpec], scratch: Path) -> FileNetwork:
        """The network for such samples.

        Args:
            given: the inputs of a sample; with positions as names where they have none.
            scratch: folder for temporary files; the caller removes it.

        Raises:
            InputError: amctq cannot read the graph, or the samples do not fit it.
        """

    def names(self, given: Mapping[str, InputSpec]) -> dict[str, str]:
        """The names of its inputs, by those that the samples have.

        Raises:
            InputError: it takes other inputs.
        """
        own = [port.name for port in self.inputs]
        return matched(given, own, own, takes_more=False, who=str(self.path))
