"""Volumes are mounted at their paths, for the pod that asks for them alone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tests.local.node.kit import Cluster, a_pod, container, is_over, is_ready, phase

PROJECT = Path(__file__).parents[3]
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def cat(*paths: str) -> tuple[str, ...]:
    return ("python", "-c", "import sys; [print(open(p).read()) for p in sys.argv[1:]]", *paths)


def mount(path: str, name: str = "volume", **options: object) -> dict[str, object]:
    return {"volumeMounts": [{"name": name, "mountPath": path, **options}]}


@pytest.fixture(params=[True, False], ids=["namespaces", "no-namespaces"])
async def node(request: pytest.FixtureRequest, cluster: Cluster) -> Cluster:
    """A node; where there are no namespaces, Python programs see the volumes nevertheless."""
    await cluster.add_node(namespaces=request.param)
    return cluster


async def test_containers_of_a_pod_share_an_empty_dir(cluster: Cluster) -> None:
    await cluster.add_node()
    init = container("sh", "-c", "echo shared > /never/seen/file", name="init", **mount("/never/seen"))
    log = await cluster.run(
        *cat("/elsewhere/file"),
        initContainers=[init],
        volumes=[{"name": "volume", "emptyDir": {}}],
        **mount("/elsewhere"),
    )
    assert log == "shared\n\n"
    assert not any(path in os.listdir("/") for path in ("never", "elsewhere"))


async def test_an_environment_below_a_mount_stays_there(cluster: Cluster) -> None:
    """As where it is in /tmp, which is a volume of many pods."""
    await cluster.add_node()
    log = await cluster.run(
        "python",
        "-c",
        "import os, dask_k8s_local; print(os.listdir(os.path.dirname(os.environ['PROJECT'])))",
        env=[{"name": "PROJECT", "value": str(PROJECT)}],
        volumes=[{"name": "volume", "emptyDir": {}}],
        **mount(str(PROJECT.parent)),
    )
    assert PROJECT.name in log


async def test_config_maps_and_secrets_are_files(node: Cluster) -> None:
    await node.create(
        {
            "kind": "ConfigMap",
            "metadata": {"name": "config"},
            "data": {"a.yaml": "A", "b.yaml": "B"},
            "binaryData": {"c": base64.b64encode(b"C").decode()},
        }
    )
    secret = {"password": base64.b64encode(b"hidden").decode()}
    await node.create({"kind": "Secret", "metadata": {"name": "secret"}, "data": secret})
    volumes = [
        {"name": "config", "configMap": {"name": "config"}},
        {
            "name": "some",
            "configMap": {"name": "config", "items": [{"key": "a.yaml", "path": "deep/name", "mode": 0o400}]},
        },
        {"name": "secret", "secret": {"secretName": "secret"}},
        {"name": "optional", "configMap": {"name": "none", "optional": True}},
    ]
    mounts = [
        {"name": "config", "mountPath": "/etc/config"},
        {"name": "some", "mountPath": "/etc/some"},
        {"name": "secret", "mountPath": "/secrets/one", "readOnly": True},
        {"name": "optional", "mountPath": "/optional"},
    ]
    script = (
        "import os; print(sorted(n for n in os.listdir('/etc/config') if n[0] != '.'), "
        "open('/etc/config/c').read(), open('/etc/some/deep/name').read(), "
        "open('/secrets/one/password').read(), "
        "oct(os.stat('/etc/some/deep/name').st_mode & 0o777), os.listdir('/etc/some/deep'), "
        "[n for n in os.listdir('/optional') if n[0] != '.'], os.path.exists('/etc/passwd'))"
    )
    log = await node.run("python", "-c", script, volumes=volumes, volumeMounts=mounts)
    assert log == "['a.yaml', 'b.yaml', 'c'] C A hidden 0o400 ['name'] [] True\n"


async def test_the_downward_api_is_files_too(node: Cluster) -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
    ]
    volumes = [{"name": "volume", "projected": {"sources": [{"downwardAPI": {"items": items}}]}}]
    log = await node.run(*cat("/info/name", "/info/labels"), volumes=volumes, **mount("/info"))
    assert log == 'run\napp="run"\n'


async def test_a_read_only_mount_cannot_be_written(cluster: Cluster) -> None:
    await cluster.add_node()
    volumes = [{"name": "volume", "emptyDir": {}}]
    script = "touch /data/file 2>&1; true"
    log = await cluster.run("sh", "-c", script, volumes=volumes, **mount("/data", readOnly=True))
    assert "Read-only file system" in log


async def test_a_sub_path_is_a_part_of_a_volume(node: Cluster) -> None:
    await node.create({"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"a.yaml": "A"}})
    volumes = [{"name": "volume", "configMap": {"name": "config"}}]
    log = await node.run(
        *cat("/opt/app/settings.yaml"), volumes=volumes, **mount("/opt/app/settings.yaml", subPath="a.yaml")
    )
    assert log == "A\n"


async def test_a_host_path_is_the_machine_s(cluster: Cluster, tmp_path_factory: object) -> None:
    await cluster.add_node()
    directory = tmp_path_factory.mktemp("host")  # type: ignore[attr-defined]
    volumes = [{"name": "volume", "hostPath": {"path": str(directory)}}]
    await cluster.run("sh", "-c", "echo here > /host/file", volumes=volumes, **mount("/host"))
    assert (directory / "file").read_text() == "here\n"


async def test_a_missing_config_map_holds_the_pod_back(cluster: Cluster) -> None:
    await cluster.add_node()
    volumes = [{"name": "volume", "configMap": {"name": "later"}}]
    await cluster.create(
        a_pod("one", container(*cat("/x/k"), **mount("/x")), volumes=volumes, restartPolicy="Never")
    )
    event = await cluster.until_event("one", "FailedMount")
    assert event["message"] == 'MountVolume.SetUp failed for volume "volume" : configmap "later" not found'
    assert phase(await cluster.pod("one")) == "Pending"
    await cluster.create({"kind": "ConfigMap", "metadata": {"name": "later"}, "data": {"k": "v"}})
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "v\n"


async def test_a_volume_that_cannot_be_had_is_refused_with_a_reason(cluster: Cluster) -> None:
    await cluster.add_node()
    volumes = [{"name": "volume", "nfs": {"server": "server", "path": "/"}}]
    await cluster.create(a_pod("one", container("true", **mount("/x")), volumes=volumes))
    event = await cluster.until_event("one", "FailedMount")
    assert 'volume "volume" of the kind nfs can\'t be mounted on this node' in event["message"]
    await cluster.delete("one")
    await cluster.until_gone("one")


async def test_a_changed_config_map_reaches_a_running_pod(cluster: Cluster) -> None:
    await cluster.add_node()
    await cluster.create({"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"k": "old"}})
    volumes = [{"name": "volume", "configMap": {"name": "config"}}]
    script = "until grep -q new /config/k; do sleep 0.05; done; cat /config/k"
    await cluster.create(
        a_pod(
            "one", container("sh", "-c", script, **mount("/config")), volumes=volumes, restartPolicy="Never"
        )
    )
    await cluster.until("one", is_ready)
    await cluster.api.patch("configmaps", "default", "config", {"data": {"k": "new"}})
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "new"


async def test_a_pod_finds_its_service_account(node: Cluster) -> None:
    log = await node.run(*cat(f"{ACCOUNT}/token", f"{ACCOUNT}/namespace", f"{ACCOUNT}/ca.crt"))
    token, namespace, *authority = log.split("\n")
    assert token == node.server.token
    assert namespace == "default"
    assert "\n".join(authority).strip() == node.server.ca_pem.decode().strip()


async def test_each_service_account_may_have_a_token_of_its_own(cluster: Cluster) -> None:
    await cluster.add_node(token=lambda namespace, name: f"{namespace}:{name}")
    await cluster.api.create("serviceaccounts", "default", {"metadata": {"name": "worker"}})
    reads = container(*cat(f"{ACCOUNT}/token"))
    await cluster.create(a_pod("one", reads, restartPolicy="Never", serviceAccountName="worker"))
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "default:worker\n"


async def test_a_pod_may_do_without_its_service_account(cluster: Cluster) -> None:
    await cluster.add_node()
    script = f"import os; print(os.path.exists({ACCOUNT!r}))"
    await cluster.create(
        a_pod(
            "one",
            container("python", "-c", script),
            restartPolicy="Never",
            automountServiceAccountToken=False,
        )
    )
    await cluster.until("one", is_over)
    assert await cluster.log("one") == "False\n"


async def test_scripts_in_volumes_run_without_namespaces_too(node: Cluster) -> None:
    script = (
        "import pathlib, os; print(pathlib.Path('/scripts/main.py').exists(), os.listdir('/scripts/sub'))"
    )
    files = {"main.py": script, "other": ""}
    await node.create({"kind": "ConfigMap", "metadata": {"name": "scripts"}, "data": files})
    items = [{"key": "main.py", "path": "main.py"}, {"key": "other", "path": "sub/other"}]
    log = await node.run(
        "python",
        "/scripts/main.py",
        volumes=[{"name": "volume", "configMap": {"name": "scripts", "items": items}}],
        **mount("/scripts"),
    )
    assert log == "True ['other']\n"


async def test_without_namespaces_the_pod_is_told_who_sees_its_volumes(cluster: Cluster) -> None:
    await cluster.add_node(namespaces=False)
    await cluster.run("true", volumes=[{"name": "volume", "emptyDir": {}}], **mount("/data"))
    events = await cluster.events("run")
    assert "MountsRedirected" in [reason for reason, _ in events]
