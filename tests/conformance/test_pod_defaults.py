"""What the API server makes of a Pod's manifest, before any node sees it.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.manifests import causes, waiting_pod
from tests.harness.kube import Kube, Object, Refused


def container(**fields: Any) -> Object:
    return {"name": "main", "image": "registry.invalid/never:1", **fields}


def created(kube: Kube, namespace: str, name: str, *containers: Object, **spec: Any) -> Object:
    return kube.create(waiting_pod(name, containers=list(containers) or [container()], **spec), namespace)


def refused(kube: Kube, namespace: str, name: str, *containers: Object, **spec: Any) -> Object:
    with pytest.raises(Refused) as refusal:
        created(kube, namespace, name, *containers, **spec)
    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid"), refusal.value
    return refusal.value.status


def test_a_pod_has_defaults(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name)["spec"]

    expected = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
    }
    assert spec == {**spec, **expected}


def test_a_container_has_defaults(kube: Kube, namespace: str, name: str) -> None:
    [main] = created(kube, namespace, name, container(ports=[{"containerPort": 80}]))["spec"]["containers"]

    expected = {
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
    }
    assert main == {**main, **expected}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("registry.invalid/a:1", "IfNotPresent"),
        ("registry.invalid/a", "Always"),
        ("registry.invalid/a:latest", "Always"),
        ("registry.invalid:5000/a", "Always"),
        (f"registry.invalid/a@sha256:{'0' * 64}", "IfNotPresent"),
    ],
)
def test_images_without_a_version_are_always_pulled(
    kube: Kube, namespace: str, name: str, image: str, policy: str
) -> None:
    [main] = created(kube, namespace, name, container(image=image))["spec"]["containers"]

    assert main["imagePullPolicy"] == policy


def test_probes_have_defaults(kube: Kube, namespace: str, name: str) -> None:
    probes = {
        "readinessProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"tcpSocket": {"port": "http"}},
        "startupProbe": {"exec": {"command": ["true"]}},
    }
    [main] = created(kube, namespace, name, container(**probes))["spec"]["containers"]

    times = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert main["readinessProbe"] == {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, **times}
    assert main["livenessProbe"] == {"tcpSocket": {"port": "http"}, **times}
    assert main["startupProbe"] == {"exec": {"command": ["true"]}, **times}


def test_limits_are_requests_unless_told(kube: Kube, namespace: str, name: str) -> None:
    limited = container(resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}})
    [main] = created(kube, namespace, name, limited)["spec"]["containers"]

    assert main["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }


def test_quantities_are_written_in_one_way(kube: Kube, namespace: str, name: str) -> None:
    requests = {"cpu": 2, "memory": "1024Mi", "example.com/things": 1}
    limits = {"cpu": "2000m", "memory": "1073741824", "example.com/things": "1"}
    [main] = created(kube, namespace, name, container(resources={"requests": requests, "limits": limits}))[
        "spec"
    ]["containers"]

    assert main["resources"] == {
        "requests": {"cpu": "2", "memory": "1Gi", "example.com/things": "1"},
        "limits": {"cpu": "2", "memory": "1073741824", "example.com/things": "1"},
    }


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "512Mi"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_is_told(
    kube: Kube, namespace: str, name: str, resources: Object, quality: str
) -> None:
    assert created(kube, namespace, name, container(resources=resources))["status"]["qosClass"] == quality


def test_a_new_pod_is_pending(kube: Kube, namespace: str, name: str) -> None:
    manifest = {**waiting_pod(name), "status": {"phase": "Running"}}

    assert kube.create(manifest, namespace)["status"]["phase"] == "Pending"


def test_volumes_have_defaults(kube: Kube, namespace: str, name: str) -> None:
    volumes = [
        {"name": "a", "configMap": {"name": "c"}},
        {"name": "b", "secret": {"secretName": "s"}},
        {"name": "c", "emptyDir": {}},
        {"name": "d", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    found = {one["name"]: one for one in created(kube, namespace, name, volumes=volumes)["spec"]["volumes"]}

    assert found["a"]["configMap"]["defaultMode"] == 420
    assert found["b"]["secret"]["defaultMode"] == 420
    assert found["c"]["emptyDir"] == {}
    assert found["d"]["downwardAPI"]["items"][0]["fieldRef"] == {
        "apiVersion": "v1",
        "fieldPath": "metadata.name",
    }


def test_a_pod_gets_a_token_of_its_service_account(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name)["spec"]

    [mount] = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    [volume] = [one for one in spec["volumes"] if one["name"] == mount["name"]]
    # A distribution may project more.
    kinds = {kind for source in volume["projected"]["sources"] for kind in source}
    assert kinds >= {"serviceAccountToken", "configMap", "downwardAPI"}


def test_a_pod_can_do_without_a_token(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name, automountServiceAccountToken=False)["spec"]

    assert "volumes" not in spec
    assert "volumeMounts" not in spec["containers"][0]


def test_a_missing_service_account_is_refused(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match='serviceaccount "nobody" not found') as refusal:
        created(kube, namespace, name, serviceAccountName="nobody")

    assert (refusal.value.code, refusal.value.reason) == (403, "Forbidden")


def test_a_pod_tolerates_nodes_that_are_away_for_a_while(kube: Kube, namespace: str, name: str) -> None:
    tolerations = created(kube, namespace, name)["spec"]["tolerations"]

    assert {one["key"]: one["tolerationSeconds"] for one in tolerations} == {
        "node.kubernetes.io/not-ready": 300,
        "node.kubernetes.io/unreachable": 300,
    }


def test_a_missing_priority_class_is_refused(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="no PriorityClass with name nothing was found") as refusal:
        created(kube, namespace, name, priorityClassName="nothing")

    assert refusal.value.code == 403


def test_a_priority_class_gives_its_value(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name, priorityClassName="system-node-critical")["spec"]

    assert spec["priority"] == 2000001000


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"image": None}, "image", "FieldValueRequired"),
        ({"name": None}, "name", "FieldValueRequired"),
        ({"name": "Main"}, "name", "FieldValueInvalid"),
        ({"imagePullPolicy": "Often"}, "imagePullPolicy", "FieldValueNotSupported"),
        ({"ports": [{"containerPort": 0}]}, "ports[0].containerPort", "FieldValueRequired"),
        ({"ports": [{"containerPort": 99999}]}, "ports[0].containerPort", "FieldValueInvalid"),
        ({"env": [{"value": "1"}]}, "env[0].name", "FieldValueRequired"),
        ({"volumeMounts": [{"name": "no", "mountPath": "/x"}]}, "volumeMounts[0].name", "FieldValueNotFound"),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            "resources.requests",
            "FieldValueInvalid",
        ),
        ({"resources": {"requests": {"cpu": "-1"}}}, "resources.requests[cpu]", "FieldValueInvalid"),
        ({"resources": {"requests": {"example.com/x": "1"}}}, "resources.limits", "FieldValueRequired"),
    ],
)
def test_a_container_that_makes_no_sense_is_refused(
    kube: Kube, namespace: str, name: str, fields: Object, field: str, reason: str
) -> None:
    status = refused(kube, namespace, name, container(**fields))

    assert causes(status).get(f"spec.containers[0].{field}") == reason, status["message"]


def volume_with(path: str) -> dict[str, Object]:
    """Return volumes with a file at a path, by where that stands."""
    keys = {"items": [{"key": "k", "path": path}]}
    fields = {"items": [{"path": path, "fieldRef": {"fieldPath": "metadata.name"}}]}
    token = {"serviceAccountToken": {"path": path}}
    return {
        "configMap.items[0]": {"configMap": {"name": "c", **keys}},
        "secret.items[0]": {"secret": {"secretName": "s", **keys}},
        "downwardAPI": {"downwardAPI": fields},
        "projected": {"projected": {"sources": [token]}},
        "projected.sources[0].configMap.items[0]": {
            "projected": {"sources": [{"configMap": {"name": "c", **keys}}]}
        },
    }


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "..", "..data", ""])
@pytest.mark.parametrize("field", volume_with(""))
def test_files_of_a_volume_stay_inside_it(
    kube: Kube, namespace: str, name: str, field: str, path: str
) -> None:
    volumes = [{"name": "v", **volume_with(path)[field]}]
    with pytest.raises(Refused) as refusal:
        kube.create(waiting_pod(name, volumes=volumes), namespace)

    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")
    reason = "FieldValueInvalid" if path else "FieldValueRequired"
    assert causes(refusal.value.status).get(f"spec.volumes[0].{field}.path") == reason, refusal.value


@pytest.mark.parametrize(
    ("volume", "field"),
    [
        ({"hostPath": {"path": "/tmp/../etc"}}, "hostPath.path"),
        ({"configMap": {"name": "c", "defaultMode": 0o1000}}, "configMap.defaultMode"),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}}]}},
            "projected.sources[0].serviceAccountToken.expirationSeconds",
        ),
    ],
)
def test_a_volume_that_makes_no_sense_is_refused(
    kube: Kube, namespace: str, name: str, volume: Object, field: str
) -> None:
    with pytest.raises(Refused) as refusal:
        kube.create(waiting_pod(name, volumes=[{"name": "v", **volume}]), namespace)

    assert causes(refusal.value.status).get(f"spec.volumes[0].{field}") == "FieldValueInvalid", refusal.value


@pytest.mark.parametrize("path", ["/etc", "..", "a/../b"])
@pytest.mark.parametrize("key", ["subPath", "subPathExpr"])
def test_what_is_mounted_of_a_volume_is_in_it(
    kube: Kube, namespace: str, name: str, key: str, path: str
) -> None:
    mount = {"name": "v", "mountPath": "/v", key: path}
    with pytest.raises(Refused) as refusal:
        created(
            kube, namespace, name, container(volumeMounts=[mount]), volumes=[{"name": "v", "emptyDir": {}}]
        )

    # Kubernetes doesn't say which mount it is.
    field = f"spec.containers[0].volumeMounts.{key}"
    assert causes(refusal.value.status).get(field) == "FieldValueInvalid", refusal.value


def tolerates(**fields: Any) -> Object:
    return {"tolerations": [{"key": "a", "operator": "Equal", "value": "b", **fields}]}


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"containers": []}, "spec.containers", "FieldValueRequired"),
        ({"containers": [container(), container()]}, "spec.containers[1]", "FieldValueDuplicate"),
        ({"volumes": [{"name": "v", "emptyDir": {}}] * 2}, "spec.volumes[1]", "FieldValueDuplicate"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy", "FieldValueNotSupported"),
        ({"dnsPolicy": "Guess"}, "spec.dnsPolicy", "FieldValueNotSupported"),
        ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds", "FieldValueInvalid"),
        ({"nodeSelector": {"a b": "c"}}, "spec.nodeSelector", "FieldValueInvalid"),
        ({"hostname": "with.dot"}, "spec.hostname", "FieldValueInvalid"),
        (tolerates(key="a b"), "spec.tolerations[0].key", "FieldValueInvalid"),
        (tolerates(key=""), "spec.tolerations[0].operator", "FieldValueInvalid"),
        (tolerates(tolerationSeconds=3), "spec.tolerations[0].effect", "FieldValueInvalid"),
    ],
)
def test_a_pod_that_makes_no_sense_is_refused(
    kube: Kube, namespace: str, name: str, spec: Object, field: str, reason: str
) -> None:
    with pytest.raises(Refused) as refusal:
        kube.create(waiting_pod(name, **spec), namespace)

    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")
    # Which part of an item is doubled is told by some releases, not by all.
    told = {named.removesuffix(".name"): why for named, why in causes(refusal.value.status).items()}
    assert told.get(field) == reason, refusal.value


def test_a_quantity_is_a_number_with_a_unit(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="quantities must match the regular expression") as refusal:
        created(kube, namespace, name, container(resources={"requests": {"memory": "lots"}}))

    assert (refusal.value.code, refusal.value.reason) == (400, "BadRequest")


def test_most_of_a_pod_cannot_be_changed(kube: Kube, namespace: str, name: str) -> None:
    created(kube, namespace, name)

    for change in ({"containers": [container(command=["a"])]}, {"nodeSelector": None}, {"hostname": "a"}):
        with pytest.raises(Refused, match="pod updates may not change fields other than") as refusal:
            kube.patch("pods", name, {"spec": change}, namespace, kind="strategic")
        assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")
        assert causes(refusal.value.status) == {"spec": "FieldValueForbidden"}


def test_containers_cannot_be_added_or_removed(kube: Kube, namespace: str, name: str) -> None:
    created(kube, namespace, name)

    addition = {"spec": {"containers": [container(name="more")]}}
    with pytest.raises(Refused, match="may not add or remove containers") as refusal:
        kube.patch("pods", name, addition, namespace, kind="strategic")
    assert causes(refusal.value.status) == {"spec.containers": "FieldValueForbidden"}


def test_labels_and_images_can_be_changed(kube: Kube, namespace: str, name: str) -> None:
    created(kube, namespace, name)

    patch = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "main", "image": "registry.invalid/b:2"}]},
    }
    patched = kube.patch("pods", name, patch, namespace, kind="strategic")

    assert patched["metadata"]["labels"] == {"a": "b"}
    assert patched["spec"]["containers"][0]["image"] == "registry.invalid/b:2"


def test_a_pods_status_is_written_apart(kube: Kube, namespace: str, name: str) -> None:
    created(kube, namespace, name)

    condition = {"type": "conformance.example.com/Checked", "status": "True"}
    patch = {"status": {"conditions": [condition], "message": "hello"}}
    patched = kube.patch("pods", name, patch, namespace, kind="strategic", subresource="status")
    assert patched["status"]["message"] == "hello"
    assert condition["type"] in [one["type"] for one in patched["status"]["conditions"]]

    patched = kube.patch("pods", name, {"status": {"message": "lost"}}, namespace)
    assert patched["status"]["message"] == "hello"
