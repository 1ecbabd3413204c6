"""The commands that bring the files of a run to where they are for, and what of it has not run on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.choices import ExportFormat, LiteDevice, Target
from amctq.export.targets import TARGETS

if TYPE_CHECKING:
    from amctq.data.inputs import InputSpec

_LARGEST_BATCH = 32  # that TensorRT's engine takes
_ON = {LiteDevice.CPU: "a CPU", LiteDevice.ASCEND: "an Ascend NPU"}


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where the files are for.

    Attributes:
        target: of ``--target``.
        not_run: what has not run on this machine; None where the files ran in the runtime that they are for.
        commands: by what each does, command lines for a shell in the output directory.
    """

    target: Target
    not_run: str | None
    commands: Mapping[str, str]

    def data(self) -> dict[str, Any]:
        """The commands, ready for JSON."""
        return {
            "target": self.target.value,
            "runtime": TARGETS[self.target].runtime.value,
            "not_run": self.not_run,
            "commands": [{"does": does, "command": command} for does, command in self.commands.items()],
        }


def deployment(
    target: Target,
    files: Mapping[ExportFormat, str],
    inputs: Mapping[str, InputSpec],
    converter_configs: Mapping[LiteDevice, str],
) -> Deployment:
    """The commands for the files of a run.

    Args:
        target: of ``--target``.
        files: file names by format.
        inputs: what the network takes.
        converter_configs: names of converter_lite's configurations, where some are written.
    """
    commands: dict[str, tuple[str, ...]] = {}
    onnx, deploy = files.get(ExportFormat.ONNX), files.get(ExportFormat.ASCEND)
    if target is Target.OPENVINO and onnx is not None:
        shapes = ",".join(f"{name}[{_shape(1, spec)}]" for name, spec in inputs.items())
        commands["measure it with OpenVINO's own tool"] = (
            *("benchmark_app", "-m", onnx, "-d", "CPU", "-hint", "latency", "-infer_precision", "f32"),
            *("-shape", shapes),
        )
    if target is Target.TENSORRT and onnx is not None:
        commands["build an engine (TensorRT 10 or newer; --int8 in place of --stronglyTyped before)"] = (
            *("trtexec", f"--onnx={onnx}", f"--saveEngine={Path(onnx).stem}.engine", "--stronglyTyped"),
            *(
                f"--{end}Shapes=" + ",".join(f"{name}:{_shape(batch, spec, 'x')}" for name, spec in inputs.items())
                for end, batch in (("min", 1), ("opt", 8), ("max", _LARGEST_BATCH))
            ),
        )
    if target is Target.ASCEND and onnx is not None:
        script = (
            f"import amct_onnx; amct_onnx.convert_qat_model(model_file={onnx!r}, save_path='./{Path(onnx).stem}_cann')"
        )
        commands["make the deploy file by Huawei's own converter instead"] = ("python", "-c", script)
    if target is Target.ASCEND and deploy is not None:
        commands["measure the compiled model on an NPU"] = (
            *("python", "-m", "ais_bench", "--model", f"{Path(deploy).stem}.om", "--loop", "20"),
        )
    for device, config in converter_configs.items():
        from amctq.export.mslite import converter_command

        does = f"quantize for MindSpore Lite on {_ON[device]}"
        commands[does] = converter_command(device, files[ExportFormat.MSLITE], config, inputs)
    lines = {does: shlex.join(words) for does, words in commands.items()}
    return Deployment(target=target, not_run=TARGETS[target].not_run, commands=lines)


def _shape(batch: int, spec: InputSpec, between: str = ",") -> str:
    return between.join(map(str, (batch, *spec.shape)))
