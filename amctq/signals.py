"""SIGINT and SIGTERM: turned into exceptions, held back, and taken back from libraries that claim them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from amctq.errors import Interrupted, Stopped, Terminated

_MEANING: dict[int, type[Stopped]] = {signal.SIGINT: Interrupted, signal.SIGTERM: Terminated}


class StopRequest:
    """Remembers that somebody wants the run to end.

    A handler may raise inside a library that swallows the exception or turns it into one of its own; ``check``
    raises it again at the next chance.
    """

    def __init__(self) -> None:
        self.stopped: type[Stopped] | None = None

    def check(self) -> None:
        """Raise what was asked for, if anything was."""
        if self.stopped is not None:
            raise self.stopped

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into Interrupted and Terminated, unless the parent had them ignored."""

        def stop(number: int, frame: FrameType | None) -> NoReturn:
            del frame
            self.stopped = _MEANING[number]
            raise self.stopped

        with signal_handlers_kept():
            for number in _MEANING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, stop)
            yield


@contextlib.contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back at the end of the block, whoever has set others in it.

    MindSpore, for one, replaces SIGINT's by one that kills the process with SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python sets handlers in the main thread alone
        return
    before = {number: signal.getsignal(number) for number in _MEANING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by C code before Python started
                signal.signal(number, handler)


@contextlib.contextmanager
def signals_held(*, deliver: bool = True) -> Iterator[None]:
    """Let a short block finish: a signal that arrives in it is delivered at its end, or not at all."""
    arrived: list[int] = []
    with signal_handlers_kept():
        if threading.current_thread() is threading.main_thread():
            for number in _MEANING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, lambda number, frame: arrived.append(number))
        yield
    for number in arrived[:1] if deliver else ():
        signal.raise_signal(number)
