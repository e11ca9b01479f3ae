"""Folders that pods are given.

https://kubernetes.io/docs/concepts/storage/volumes/
"""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.manifests import config_map, secret
from tests.conformance.pods import FOREVER, Pods, python, shell, state
from tests.harness.kube import Kube, Object

READ = """
    import json, os
    found = {}
    for folder, folders, names in os.walk("/data", followlinks=True):
        folders[:] = [one for one in folders if not one.startswith("..")]
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, "/data")] = open(path).read()
    print(json.dumps(found))
"""


def files(pods: Pods, volume: Object, mount: Object | None = None, **fields: Any) -> dict[str, str]:
    """Mount a volume at /data and return what a container finds there."""
    name = pods.run(
        python(READ),
        volumes=[{"name": "data", **volume}],
        container={
            "volumeMounts": [{"name": "data", "mountPath": "/data", **(mount or {})}],
            **fields.pop("container", {}),
        },
        **fields,
    )
    return json.loads(pods.output(name))


def test_a_config_map_is_a_folder_of_files(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(config_map(name, {"a.txt": "one", "b.txt": "two\n"}), pods.namespace)

    assert files(pods, {"configMap": {"name": name}}) == {"a.txt": "one", "b.txt": "two\n"}


def test_a_secret_is_a_folder_of_files(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(secret(name, {"password": "secret"}), pods.namespace)

    assert files(pods, {"secret": {"secretName": name}}) == {"password": "secret"}


def test_items_are_chosen_and_named(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(config_map(name, {"a": "one", "b": "two"}), pods.namespace)

    items = [{"key": "b", "path": "folder/name.txt"}]
    assert files(pods, {"configMap": {"name": name, "items": items}}) == {"folder/name.txt": "two"}


def test_what_is_optional_may_be_missing(pods: Pods) -> None:
    assert files(pods, {"configMap": {"name": "nothing", "optional": True}}) == {}


def test_a_pod_tells_about_itself(pods: Pods) -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
        {
            "path": "memory",
            "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"},
        },
    ]
    found = files(
        pods,
        {"downwardAPI": {"items": items}},
        metadata={"labels": {"a": "b", "c": "d"}},
        container={"resources": {"limits": {"memory": "64Mi"}}},
    )

    assert found == {"labels": 'a="b"\nc="d"', "namespace": pods.namespace, "memory": "64"}


def test_several_sources_share_a_folder(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(config_map(name, {"a": "one"}), pods.namespace)
    kube.create(secret(name, {"b": "two"}), pods.namespace)

    sources = [{"configMap": {"name": name}}, {"secret": {"name": name}}]
    assert files(pods, {"projected": {"sources": sources}}) == {"a": "one", "b": "two"}


def test_an_empty_folder_is_shared_by_containers(pods: Pods) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    name = pods.create(
        pods.container(
            python("print(open('/elsewhere/file').read())"),
            volumeMounts=[{"name": "shared", "mountPath": "/elsewhere"}],
        ),
        initContainers=[
            pods.container(
                python("open('/shared/file', 'w').write('hello')"), name="before", volumeMounts=mounts
            )
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )

    pods.finished(name)
    assert pods.log(name, container="main") == "hello\n"


def test_pods_have_empty_folders_of_their_own(pods: Pods) -> None:
    code = "import os; print(os.listdir('/empty')); open('/empty/file', 'w').close()"
    for _ in range(2):
        name = pods.run(
            python(code),
            container={"volumeMounts": [{"name": "work", "mountPath": "/empty"}]},
            volumes=[{"name": "work", "emptyDir": {}}],
        )
        assert pods.output(name) == "[]\n"


def test_a_file_of_a_volume_is_mounted_alone(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(config_map(name, {"a": "one", "b": "two"}), pods.namespace)

    pod = pods.run(
        python("print(open('/conformance/alone.txt').read())"),
        container={"volumeMounts": [{"name": "data", "mountPath": "/conformance/alone.txt", "subPath": "b"}]},
        volumes=[{"name": "data", "configMap": {"name": name}}],
    )

    assert pods.output(pod) == "two\n"


def test_a_link_leads_no_mount_out_of_its_volume(pods: Pods) -> None:
    link = python("import os; os.symlink('/tmp', '/work/link')")
    mount = {"name": "work", "mountPath": "/out", "subPath": "link/in"}
    name = pods.create(
        pods.container(FOREVER, volumeMounts=[mount]),
        initContainers=[
            pods.container(link, name="before", volumeMounts=[{"name": "work", "mountPath": "/work"}])
        ],
        volumes=[{"name": "work", "emptyDir": {}}],
    )

    pod = pods.wait(name, lambda pod: state(pod, "waiting").get("reason") == "CreateContainerConfigError")

    told = 'failed to create subPath directory for volumeMount "work" of container "main"'
    assert told in state(pod, "waiting")["message"]


def test_other_programs_see_volumes_as_well(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(config_map(name, {"a": "one\n"}), pods.namespace)

    pod = pods.run(
        shell("cat /data/a"),
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "configMap": {"name": name}}],
    )

    assert pods.output(pod) == "one\n"


def test_a_pod_waits_for_its_volumes(kube: Kube, pods: Pods, name: str) -> None:
    pod = pods.run(
        FOREVER,
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "configMap": {"name": name}}],
    )

    pods.event(pod, "FailedMount", f'configmap "{name}" not found')
    kube.create(config_map(name, {"a": "one"}), pods.namespace)
    # A real kubelet tries again after a while.
    pods.wait(pod, lambda one: one["status"]["phase"] == "Running", timeout=150)


def test_a_pod_has_its_service_accounts_token(pods: Pods) -> None:
    code = """
        import os
        folder = "/var/run/secrets/kubernetes.io/serviceaccount"
        print({"ca.crt", "namespace", "token"} <= set(os.listdir(folder)))
        print(open(f"{folder}/namespace").read())
        print(bool(open(f"{folder}/token").read()), "BEGIN CERTIFICATE" in open(f"{folder}/ca.crt").read())
    """
    name = pods.run(python(code))

    assert pods.output(name).splitlines() == [
        "True",
        pods.namespace,
        "True True",
    ]


def test_a_pod_reaches_the_api_server_with_it(pods: Pods) -> None:
    code = """
        import json, os, ssl, urllib.request
        folder = "/var/run/secrets/kubernetes.io/serviceaccount"
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        host = f"[{host}]" if ":" in host else host
        headers = {"Authorization": "Bearer " + open(f"{folder}/token").read()}
        request = urllib.request.Request(f"https://{host}:{port}/version", headers=headers)
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            print(json.load(answer)["gitVersion"])
    """
    name = pods.run(python(code))

    assert pods.output(name).startswith("v1.")


def test_a_volume_may_be_at_tmp_beside_others(kube: Kube, pods: Pods, name: str) -> None:
    kube.create(config_map(name, {"a.txt": "one"}), pods.namespace)
    script = """
        import os, tempfile
        with tempfile.NamedTemporaryFile(dir="/tmp") as file:
            print(open("/data/a.txt").read(), os.path.dirname(file.name), os.path.isdir(os.getcwd()))
    """
    mounts = [{"name": "scratch", "mountPath": "/tmp"}, {"name": "data", "mountPath": "/data"}]
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "data", "configMap": {"name": name}}]
    found = pods.run(python(script), volumes=volumes, container={"volumeMounts": mounts})

    assert pods.output(found) == "one /tmp True\n"
