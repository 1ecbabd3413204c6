"""A float ONNX file as the network: ``--model net.onnx``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import onnx

from amctq.data.inputs import InputSpec
from amctq.errors import CheckError, InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.foreign.reader import fit_samples, open_foreign, read_foreign
from amctq.inference.onnx_file import OnnxFile, read_onnx
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.session import TENSOR_TYPES, Port, reading_model
from amctq.input_file import LoadedFile
from amctq.networks.model_file import FileNetwork, ModelFile


class OnnxModel(ModelFile):
    """A float ONNX file, which needs no MindSpore."""

    needs_mindspore: ClassVar[bool] = False

    @property
    def loaded(self) -> tuple[LoadedFile, ...]:
        """The file, and those with its external data."""
        return self._file.loaded

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes; constants of old files are no inputs."""
        return tuple(map(_port, self._model.graph.input))

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        return tuple(map(_port, self._model.graph.output))

    def network(self, given: Mapping[str, InputSpec], scratch: Path) -> FileNetwork:
        """The graph with a dynamic batch; onnxruntime runs the file itself, without changing its operators."""
        del scratch
        names = self.names(given)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        with reading_model(self.path):
            fit_samples(model, {names[name]: spec for name, spec in given.items()})
        return FileNetwork(
            graph=FloatGraph(model=model, file_bytes=len(self._file.content)),
            original=self._opened[1],
            runtime="onnxruntime",
            names=names,
        )

    @cached_property
    def _file(self) -> OnnxFile:
        return read_onnx(self.path, option="--model")

    @cached_property
    def _model(self) -> onnx.ModelProto:
        with reading_model(self.path):
            return read_foreign(self._opened[0])

    @cached_property
    def _opened(self) -> tuple[onnx.ModelProto, OnnxSession]:
        """The model, and a session that runs the file as it is: what onnxruntime has loaded is complete."""
        with reading_model(self.path):
            model = open_foreign(self._file.model)
            try:
                return model, OnnxSession(self._file.content, optimized=False)
            except CheckError as error:
                raise InputError(error.message, hint="check it with onnx.checker; export it again") from error


def _port(value: onnx.ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    dims = kind.shape.dim if value.type.HasField("tensor_type") else ()
    name = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "no tensor"
    return Port(
        name=value.name,
        type=TENSOR_TYPES.get(name, f"tensor({name})"),
        shape=tuple(size.dim_value if size.HasField("dim_value") else size.dim_param or None for size in dims),
    )
