"""The controller as a process beside the tests, which they may stop, kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, ClassVar, Self


class ControllerProcess:
    """``python -m dask_k8s_controller`` for all namespaces of the cluster that a kubeconfig names."""

    _opened: ClassVar[list[ControllerProcess]] = []

    @classmethod
    @contextmanager
    def none_runs(cls) -> Iterator[None]:
        """Let no such process act for a while, where another controller is to be alone."""
        running = [one for one in cls._opened if one.is_running]
        for one in running:
            one.stop()
        try:
            yield
        finally:
            for one in running:
                one.start()

    def __init__(self, kubeconfig: Path, *arguments: str) -> None:
        self.kubeconfig = kubeconfig
        self.arguments = arguments or ("--all-namespaces",)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        self._opened.append(self)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.remove(self)
        self.stop()
        self._log.close()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def start(self) -> None:
        if not self.is_running:
            command = [sys.executable, "-m", "dask_k8s_controller", *self.arguments]
            environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
            self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    def stop(self) -> None:
        """Ask it to end, as Kubernetes does, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """Wait until it is no longer running."""
        process = self._process
        if process is not None:
            process.wait(timeout)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None
