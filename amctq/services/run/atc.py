"""ATC, the compiler of CANN: its command for a deploy file, and the result of running it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amctq.choices import ExportFormat
from amctq.data.inputs import InputSpec
from amctq.errors import UnavailableError
from amctq.files import OutputDirectory, writing
from amctq.progress import Reporter
from amctq.services.run.check import Check

_ONNX = 5  # value of --framework
_ANY_CHIP = "SOC_VERSION"
_LOG_FOLDER = "ASCEND_PROCESS_LOG_PATH"  # without it, CANN writes logs into the home directory
_LOG_LINES = 200


@dataclass(frozen=True, kw_only=True)
class AtcRun:
    """The ATC command for one deploy file, and its result if it was run.

    Attributes:
        model: name of the deploy file.
        arguments: of the command, which runs in the folder of the deploy file and writes ``om``.
        soc_version: the chip; None if none was named, and then ATC is not run.
        exit_code: of ATC; None if it was not run.
        om_bytes: size of the compiled model; None if there is none.
        log: the last lines of ATC's output.
    """

    model: str
    arguments: tuple[str, ...]
    soc_version: str | None
    exit_code: int | None = None
    om_bytes: int | None = None
    log: str = ""

    @property
    def om(self) -> str:
        """Name of the compiled model, in the folder of the deploy file."""
        return om_name(self.model)

    @property
    def command(self) -> str:
        """The command, quoted for a shell."""
        return shlex.join(self.arguments)

    @property
    def checks(self) -> tuple[Check, ...]:
        """One check that ATC compiled the file; empty if ATC was not run."""
        if self.exit_code is None:
            return ()
        passed = self.exit_code == 0 and self.om_bytes is not None
        detail = f"{self.om}, {self.om_bytes:,} bytes" if passed else f"{self._refusal} ({self.command})"
        hint = "leave --soc-version out, and the deploy file is written without asking atc"
        return (Check(name=f"atc takes {self.model}", passed=passed, detail=detail, hint=hint),)

    def data(self) -> dict[str, Any]:
        """The command and its result, ready for JSON."""
        return {
            "command": self.command,
            "soc_version": self.soc_version,
            "exit_code": self.exit_code,
            "om": None if self.om_bytes is None else {"name": self.om, "bytes": self.om_bytes},
            "log": [] if self.om_bytes is not None else self.log.splitlines(),  # the log differs between runs
        }

    @property
    def _refusal(self) -> str:
        lines = [line.strip() for line in self.log.splitlines() if line.strip()]
        coded = [line for line in lines if re.match(r"(\[ERROR\]|E[0-9A-Z]{5}\b)", line)]
        said = (coded or lines[-1:] or [""])[0]
        if self.exit_code == 0:
            return f"it ended with 0 and wrote no {self.om}"
        return f"it ended with {self.exit_code}" + (f": {said[:300]}" if said else "")


def om_name(model: str) -> str:
    """Name of the model that ATC compiles from a deploy file."""
    return f"{Path(model).stem}.om"


def require_atc(soc_version: str | None) -> None:
    """Check that ATC is installed if ``--soc-version`` asks for it.

    Raises:
        UnavailableError: ATC is not on PATH.
    """
    if soc_version is not None and shutil.which("atc") is None:
        message = f"--soc-version {soc_version}: atc is not on PATH"
        hint = "source CANN's set_env.sh, or leave --soc-version out: the report has the command for another machine"
        raise UnavailableError(message, hint=hint)


def atc_for(
    files: Mapping[ExportFormat, str], inputs: Mapping[str, InputSpec], soc_version: str | None
) -> AtcRun | None:
    """Make the ATC command for the deploy file among ``files``; None if there is none.

    Args:
        files: file names by format.
        inputs: what the network takes; ATC compiles for batch size 1.
        soc_version: the chip; None for a placeholder.
    """
    model = files.get(ExportFormat.ASCEND)
    if model is None:
        return None
    shapes = ";".join(f"{name}:{','.join(map(str, (1, *spec.shape)))}" for name, spec in inputs.items())
    arguments = (
        "atc",
        f"--model={model}",
        f"--framework={_ONNX}",
        f"--output={Path(model).stem}",
        f"--input_format={'NCHW' if any(spec.is_image for spec in inputs.values()) else 'ND'}",
        f"--input_shape={shapes}",
        f"--soc_version={soc_version or _ANY_CHIP}",
    )
    return AtcRun(model=model, arguments=arguments, soc_version=soc_version)


def run_atc(asked: AtcRun | None, output: OutputDirectory, reporter: Reporter) -> AtcRun | None:
    """Compile the staged deploy file if a chip was named, and stage the compiled model.

    ATC leaves temporary files in the directory where it runs, so it runs in a scratch folder.

    Raises:
        WriteError: the disk is full.
        UnavailableError: ATC cannot be started.
    """
    if asked is None or asked.soc_version is None:
        return asked
    folder = output.scratch() / "atc"
    with writing(output.path):
        folder.mkdir()
        shutil.copyfile(output.staged(asked.model), folder / asked.model)
    with reporter.phase("atc"):
        exit_code, log = _run(asked.arguments, folder)
    for line in log:
        reporter.debug(f"atc: {line}")
    done = replace(asked, exit_code=exit_code, log="\n".join(log[-_LOG_LINES:]))
    # If host and target systems differ, newer ATC versions append the host's name to the stem.
    made = sorted(folder.glob(f"{Path(asked.model).stem}*.om"))
    if exit_code != 0 or not made:
        return done
    with writing(output.path / asked.om):
        made[0].replace(output.staged(asked.om))
    return replace(done, om_bytes=output.staged(asked.om).stat().st_size)


def _run(arguments: tuple[str, ...], folder: Path) -> tuple[int, list[str]]:
    """Run ATC, and return its exit code and output; an interrupt also ends ATC and its child processes."""
    environment = {_LOG_FOLDER: str((folder / "log").resolve()), **os.environ}
    try:
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        message = f"atc cannot be started: {error.strerror}"
        raise UnavailableError(message, hint="see which one is on PATH: amctq doctor") from error
    with process:
        try:
            said, _ = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said.decode(errors="replace").splitlines()
