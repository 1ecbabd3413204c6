"""A download from loopback against ``curl`` and ``sha256sum``, in the same run.

python benchmarks/download.py [MIB]
"""

from __future__ import annotations

import http.server
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROUNDS = 5


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends one file from the kernel, so that the server costs next to nothing."""

    path_served: Path

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(self.path_served.stat().st_size))
        self.end_headers()
        with self.path_served.open("rb") as stream:
            self.connection.sendfile(stream)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def seconds(*commands: list[str]) -> float:
    """Wall time of ``commands``, one after another."""
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and their ratio."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 162
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Handler.path_served = Path("served.ckpt")
        with Handler.path_served.open("wb") as stream:
            for _ in range(mib):
                stream.write(os.urandom(1 << 20))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/net.ckpt"
        ours, theirs = [], []
        amctq = str(Path(sys.executable).with_name("amctq"))
        for _ in range(ROUNDS):
            theirs.append(seconds(["curl", "-sS", "-o", "net.ckpt", url], ["sha256sum", "net.ckpt"]))
            command = [amctq, "fetch-model", "--url", url, "--output-dir", "model", "--force", "--quiet"]
            ours.append(seconds(command))
        ours.sort()
        theirs.sort()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        mine, other = ours[ROUNDS // 2], theirs[ROUNDS // 2]
        print(
            f"{mib} MiB, median of {ROUNDS}: amctq {mine:.2f} s, curl + sha256sum {other:.2f} s: {mine / other:.2f} x"
        )
        print(f"peak memory of a child: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
