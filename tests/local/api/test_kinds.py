"""The built-in kinds: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_local.api import ApiServer
from dask_k8s_local.quantity import canonical
from tests.local.api.http import Http
from tests.local.api.objects import CORE, MAPS, PODS, config_map, pod

SERVICES = f"{CORE}/services"


def service(name: str = "one", /, **spec: Any) -> dict[str, Any]:
    spec.setdefault("ports", [{"port": 80}])
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def with_container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "main", "image": "busybox:1", **fields}])


def told(answer: Any) -> list[str]:
    assert answer.status == 422, answer.text
    return [f"{one['field']}: {one['message']}" for one in answer.body["details"]["causes"]]


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"image": "a"}]}, "spec.containers[0].name: Required value"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image: Required value"),
        (
            {"containers": [{"name": "a", "image": "a"}, {"name": "a", "image": "a"}]},
            'spec.containers[1].name: Duplicate value: "a"',
        ),
        (
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": '
            'supported values: "Always", "OnFailure", "Never"',
        ),
        (
            {"nodeSelector": {"a": "not a label"}},
            'spec.nodeSelector: Invalid value: "not a label": a valid label must be an empty string or',
        ),
    ],
)
async def test_bad_pods_are_refused(http: Http, spec: dict[str, Any], cause: str) -> None:
    answer = await http.post(PODS, pod(**spec))
    assert any(one.startswith(cause) for one in told(answer)), answer.text


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (
            {"imagePullPolicy": "Sometimes"},
            'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
            'supported values: "Always", "IfNotPresent", "Never"',
        ),
        (
            {"ports": [{"containerPort": 70000}]},
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: "
            "must be between 1 and 65535, inclusive",
        ),
        ({"env": [{"value": "x"}]}, "spec.containers[0].env[0].name: Required value"),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            'spec.containers[0].resources.requests: Invalid value: "2": '
            "must be less than or equal to cpu limit of 1",
        ),
        (
            {"livenessProbe": {"periodSeconds": 1}},
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
    ],
)
async def test_bad_containers_are_refused(http: Http, fields: dict[str, Any], cause: str) -> None:
    assert cause in told(await http.post(PODS, with_container(**fields)))


async def test_what_cannot_be_read_is_a_bad_request(http: Http) -> None:
    cases = [
        (
            pod(hostNetwork="yes"),
            "json: cannot unmarshal string into Go struct field Pod.spec.hostNetwork of type bool",
        ),
        (
            with_container(image=1),
            "cannot unmarshal number into Go struct field Pod.spec.containers.image of type string",
        ),
        ({**pod(), "spec": "x"}, "cannot unmarshal string into Go struct field Pod.spec of type map"),
        (
            with_container(resources={"limits": {"cpu": "much"}}),
            "quantities must match the regular expression",
        ),
        (with_container(resources={"limits": {"cpu": True}}), "quantities must match the regular expression"),
    ]
    for body, wanted in cases:
        answer = await http.post(PODS, body)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest"), answer.text
        assert wanted in answer.message
    labels = {**config_map(), "metadata": {"name": "a", "labels": {"x": 1}}}
    answer = await http.post(MAPS, labels)
    assert answer.message == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go '
        "struct field ConfigMap.metadata.labels.x of type string"
    )


async def test_typos_in_pods_are_told(http: Http) -> None:
    answer = await http.post(PODS, with_container(resorces={}), fieldValidation="Strict")
    assert answer.message == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'unknown field "spec.containers[0].resorces"'
    )


async def test_new_fields_of_kubernetes_come_back_unchanged(http: Http) -> None:
    spec = {
        "initContainers": [
            {
                "name": "side",
                "image": "a:1",
                "restartPolicy": "Always",
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            }
        ],
        "containers": [{"name": "main", "image": "a:1"}],
        "schedulingGates": [{"name": "example.org/gate"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}],
        "hostUsers": False,
        "volumes": [{"name": "data", "image": {"reference": "a:1"}}],
    }
    body = (await http.post(PODS, pod(**spec), fieldValidation="Strict")).body
    for key in ("schedulingGates", "resourceClaims", "hostUsers"):
        assert body["spec"][key] == spec[key]
    assert body["spec"]["volumes"][0] == spec["volumes"][0]
    assert body["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    assert body["status"]["conditions"][0]["reason"] == "SchedulingGated"


async def test_binding_places_a_pod_once(http: Http) -> None:
    await http.post(PODS, pod())
    binding = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}}
    assert (await http.post(f"{PODS}/one/binding", binding)).status == 201
    body = (await http.get(f"{PODS}/one")).body
    assert body["spec"]["nodeName"] == "n1"
    assert body["status"]["conditions"][0]["type"] == "PodScheduled"
    again = await http.post(f"{PODS}/one/binding", binding)
    assert (again.status, again.body["reason"]) == (409, "Conflict")
    assert 'pod one is already assigned to node "n1"' in again.message


async def test_eviction_asks_the_budgets(http: Http, server: ApiServer) -> None:
    labelled = pod()
    labelled["metadata"]["labels"] = {"app": "a"}
    await http.post(PODS, labelled)
    await server.client.patch("pods", "default", "one", {"status": {"phase": "Running"}}, "status")
    budget = {
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    }
    await http.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}}
    answer = await http.post(f"{PODS}/one/eviction", eviction)
    assert (answer.status, answer.body["reason"]) == (429, "TooManyRequests")
    assert answer.message == "Cannot evict pod as it would violate the pod's disruption budget."
    await http.delete("/apis/policy/v1/namespaces/default/poddisruptionbudgets/b")
    assert (await http.post(f"{PODS}/one/eviction", eviction)).status == 201
    assert (await http.get(f"{PODS}/one")).status == 404


async def test_an_address_stays(http: Http) -> None:
    created = (await http.post(SERVICES, service())).body
    replaced = service(ports=[{"port": 81}])
    body = (await http.put(f"{SERVICES}/one", replaced)).body
    assert body["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    answer = await http.patch(f"{SERVICES}/one", {"spec": {"clusterIP": "127.96.9.9"}})
    assert "may not change once set" in answer.message
    elsewhere = await http.post(SERVICES, service("two", clusterIP="10.0.0.1"))
    assert "the provided IP (10.0.0.1) is not in the valid range" in elsewhere.message
    taken = await http.post(SERVICES, service("two", clusterIP=created["spec"]["clusterIP"]))
    assert "provided IP is already allocated" in taken.message


async def test_node_ports_are_given_kept_and_freed(http: Http) -> None:
    created = (await http.post(SERVICES, service(type="NodePort"))).body["spec"]
    number = created["ports"][0]["nodePort"]
    assert 30000 <= number <= 32767
    taken = await http.post(
        SERVICES, service("two", type="NodePort", ports=[{"port": 80, "nodePort": number}])
    )
    assert "provided port is already allocated" in taken.message
    outside = await http.post(SERVICES, service("two", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))
    assert "The range of valid ports is 30000-32767" in outside.message
    balanced = (await http.patch(f"{SERVICES}/one", {"spec": {"type": "LoadBalancer"}})).body
    assert balanced["spec"]["ports"][0]["nodePort"] == number
    assert balanced["status"] == {"loadBalancer": {}}
    plain = (await http.patch(f"{SERVICES}/one", {"spec": {"type": "ClusterIP"}})).body
    assert "nodePort" not in plain["spec"]["ports"][0]


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        ({"type": "Magic"}, 'spec.type: Unsupported value: "Magic": supported values: '),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535"),
        (
            {"ports": [{"port": 1}, {"port": 2, "name": "b"}]},
            "spec.ports[0].name: Required value",
        ),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        ({"ports": [{"port": 1, "targetPort": "UPPER"}]}, 'spec.ports[0].targetPort: Invalid value: "UPPER"'),
    ],
)
async def test_bad_services_are_refused(http: Http, spec: dict[str, Any], cause: str) -> None:
    answer = await http.post(SERVICES, service(**spec))
    assert any(one.startswith(cause) for one in told(answer)), answer.text


async def test_the_names_of_services_begin_with_a_letter(http: Http) -> None:
    answer = await http.post(SERVICES, service("1a"))
    assert "a DNS-1035 label must consist of" in answer.message


async def test_a_limit_range_fills_in_and_refuses(http: Http) -> None:
    limits = {
        "type": "Container",
        "default": {"cpu": "2"},
        "defaultRequest": {"cpu": "1"},
        "max": {"cpu": "4"},
        "min": {"cpu": "500m"},
    }
    await http.post(f"{CORE}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limits]}})
    body = (await http.post(PODS, pod())).body
    resources = body["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}
    large = await http.post(PODS, with_container(resources={"limits": {"cpu": "5"}}))
    assert large.message == ('pods "one" is forbidden: maximum cpu usage per Container is 4, but limit is 5')
    small = await http.post(PODS, with_container(resources={"requests": {"cpu": "100m"}}))
    assert "minimum cpu usage per Container is 500m, but request is 100m" in small.message


async def test_a_pod_needs_its_account_and_its_priority_class(http: Http) -> None:
    answer = await http.post(PODS, pod(serviceAccountName="nobody"))
    assert answer.message == (
        'pods "one" is forbidden: error looking up service account default/nobody: '
        'serviceaccount "nobody" not found'
    )
    answer = await http.post(PODS, pod(priorityClassName="high"))
    assert answer.message == 'pods "one" is forbidden: no PriorityClass with name high was found'
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await http.post(classes, {"metadata": {"name": "high"}, "value": 1000})
    assert (await http.post(PODS, pod(priorityClassName="high"))).body["spec"]["priority"] == 1000


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (1, "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (0.5, "500m"),
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("1e3", "1e3"),
        ("1000", "1k"),
        ("0", "0"),
        ("1.5Gi", "1536Mi"),
        ("100M", "100M"),
        ("2147483648", "2147483648"),
        ("nonsense", "nonsense"),
    ],
)
def test_quantities_are_written_as_kubernetes_writes_them(written: Any, kept: str) -> None:
    assert canonical(written) == kept
