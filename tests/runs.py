"""Whole runs of ``amctq ptq``, and runs that several tests look at, which are made once for all workers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from tests.command import Finished, amctq


def ptq(
    network: tuple[object, ...],
    *more: object,
    code: int = 0,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> Finished:
    """``amctq ptq --json`` in the current directory, which must end with ``code``.

    Args:
        network: the options that say which network, checkpoint and dataset, for example ``Shared.network``.
        more: further options.
        code: the exit code expected.
        env: what the command finds in its environment beside what it has.
        timeout: seconds.
    """
    done = amctq("ptq", *network, "--json", *more, env=env, timeout=timeout)
    assert done.code == code, done.stderr
    return done


@dataclass(frozen=True)
class Runs:
    """Commands and files that several tests look at and none changes: made once, whichever worker asks first.

    Attributes:
        folder: the same for all workers of this session.
    """

    folder: Path

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder called ``name``, filled by ``make`` once."""
        folder, finished = self.folder / name, self.folder / f"{name}.made"
        with FileLock(self.folder / f"{name}.lock"):
            if not finished.exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                finished.touch()
        return folder

    def finished(
        self, *arguments: object, output: str = "results", env: Mapping[str, str] | None = None
    ) -> tuple[Finished, Path]:
        """What a command has said that must succeed, and its output directory, called ``output``."""

        def run(folder: Path) -> None:
            done = amctq(*arguments, "--output-dir", folder / output, env=env, timeout=600)
            assert done.code == 0, done.stderr
            (folder / "finished.json").write_text(json.dumps(asdict(done)))

        name = hashlib.sha256("\0".join(map(str, arguments)).encode()).hexdigest()[:16]
        folder = self.made(f"{arguments[0]}-{name}", run)
        return Finished(**json.loads((folder / "finished.json").read_text())), folder / output
