"""The pages of the documentation, run as they are written.

The blocks of a page are run one after the other, in a folder that looks like a copy of the project. Python
blocks are programs of their own, so the clusters that they leave open are closed; commands are bash's, and
what is shown below a command is among what it writes. Blocks whose comment says why they aren't run, or which
other test runs them, are left out (`tests/unit/test_documentation.py` wants one or the other).
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import dask
import pytest
import yaml

from dask_k8s_client import KubeCluster
from dask_k8s_local import LocalKubernetes
from tests.conformance.kubectl import need_kubectl
from tests.conftest import is_local
from tests.harness.accounts import grant, kubeconfig_of
from tests.harness.examples import copied_to, with_image
from tests.harness.helm import command_in
from tests.harness.kube import Kube
from tests.harness.kubeconfigs import in_namespace
from tests.harness.pages import PAGES, PROJECT, Block, blocks_of

FIRST: dict[str, list[str]] = {
    "docs/controller.md": ["kubectl apply -f examples/cluster.yaml"],
    "docs/labels.md": ["kubectl apply -f examples/cluster.yaml"],
    "docs/local.md": [
        "cp examples/cluster.yaml .",
        "kubectl apply -f cluster.yaml",
        "kubectl wait --for=condition=Ready daskcluster/simple --timeout=120s",
    ],
    "docs/queues.md": [
        "dask kubernetes gen job --name nightly --n-workers 0 -- sleep 1 | kubectl apply -f -",
        "kubectl get daskjob nightly",
    ],
    "docs/troubleshooting.md": ["kubectl apply -f examples/cluster.yaml"],
}
"""What readers of a page have already, by commands."""

BARE: dict[str, Any] = {"addons": ()}
ON_NODES_OF_THEIR_OWN: dict[str, dict[str, Any]] = {"docs/controller.md": {}, "docs/installing.md": BARE}
"""Pages that start controllers or install them, each with what its Kubernetes has to begin with."""

LASTING = {
    "kubectl port-forward": "Forwarding from",
    "dask kubernetes local up": "the link to Dask's dashboard",
    "dask kubernetes logs": "distributed",
    "dask kubernetes port-forward": "Press Ctrl-C",
    "dask kubernetes top": "WORKER",
    "python -m dask_k8s_controller": "Initial authentication has finished",
    "python -m dask_k8s_local": "KUBECONFIG",
}
"""Commands that go on until Ctrl-C, and what they have written by then."""

FILE = re.compile(r"# (\S+\.yaml)\n")
"""The first line of what readers are to write into a file."""

QUICK = {"docs/objects.md", "docs/quickstart.md"}


def is_run(block: Block) -> bool:
    """Whether a block is run here; files are written."""
    kept = block.language == "yaml" and FILE.match(block.text)
    return not (block.why_not_run or block.run_by) and bool(kept or block.language in ("python", "console"))


RUN = {page: found for page in PAGES if (found := [block for block in blocks_of(page) if is_run(block)])}


class Reader:
    """Somebody who types what a page shows."""

    def __init__(self, folder: Path, environment: dict[str, str], image: str) -> None:
        self.folder = folder
        self.environment = environment
        self.image = image

    def run(self, block: Block) -> None:
        if block.language == "python":
            self.program(block)
        elif block.language == "yaml":
            name = FILE.match(block.text)
            assert name is not None
            (self.folder / name[1]).write_text(block.text)
        for command, shown in commands_of(block):
            self.type(command, shown, str(block))

    def program(self, block: Block) -> None:
        """Run a block as a program, in which one may await as in a notebook."""
        source = "\n" * block.line + with_image(block.text, self.image)
        code = compile(source, str(PROJECT / block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        scope: dict[str, Any] = {"__name__": "__main__"}
        try:
            evaluate(code, scope)
        finally:
            left = list(scope.values())
            for value in left:
                if type(value).__name__ == "Client" and not value.asynchronous:
                    value.close()
            for value in left:
                if isinstance(value, KubeCluster) and not value.asynchronous:
                    value.close()

    def type(self, command: str, shown: str = "", where: str = "") -> None:
        """Type a command, and see that it ends well and writes what is shown."""
        lasting = [sign for start, sign in LASTING.items() if command.startswith(start)]
        if lasting and not ("logs" in command and "--follow" not in command):
            self.interrupt(command, lasting[0], where)
            return
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        print(f"$ {command}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, f"{where}: {command}\n{done.stdout}{done.stderr}"
        for line in shown.splitlines():
            assert re.search(re.escape(line).replace("…", ".*"), done.stdout + done.stderr), (
                f"{where}: {command} doesn't write {line!r}"
            )

    def interrupt(self, command: str, sign: str, where: str) -> None:
        """Type a command, see that it writes what it should, and press Ctrl-C."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            patience = threading.Timer(120, process.kill)
            patience.start()
            written = ""
            try:
                for line in process.stdout:
                    written += line
                    if sign in line:
                        break
                else:
                    pytest.fail(f"{where}: {command} ended, and wrote {written}")
                os.killpg(process.pid, signal.SIGINT)
                process.communicate()
            finally:
                patience.cancel()
                if process.poll() is None:
                    process.kill()
            assert process.returncode in (0, 130, -signal.SIGINT), f"{where}: {command}\n{written}"


