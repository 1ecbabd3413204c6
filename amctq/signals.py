"""SIGINT and SIGTERM: turned into exceptions, held back, and taken back from libraries that claim them."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from amctq.errors import Interrupted, Stopped, Terminated

_MEANING: dict[int, type[Stopped]] = {signal.SIGINT: Interrupted, signal.SIGTERM: Terminated}
_WAKE = signal.SIGURG  # ignored by default, so that one too many does no harm


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
        """Turn SIGINT and SIGTERM into Interrupted and Terminated, unless the parent had them ignored.

        A thread of its own takes the signals and hands them to the main thread. Were they left to the kernel's
        choice of a thread, one that arrives while MindSpore compiles would run MindSpore's handler, which turns
        SIGINT into SIGTERM, and the exit code would be the wrong one.
        """

        def stop(number: int, frame: FrameType | None) -> NoReturn:
            del frame
            self.stopped = _MEANING[number]
            raise self.stopped

        numbers = _heard()
        with signal_handlers_kept(), signal_handlers_kept(_WAKE), _blocked(numbers):
            for number in numbers:
                signal.signal(number, stop)
            signal.signal(_WAKE, lambda number, frame: None)
            with _forwarding(numbers):
                yield


def hold_signals() -> None:
    """Keep SIGINT and SIGTERM pending until a command listens; called before any other thread exists.

    Threads inherit the mask, those of NumPy and MindSpore too, so that no signal can run in one of them. An ignored
    one is held back as well: while MindSpore has a handler of its own in place, nothing would ignore it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _MEANING)


def _heard() -> list[int]:
    """The signals that the parent has not had ignored."""
    return [number for number in _MEANING if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def _blocked(numbers: list[int]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _forwarding(numbers: list[int]) -> Iterator[None]:
    """Take ``numbers``, which every thread blocks, and run their Python handlers in the main thread."""
    ended = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def forward() -> None:
        while True:
            number = signal.sigwait(numbers)
            if ended.is_set():
                return
            _thread.interrupt_main(signal.Signals(number))
            signal.pthread_kill(main, _WAKE)  # out of a system call that waits

    thread = threading.Thread(target=forward, name="amctq-signals", daemon=True)
    if numbers:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            signal.pthread_kill(thread.ident, numbers[0])
            thread.join()


@contextlib.contextmanager
def signal_handlers_kept(*numbers: int) -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM, or those named, back at the end of the block, whoever has set others.

    MindSpore, for one, replaces SIGINT's by one that kills the process with SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python sets handlers in the main thread alone
        return
    before = {number: signal.getsignal(number) for number in numbers or _MEANING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by C code before Python started
                signal.signal(number, handler)


@contextlib.contextmanager
def signals_held(*, deliver: bool = True) -> Iterator[list[int]]:
    """Let a block finish: a signal that arrives in it is delivered at its end, or not at all.

    The value given lists the signals that have arrived by now, for a block that can end early in good order.
    """
    arrived: list[int] = []
    with signal_handlers_kept():
        if threading.current_thread() is threading.main_thread():
            for number in _heard():
                signal.signal(number, lambda number, frame: arrived.append(number))
        yield arrived
    for number in arrived[:1] if deliver else ():
        handler = signal.getsignal(number)
        if callable(handler):
            handler(number, None)  # raised as a signal it would stay pending while ``StopRequest`` listens
        else:
            signal.raise_signal(number)
