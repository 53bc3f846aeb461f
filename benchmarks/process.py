"""The worker process of a peer, seen from the measuring process."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.peers import PEERS, ROOT

# A cold start imports a large library, on a machine that starts a dozen of them at once.
START_SECONDS = 120.0
DIED = "the process died"


class Peer:
    """A worker that is started at its first command, and again after it died."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.threads = threads
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.text = b""

    def start(self) -> None:
        """Starts the process."""
        info = PEERS[self.name]
        self.process = subprocess.Popen(
            [info.python(), "-m", "benchmarks.worker", self.name, str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **info.variables()},
        )
        self.stopped = False
        self.text = b""

    def send(self, **command: Any) -> None:
        """Sends a command."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        self.resume()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self, seconds: float) -> dict[str, Any]:
        """The answer; a process that died or took too long is ended, and supports nothing."""
        line = self._line(time.monotonic() + seconds)
        if line:
            return json.loads(line)
        self.close()
        why = DIED if line is not None else f"no answer within {seconds:.0f} s"
        return {"unsupported": why} if line is not None else {"too_slow": why}

    def _line(self, deadline: float) -> bytes | None:
        """One line; nothing at the end of the stream; None after the deadline."""
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.text:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                part = os.read(self.process.stdout.fileno(), 1 << 16)
                if not part:
                    return b""
                self.text += part
        line, self.text = self.text.split(b"\n", 1)
        return line

    def ask(self, seconds: float, **command: Any) -> dict[str, Any]:
        """Sends a command and waits for the answer."""
        self.send(**command)
        return self.receive(seconds)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Lets the process run; outside of turns it stands still, its spinning threads too."""
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Makes the process stand still."""
        if self.process is not None and not self.stopped:
            self._signal(signal.SIGSTOP)
            self.stopped = True

    def resume(self) -> None:
        """Lets the process go on."""
        if self.stopped:
            self._signal(signal.SIGCONT)
            self.stopped = False

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                assert stream is not None
                # What the process has not read of a command cannot be written.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            self.process = None
            self.stopped = False
