"""Downloads a file from the first address that has it; it gets its final name when it is complete and right."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from amctq.download.address import Address
from amctq.download.attempt import Attempt, StartOver
from amctq.download.clients import Clients
from amctq.download.failure import Failure, Remedy
from amctq.download.partial import Partial
from amctq.download.source import Downloaded, Source, TransferOptions
from amctq.download.sums import Sums
from amctq.errors import CheckError, NetworkError, Stopped
from amctq.progress import Reporter

_LONGEST_DELAY = 30.0
_PROGRESS = 1 << 20  # bytes; a try that brings as many is not counted
_MOST_STARTS = 3


def download(
    source: Source,
    target: Path,
    *,
    options: TransferOptions,
    reporter: Reporter,
    before_publish: Callable[[Sums], None] = lambda sums: None,
) -> Downloaded:
    """Download a file to ``target``, which must be in a directory that this run holds.

    What an earlier run has received is not transferred again. ``target`` is replaced if it exists; it appears when
    the file's length and its known sums are right. If the call ends earlier, ``.<name>.partial`` stays beside it for
    the next call. The memory needed does not depend on the file.

    Args:
        source: the file's addresses, and what is known about it.
        target: its path.
        options: how to transfer.
        reporter: receives progress in bytes, further tries and other addresses.
        before_publish: called when the file is complete and right, before it gets its name.

    Raises:
        NetworkError: no address gives it.
        CheckError: the received file is not the expected one.
        UsageError: the proxy or certificate settings of the environment cannot be used.
        WriteError: the file system refuses.
    """
    with Clients(options, reporter) as clients:
        return _Transfer(clients, source, target, options, reporter).run(before_publish)


class _Transfer:
    def __init__(
        self, clients: Clients, source: Source, target: Path, options: TransferOptions, reporter: Reporter
    ) -> None:
        self._clients = clients
        self._source = source
        self._target = target
        self._options = options
        self._reporter = reporter
        md5, largest = source.md5 is not None, source.largest if source.size is None else source.size
        self._partial = Partial(target, identity=source.identity, md5=md5, largest=largest)
        self._transferred = 0

    def run(self, before_publish: Callable[[Sums], None]) -> Downloaded:
        if self._partial.size:
            self._reporter.info(f"{self._target.name}: {self._partial.size:,} bytes are there from an earlier run")
        try:
            address = self._first_that_has_it()
        except Stopped as stop:
            if self._partial.size:
                stop.left = f"{self._kept()} are kept: the same command resumes from there"
            raise
        finally:
            self._partial.close()
        sums = self._partial.sums()
        before_publish(sums)
        self._partial.publish()
        return Downloaded(path=self._target, sums=sums, url=str(address), transferred=self._transferred)

    def _first_that_has_it(self) -> Address:
        failures: dict[str, Failure] = {}
        gone: set[str] = set()
        for address in map(Address.of, self._source.urls):
            if address.host in gone:
                continue
            if failures:
                self._reporter.info(f"{self._target.name}: trying {address}")
            try:
                self._get(address)
            except Failure as failure:
                failures[str(address)] = failure
                if failure.unreachable or failure.remedy is Remedy.HOST:
                    gone.add(address.host)
            else:
                return address
        raise self._given_up(failures)

    def _get(self, address: Address) -> None:
        """Get the whole file from ``address``.

        Raises:
            Failure: this address does not give it, and no further try will help.
        """
        attempt = Attempt(
            clients=self._clients,
            address=address,
            source=self._source,
            partial=self._partial,
            name=self._target.name,
            timeout=self._options.timeout,
        )
        counted, farthest, pieced_again, started_over = 0, self._partial.size, False, 0
        while True:
            try:
                self._transferred += attempt.run(self._reporter)
                wrong = self._source.mismatch(self._partial.sums())
                if wrong is None:
                    return
                pieced = self._partial.pieced
                self._partial.discard()
                if not pieced or pieced_again:
                    raise Failure(wrong, Remedy.ADDRESS, wrong_content=True)
                pieced_again = True
                self._reporter.warn(f"{self._target.name}: {wrong}; it came in several parts, starting over")
            except StartOver as over:
                started_over += 1
                if started_over > _MOST_STARTS:
                    reason = f"it never sends the rest: {over}"
                    raise Failure(reason, Remedy.ADDRESS) from over
                self._reporter.info(f"{self._target.name}: {over}, starting over")
            except Failure as failure:
                counted = 0 if self._partial.size >= farthest + _PROGRESS else counted + 1
                farthest = max(farthest, self._partial.size)
                if failure.remedy is not Remedy.AGAIN or counted > self._options.retries or not self._options.retries:
                    raise
                self._wait(failure, counted)

    def _wait(self, failure: Failure, counted: int) -> None:
        own = min(self._options.retry_delay * 2 ** max(counted - 1, 0), _LONGEST_DELAY)
        seconds = max(own, failure.wait or 0)
        tries = f"try {counted} of {self._options.retries}" if counted else "resuming"
        self._reporter.warn(f"{self._target.name}: {failure.reason}; {tries} in {seconds:g} s")
        time.sleep(seconds)

    def _kept(self) -> str:
        total = self._partial.origin.total if self._partial.origin else None
        return f"{self._partial.size:,}{f' of {total:,}' if total else ''} bytes of {self._target.name}"

    def _given_up(self, failures: dict[str, Failure]) -> CheckError | NetworkError:
        reasons: dict[str, str] = {}  # each reason once: mirrors tend to fail in the same way
        for url, failure in failures.items():
            reasons.setdefault(failure.reason, url)
        found = "; ".join(f"{url}: {reason}" for reason, url in reasons.items())
        last = list(failures.values())[-1]
        if wrong := [failure for failure in failures.values() if failure.wrong_content]:
            message = f"{self._target.name} is not the file expected: {found}"
            hint = wrong[0].hint or "the file has changed, perhaps by an attack: compare its sum with the publisher's"
            return CheckError(message, hint=hint)
        message = f"cannot download {self._target.name}: {found}"
        local = f"or get the file in another way, and pass it with {self._options.local_option}"
        hint = f"{last.hint or 'check the network and HTTPS_PROXY, or set AMCTQ_MIRROR to a mirror'}; {local}"
        if self._partial.size:
            hint = f"{self._kept()} are kept: the same command resumes from there; {hint}"
        return NetworkError(message, hint=hint)
