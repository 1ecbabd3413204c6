"""The workers that train together: which of them this process is, and what they exchange.

After every step all of them hold the same weights, clips, momentum and moving statistics, bit for bit. So the first
worker's checkpoint is valid for all, and a run that is resumed from it ends with the same bytes as one without a stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Which of the workers that train together this process is.

    Attributes:
        rank: from 0; only rank 0 writes files.
        size: how many workers there are.
        digests: report a digest of all arrays after every step, which shows whether all workers hold the same.
    """

    rank: int = 0
    size: int = 1
    digests: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process calibrates, evaluates, saves and exports for all."""
        return self.rank == 0


class ProcessGroup(Protocol):
    """What workers exchange. Every call waits for the same call of all the others."""

    worker: Worker

    def mean(self) -> Any:
        """A cell that turns a tuple of arrays into their means over all workers; None for a single worker."""

    def share(self, content: bytes | None) -> bytes:
        """The content that the first worker passes; the others pass None."""

    def share_arrays(self, parameters: Mapping[str, Any]) -> None:
        """Give all workers the values of ``parameters`` of the first one, bit for bit."""

    def agree(self, *, stop: bool) -> bool:
        """Wait for all workers; returns whether any of them wants to stop."""


class SingleProcess:
    """A single worker."""

    worker = Worker()

    def mean(self) -> None:
        """Nothing to do."""

    def share(self, content: bytes | None) -> bytes:
        """The content itself."""
        assert content is not None
        return content

    def share_arrays(self, parameters: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def agree(self, *, stop: bool) -> bool:
        """Returns ``stop``."""
        return stop


def words(content: bytes) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Bytes as int32, the type that every engine's broadcast takes; padded with zeros."""
    return np.frombuffer(content + bytes(-len(content) % 4), np.int32)
