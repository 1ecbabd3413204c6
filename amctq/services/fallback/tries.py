"""``auto_tries.json``: what an interrupted ``--auto`` has measured. It is there only until the run ends."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from amctq.errors import InputError, Stopped
from amctq.files import write_whole
from amctq.json_file import read_json_object
from amctq.services.fallback.search import Choice

TRIES = "auto_tries.json"
REMEDY = (
    f"pass --resume where {TRIES} is that of the same run, --force to replace these files, or choose another "
    "--output-dir"
)
_BEGIN_ANEW = "begin anew with --force, or choose another --output-dir"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one choice costs on the tuning samples.

    Attributes:
        drop: by how much the metric is worse than in float, in its own unit.
        interval: 95 % confidence interval of the drop; None where the metric has no score for each sample.
    """

    drop: float
    interval: tuple[float, float] | None


@dataclass(kw_only=True, eq=False)
class TriesFile:
    """The file, as a context manager. The run must hold the output directory.

    A run that a signal ends, or a power failure, leaves it; any other end removes it.

    Attributes:
        path: of the file.
        resume: continue from it.
        costs: by layer, what it costs alone; None while that is not known.
    """

    path: Path
    resume: bool
    costs: Mapping[str, float] | None = None
    _identity: Mapping[str, Any] | None = None
    _known: dict[Choice, Measured] = field(default_factory=dict)
    _read: Mapping[str, Any] | None = None

    def __enter__(self) -> TriesFile:
        if self.resume:
            self._read = self._content()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._identity is None:
            return
        if not isinstance(value, Stopped):
            self.path.unlink(missing_ok=True)
        elif self.path.exists():
            value.left = f"the tries so far are saved in {self.path}; continue with --resume"

    def begin(self, identity: Mapping[str, Any], names: Collection[str]) -> int:
        """Take over what was measured of the same network; returns how many tries that are.

        Args:
            identity: all that decides what a try measures, ready for JSON.
            names: of the network's quantized layers and embedding tables.

        Raises:
            InputError: the file is damaged, or belongs to another run.
        """
        if self._read is not None:
            found = self._read.get("identity")
            if found != identity:
                other = [key for key in identity if not isinstance(found, Mapping) or found.get(key) != identity[key]]
                message = f"--resume: {self.path} belongs to another run: {', '.join(other)} differ"
                raise InputError(message, hint=f"give the options of that run, or {_BEGIN_ANEW}")
            try:
                self._take(self._read, set(names))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                message = f"--resume: {self.path} is damaged"
                raise InputError(message, hint=_BEGIN_ANEW) from error
        self._identity = identity
        return len(self._known)

    def known(self, choice: Choice) -> Measured | None:
        """What was measured of a choice; None if nothing was."""
        return self._known.get(choice)

    def rank(self, costs: Mapping[str, float]) -> None:
        """Keep what each layer costs.

        Raises:
            WriteError: the file cannot be written.
        """
        self.costs = costs
        self._write()

    def add(self, choice: Choice, measured: Measured) -> None:
        """Keep what was measured.

        Raises:
            WriteError: the file cannot be written.
        """
        self._known[choice] = measured
        self._write()

    def _content(self) -> Mapping[str, Any]:
        if not self.path.exists():
            message = f"--resume: there is no {self.path}"
            raise InputError(message, hint="leave --resume out to start a new run, or give the --output-dir of the run")
        return read_json_object(self.path, what="the tries", option="--resume", takes=f"the {TRIES} of a run")

    def _take(self, content: Mapping[str, Any], names: set[str]) -> None:
        costs = content["costs"]
        self.costs = None if costs is None else {name: float(cost) for name, cost in costs.items()}
        _expect(self.costs is None or self.costs.keys() == names)
        for item in content["tries"]:
            choice = Choice(wider=frozenset(item["wider"]), in_float=frozenset(item["in_float"]))
            _expect(choice.wider | choice.in_float <= names)
            low_high = item["interval"]
            interval = None if low_high is None else (float(low_high[0]), float(low_high[1]))
            self._known[choice] = Measured(drop=float(item["drop"]), interval=interval)

    def _write(self) -> None:
        tries = [
            {
                "wider": sorted(choice.wider),
                "in_float": sorted(choice.in_float),
                "drop": measured.drop,
                "interval": measured.interval,
            }
            for choice, measured in self._known.items()
        ]
        content = {"identity": self._identity, "costs": self.costs, "tries": tries}
        write_whole(self.path, [(json.dumps(content, indent=1) + "\n").encode()])


def _expect(holds: bool) -> None:
    if not holds:
        message = "the tries are those of another network"
        raise ValueError(message)
