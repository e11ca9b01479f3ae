"""The programs of docs/development/kr8s.md show what they say: one that begins to work fails its test."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from dask_k8s_local import LocalKubernetes
from tests.conftest import is_local
from tests.harness.accounts import grant, kubeconfig_of
from tests.harness.kube import Kube
from tests.harness.pages import python_of
from tests.harness.proxy import ApiProxy

pytestmark = pytest.mark.full

FILES, REFUSAL, SUBCLASS, _WAIT, FORWARD, FORK = python_of("docs/development/kr8s.md")


@pytest.fixture(scope="module")
def kubernetes(request: pytest.FixtureRequest) -> Iterator[LocalKubernetes]:
    if not is_local(request.config):
        pytest.skip("what kr8s does depends on no Kubernetes, and its proxies count requests here")
    with LocalKubernetes(addons=()) as found:
        yield found


@pytest.fixture(scope="module")
def here(kubernetes: LocalKubernetes) -> Iterator[Kube]:
    with Kube.from_kubeconfig(kubernetes.kubeconfig) as kube:
        yield kube


def run(
    program: str, kubeconfig: Path, folder: Path, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_key_files_are_left_behind(kubernetes: LocalKubernetes, tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("me.example.com")
    content = yaml.safe_load(kubernetes.kubeconfig.read_text())
    for cluster in content["clusters"]:
        authority = cluster["cluster"].pop("certificate-authority", None)
        if authority is not None:
            text = (kubernetes.kubeconfig.parent / authority).read_bytes()
            cluster["cluster"]["certificate-authority-data"] = base64.b64encode(text).decode()
    for user in content["users"]:
        chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
        user["user"]["client-certificate-data"] = base64.b64encode(chain).decode()
        user["user"]["client-key-data"] = base64.b64encode(certificate.private_key_pem.bytes()).decode()
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))

    assert run(FILES, tmp_path / "kubeconfig", tmp_path).stdout == "3\n"


def test_a_refusal_is_sent_four_times(kubernetes: LocalKubernetes, here: Kube, tmp_path: Path) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    grant(here, "default", rules, "nobody")
    theirs = tmp_path / "kubeconfig"
    theirs.write_text(yaml.safe_dump(kubeconfig_of(here, kubernetes.kubeconfig, "default", "nobody")))
    paths: list[str] = []
    with ApiProxy(theirs) as proxy:
        proxy.heard = lambda request, _: paths.append(request.path)
        ended = run(REFUSAL, proxy.kubeconfig, tmp_path)

    assert "cannot list resource" in ended.stderr
    assert paths.count("/api/v1/namespaces/kube-system/secrets") == 4


def test_a_subclass_becomes_everybodys_api(kubernetes: LocalKubernetes, tmp_path: Path) -> None:
    assert "AssertionError" in run(SUBCLASS, kubernetes.kubeconfig, tmp_path).stderr


def test_a_port_forward_to_a_pod_that_is_gone_hangs(
    kubernetes: LocalKubernetes, here: Kube, tmp_path: Path
) -> None:
    container = {"name": "web", "image": "python", "command": ["python", "-m", "http.server", "8080"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [container]},
    }
    here.create(pod, "default")
    here.wait("pods", "web", "default", until=lambda found: found["status"].get("phase") == "Running")

    assert "TimeoutError" in run(FORWARD, kubernetes.kubeconfig, tmp_path).stderr


def test_after_a_fork_everything_hangs(kubernetes: LocalKubernetes, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORK],
        env={**os.environ, "KUBECONFIG": str(kubernetes.kubeconfig), "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(timeout=15)
    finally:
        os.killpg(program.pid, 9)
        program.wait()
