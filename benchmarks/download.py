"""Downloading and unpacking CIFAR-10's archive against ``curl``, ``sha256sum`` and ``tar xzf``, from this machine.

The archive has the real records of --data, repeated until there are as many as in the official archive.

python benchmarks/download.py --data ../shared/data [--rounds 5]
"""

from __future__ import annotations

import argparse
import http.server
import shutil
import statistics
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import AMCTQ, Finished, run_process

from amctq.download.sums import sums_of

RECORD_BYTES = 3073
RECORD_FILES = [*(f"data_batch_{index}.bin" for index in range(1, 6)), "test_batch.bin"]


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the files of one folder from the kernel, so that the server costs next to nothing."""

    folder: Path

    def do_GET(self) -> None:
        path = self.folder / self.path.strip("/")
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        with path.open("rb") as stream:
            self.connection.sendfile(stream)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Archive:
    """An archive that is served, with its sum."""

    path: Path
    url: str
    md5: str


def make_archive(path: Path, data: Path, images: int) -> None:
    """The eight files of the official archive, with ``images`` records in each record file.

    No file is read whole: the peak memory of a child process starts with the memory of its parent.
    """
    source = data / "cifar-10-batches-bin"
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:
        for name in ("batches.meta.txt", "readme.html", *RECORD_FILES):
            real = source / ("data_batch_1.bin" if name.startswith("data_batch") else name)
            header = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            header.size = images * RECORD_BYTES if name in RECORD_FILES else real.stat().st_size
            with real.open("rb") as stream:
                tar.addfile(header, stream)


def prepare(archive: Archive, output: Path) -> Finished:
    """``amctq prepare-cifar`` from the server."""
    options: list[str | Path] = ["--url", archive.url, "--md5", archive.md5, "--output-dir", output, "--quiet"]
    return run_process([AMCTQ, "prepare-cifar", *options])


def fetch(archive: Archive, output: Path) -> Finished:
    """``amctq fetch-model`` of the same file, which is not unpacked."""
    return run_process([AMCTQ, "fetch-model", "--url", archive.url, "--output-dir", output, "--quiet"])


def by_hand(archive: Archive, output: Path, *, unpack: bool) -> list[Finished]:
    """The same by hand: curl, sha256sum and tar."""
    output.mkdir()
    fetched = output / "archive.tar.gz"
    commands: list[Sequence[str | Path]] = [["curl", "-sS", "-o", fetched, archive.url], ["sha256sum", fetched]]
    if unpack:
        commands.append(["tar", "xzf", fetched, "-C", output])
    return [run_process(command) for command in commands]


def wall_seconds(processes: Sequence[Finished]) -> float:
    return sum(process.seconds for process in processes)


def cpu_seconds(processes: Sequence[Finished]) -> float:
    """Other processes disturb it less than wall time."""
    return sum(process.cpu_seconds for process in processes)


def main() -> None:
    """Print medians, ratios, and memory of a small and a large archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name), Path(name) / "output"
        Handler.folder = folder
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        archives = []
        for images in (100, 10_000):
            path = folder / f"{images}.tar.gz"
            make_archive(path, options.data, images)
            url = f"http://127.0.0.1:{server.server_port}/{path.name}"
            archives.append(Archive(path, url, sums_of(path, md5=True).md5 or ""))
        small, large = archives

        for label, run, unpack in (
            ("prepare-cifar against curl + sha256sum + tar xzf", prepare, True),
            ("fetch-model against curl + sha256sum", fetch, False),
        ):
            ours, theirs = [], []
            for _ in range(options.rounds):
                theirs.append(by_hand(large, output, unpack=unpack))
                shutil.rmtree(output)
                ours.append([run(large, output)])
                shutil.rmtree(output)
            peaks = [run(archive, folder / archive.path.stem).peak_bytes / 2**20 for archive in archives]
            print(f"{label}, {large.path.stat().st_size:,} bytes, median of {options.rounds}:")
            for kind, measure in (("wall", wall_seconds), ("CPU", cpu_seconds)):
                mine, other = (statistics.median(map(measure, rounds)) for rounds in (ours, theirs))
                print(f"  {mine:.2f} s against {other:.2f} s of {kind} time, ratio {mine / other:.2f}")
            print(f"  peak memory {peaks[1]:.1f} MiB, {peaks[0]:.1f} MiB for {small.path.stat().st_size:,} bytes")
            for archive in archives:
                shutil.rmtree(folder / archive.path.stem)


if __name__ == "__main__":
    main()
