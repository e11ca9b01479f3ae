"""kubectl, run as a process against the Kubernetes under test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
import yaml

from tests.harness.kube import Object


def need_kubectl() -> None:
    """Skip the test where kubectl is not installed; fail it where CI says that everything is tried."""
    if shutil.which("kubectl") is not None:
        return
    if os.environ.get("CI"):
        pytest.fail("kubectl is not installed, and CI is set: install it, as nothing may be left out there")
    pytest.skip("kubectl is not installed")


class KubectlFailed(Exception):
    """kubectl ended with an error; the message is what it wrote to stderr."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.stdout = done.stdout
        super().__init__(done.stderr)


@dataclass(frozen=True)
class Kubectl:
    """``kubectl("get", "pods")`` returns what it writes, or raises `KubectlFailed`."""

    kubeconfig: Path
    namespace: str
    cache: Path

    def command(self, *arguments: str) -> list[str]:
        return ["kubectl", f"--cache-dir={self.cache}", f"--namespace={self.namespace}", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.cache), **more}

    def __call__(self, *arguments: str, stdin: str | Object | None = None, **environment: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            input=yaml.safe_dump(stdin) if isinstance(stdin, dict) else stdin or "",
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode:
            raise KubectlFailed(done)
        return done.stdout

    def json(self, *arguments: str) -> Object:
        return json.loads(self(*arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        """Return a table's rows of cells, which hold no spaces."""
        return [line.split() for line in self(*arguments).splitlines()]

    @contextmanager
    def lines(self, *arguments: str, **environment: str) -> Iterator[IO[str]]:
        """Run in the background and hand out what it writes, as it's written."""
        with subprocess.Popen(
            self.command(*arguments),
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.terminate()

    @contextmanager
    def forwarded(self, what: str, port: int, **environment: str) -> Iterator[int]:
        """Have a port of this machine, which is handed out, lead to a pod's or a Service's."""
        arguments = ("port-forward", "--address=127.0.0.1", what, f":{port}")
        with self.lines(*arguments, **environment) as lines:
            line = next(lines)
            assert line.startswith("Forwarding from 127.0.0.1:"), line
            yield int(line.removeprefix("Forwarding from 127.0.0.1:").split()[0])