def evaluate(code: CodeType, scope: dict[str, Any]) -> None:
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, scope))
    else:
        exec(code, scope)


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block, each with the lines shown below it."""
    for part in re.split(r"^\$ ", block.text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Read a page, and type all that it shows, with a KUBECONFIG and an image."""

    def read(page: str, kubeconfig: str, image: str) -> None:
        if any(block.language == "console" for block in RUN[page]):
            need_kubectl()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
        environment = {
            **os.environ,
            "PATH": os.pathsep.join(
                [command_in(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "HOME": str(tmp_path),
            "DASK_KUBERNETES__IMAGE": image,
        }
        copied_to(tmp_path, image)
        for name in ("chart", "manifests", "schemas"):
            (tmp_path / name).symlink_to(PROJECT / name)
        reader = Reader(tmp_path, environment, image)
        with dask.config.set({"kubernetes.image": image}):
            for command in FIRST.get(page, []):
                reader.type(command)
            for block in RUN[page]:
                reader.run(block)

    return read


def pages(*, have_nodes_of_their_own: bool) -> list[Any]:
    return [
        pytest.param(page, marks=[] if page in QUICK else [pytest.mark.full])
        for page in RUN
        if (page in ON_NODES_OF_THEIR_OWN) == have_nodes_of_their_own
    ]


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("page", pages(have_nodes_of_their_own=False))
def test_what_the_page_shows_works(
    read: Callable[[str, str, str], None],
    kubeconfig: Path,
    namespace: str,
    dask_image: str,
    tmp_path: Path,
    page: str,
) -> None:
    read(page, in_namespace(kubeconfig, namespace, tmp_path / "kubeconfig"), dask_image)


@pytest.mark.parametrize("page", pages(have_nodes_of_their_own=True))
def test_what_the_page_shows_works_from_the_beginning(
    request: pytest.FixtureRequest, read: Callable[[str, str, str], None], dask_image: str, page: str
) -> None:
    if not is_local(request.config):
        pytest.skip("its commands change the whole cluster, and need an image of this version")
    with LocalKubernetes(**ON_NODES_OF_THEIR_OWN[page]) as kubernetes:
        read(page, str(kubernetes.kubeconfig), dask_image)


@pytest.mark.full
@pytest.mark.usefixtures("controller")
def test_kubecluster_needs_no_more_than_the_documented_role(
    kube: Kube, kubeconfig: Path, namespace: str, dask_image: str, tmp_path: Path
) -> None:
    [role] = blocks_of("docs/client.md", "yaml")
    rules = yaml.safe_load(role.text)["rules"]
    grant(kube, namespace, rules[::-1])
    mine = tmp_path / "kubeconfig"
    mine.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace)))
    with (
        KubeCluster(name="simple", image=dask_image, tls=True, kubeconfig=mine, quiet=True) as cluster,
        cluster.get_client() as client,
    ):
        cluster.add_worker_group("more", n_workers=1)
        cluster.adapt(0, 1)
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11
        assert "simple-scheduler" in cluster.get_logs()
        cluster.scale(0)
        cluster.delete_worker_group("more")
