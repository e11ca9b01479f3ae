"""The chart, rendered by Helm's own engine."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from dask_k8s_controller.kubernetes.rules import Where, rules
from dask_k8s_models.definitions import custom_resource_definitions
from tests.unit.chart.golden import (
    CHART,
    FOLDER,
    SETS,
    Object,
    helm_tests,
    notes,
    rendered,
    values,
    without_schemas,
)

OF_OTHERS = "monitoring.coreos.com/v1"

SETTING = "DASK_KUBERNETES__CONTROLLER__"

DOCUMENTED_VALUES = {
    "image.pullPolicy": "IfNotPresent",
    "imagePullSecrets": [],
    "nameOverride": "",
    "fullnameOverride": "",
    "serviceAccount.create": True,
    "serviceAccount.annotations": {},
    "serviceAccount.name": "",
    "rbac.create": True,
    "rbac.cluster": True,
    "podAnnotations": {},
    "podSecurityContext": {},
    "securityContext.capabilities.drop": ["ALL"],
    "securityContext.runAsNonRoot": True,
    "securityContext.runAsUser": 1000,
    "securityContext.allowPrivilegeEscalation": False,
    "securityContext.readOnlyRootFilesystem": True,
    "resources": {},
    "volumes": [],
    "volumeMounts": [],
    "extraEnv": [],
    "nodeSelector": {},
    "tolerations": [],
    "affinity": {},
    "priorityClassName": "",
    "livenessProbe.timeoutSeconds": 5,
    "kopfArgs": ["--all-namespaces"],
    "metrics.scheduler.enabled": False,
    "metrics.scheduler.serviceMonitor.enabled": False,
    "metrics.scheduler.serviceMonitor.namespace": "",
    "metrics.scheduler.serviceMonitor.namespaceSelector": {},
    "metrics.scheduler.serviceMonitor.additionalLabels": {},
    "metrics.scheduler.serviceMonitor.interval": "15s",
    "metrics.scheduler.serviceMonitor.jobLabel": "",
    "metrics.scheduler.serviceMonitor.targetLabels": ["dask.org/cluster-name"],
    "metrics.scheduler.serviceMonitor.metricRelabelings": [],
    "metrics.worker.enabled": False,
    "metrics.worker.podMonitor.enabled": False,
    "metrics.worker.podMonitor.namespace": "",
    "metrics.worker.podMonitor.namespaceSelector": {},
    "metrics.worker.podMonitor.additionalLabels": {},
    "metrics.worker.podMonitor.interval": "15s",
    "metrics.worker.podMonitor.jobLabel": "",
    "metrics.worker.podMonitor.podTargetLabels": ["dask.org/cluster-name", "dask.org/workergroup-name"],
    "metrics.worker.podMonitor.metricRelabelings": [],
    "workerAllocation.size": None,
    "workerAllocation.delay": None,
}
"""The values that the chart of dask-kubernetes documents, and its defaults: users' files may rely on them."""

OF_THIS_IMAGE = {"image.name": "ghcr.io/dask-k8s/dask-kubernetes-operator", "image.tag": ""}
"""Those whose defaults can't be the same."""


def default(path: str) -> Any:
    found = yaml.safe_load((CHART / "values.yaml").read_text())
    for key in path.split("."):
        found = found[key]
    return found


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def refusal(given: Object) -> str:
    with pytest.raises(helm_python.HelmError) as refused:
        rendered(given)
    return str(refused.value)


@pytest.mark.parametrize("name", SETS)
class TestEachSet:
    """Each set of values."""

    def test_is_as_it_was(self, name: str) -> None:
        golden = (FOLDER / "golden" / f"{name}.yaml").read_text()
        assert without_schemas(rendered(values(name))) == golden, "run python -m tests.unit.chart.golden"

    def test_is_valid_to_the_last_field(self, name: str) -> None:
        for item in rendered(values(name)):
            # Definitions take long to judge, and are the same in all sets.
            is_the_same = item["kind"] == "CustomResourceDefinition" and name != "default"
            if item["apiVersion"] != OF_OTHERS and not is_the_same:
                kubernetes_validate.validate(item, "1.37.0", strict=True)

    def test_can_be_tested_by_a_pod_that_is_not_taken_for_the_operator(self, name: str) -> None:
        (pod,) = helm_tests(values(name))
        kubernetes_validate.validate(pod, "1.37.0", strict=True)
        (deployment,) = of_kind(rendered(values(name)), "Deployment")
        operator = deployment["spec"]["template"]["spec"]
        for key in (
            "serviceAccountName",
            "imagePullSecrets",
            "nodeSelector",
            "tolerations",
            "securityContext",
        ):
            assert pod["spec"].get(key) == operator.get(key)
        for key in ("image", "resources", "securityContext"):
            assert pod["spec"]["containers"][0].get(key) == operator["containers"][0].get(key)
        selected = deployment["spec"]["selector"]["matchLabels"].items()
        assert not selected <= pod["metadata"]["labels"].items()

    def test_lints(self, name: str) -> None:
        report = helm_python.lint(CHART, values(name), strict=True, kube_version="v1.30.0")
        assert report["errors"] == []
        assert [found for found in report["messages"] if found["severity"] > 1] == []

    def test_has_no_name_twice_and_says_its_namespace(self, name: str) -> None:
        objects = rendered(values(name))
        keys = [
            (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects
        ]
        assert len(keys) == len(set(keys))
        cluster_wide = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
        assert {item["kind"] for item in objects if "namespace" not in item["metadata"]} <= cluster_wide

    def test_tells_what_to_do_next(self, name: str) -> None:
        text = notes(values(name))
        assert "kubectl rollout status -n dask-operator deployment/" in text
        assert "%!" not in text


def test_documented_values_have_their_defaults() -> None:
    expected = {**DOCUMENTED_VALUES, **OF_THIS_IMAGE}
    assert {path: default(path) for path in expected} == expected


def test_a_file_with_all_documented_values_is_taken() -> None:
    given: Object = {}
    for path, value in {**DOCUMENTED_VALUES, **OF_THIS_IMAGE}.items():
        *parents, last = path.split(".")
        inner = given
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    assert rendered(given) == rendered({})


def test_each_value_is_described() -> None:
    def check(given: Any, schema: Object, path: str) -> Iterator[str]:
        for key, value in given.items():
            found = schema["properties"].get(key)
            if found is None or not (found.get("description") or "properties" in found):
                yield f"{path}{key}"
            elif isinstance(value, dict) and "properties" in found:
                yield from check(value, found, f"{path}{key}.")

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert list(check(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")) == []


def test_custom_resource_definitions_are_those_of_the_models() -> None:
    found = {item["metadata"]["name"]: item for item in of_kind(rendered({}), "CustomResourceDefinition")}
    expected = {item["metadata"]["name"]: item for item in custom_resource_definitions()}
    assert {name: item["spec"] for name, item in found.items()} == {
        name: item["spec"] for name, item in expected.items()
    }
    for item in found.values():
        assert item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    removed = of_kind(rendered({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert all("helm.sh/resource-policy" not in item["metadata"]["annotations"] for item in removed)
    assert of_kind(rendered({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_what_artifact_hub_shows_is_what_there_is() -> None:
    """https://artifacthub.io/docs/topics/annotations/helm/"""
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    about = {
        key.removeprefix("artifacthub.io/"): yaml.safe_load(text)
        for key, text in metadata["annotations"].items()
    }
    shown = {(item["name"], item["kind"], item["version"]) for item in about["crds"]}
    assert shown == {
        (item["metadata"]["name"], item["spec"]["names"]["kind"], item["spec"]["versions"][0]["name"])
        for item in custom_resource_definitions()
    }
    (deployment,) = of_kind(rendered({}), "Deployment")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert [item["image"] for item in about["images"]] == [image]
    assert {item["kind"] for item in about["changes"]} <= {
        "added",
        "changed",
        "deprecated",
        "removed",
        "fixed",
        "security",
    }


def test_a_package_has_what_it_needs_and_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "source" / CHART.name
    shutil.copytree(CHART, folder)
    (folder / "notes.swp").write_text("an editor's")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("of version control")
    archive = helm_python.package(folder, destination=tmp_path)
    with helm_python.Chart.load(archive) as packaged:
        files = {file["name"]: file["data"] for file in packaged.files}
        assert packaged.render({}, name="dask")
    assert "README.md" in files
    assert not {"notes.swp", ".git/HEAD"} & set(files)
    readme = files["README.md"]
    assert not re.search(r"\]\((?!https://)", readme), "links out of a package lead nowhere"
    for command in ("install", "test", "upgrade", "uninstall"):
        assert f"$ helm {command} " in readme


def test_roles_are_the_table_of_rights() -> None:
    def granted(found: list[Object]) -> set[tuple[str, str, str]]:
        return {
            (group, resource, verb)
            for rule in found
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    everywhere = rendered({})
    own, *_ = [item for item in of_kind(everywhere, "ClusterRole") if "user" not in item["metadata"]["name"]]
    assert granted(own["rules"]) == granted(rules(Where.WATCHED, Where.CLUSTER))
    (lease,) = of_kind(everywhere, "Role")
    assert granted(lease["rules"]) == granted(rules(Where.OWN))
    single = of_kind(rendered(values("single-namespace")), "Role")
    assert {item["metadata"]["namespace"] for item in single} == {"my-namespace", "dask-operator"}
    assert granted(single[0]["rules"]) == granted(rules(Where.WATCHED))
    for item in [*of_kind(everywhere, "ClusterRole"), *of_kind(everywhere, "Role")]:
        assert "*" not in json.dumps(item["rules"])
        assert {one for one in granted(item["rules"]) if "secrets" in one[1]} <= {("", "secrets", "create")}


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"rbac": {"cluster": False}}, "add --set kopfArgs='{--namespace=dask-operator}'"),
        ({"replicas": 2, "leaderElection": {"enabled": False}}, "set leaderElection.enabled=true"),
        (
            {"metrics": {"scheduler": {"serviceMonitor": {"enabled": True}}}},
            "metrics.scheduler.enabled is false: set both",
        ),
        (
            {"metrics": {"worker": {"podMonitor": {"enabled": True}}}},
            "metrics.worker.enabled is false: set both",
        ),
        ({"replicaCount": 2}, "replicaCount is no value of this chart: say replicas"),
        ({"replicaz": 2}, "additional properties 'replicaz' not allowed"),
        ({"kopfArgs": "--all-namespaces"}, "at '/kopfArgs': got string, want array"),
        ({"image": {"pullPolicy": "Sometimes"}}, "'Always', 'IfNotPresent', 'Never'"),
        ({"workerAllocation": {"size": 0}}, "at '/workerAllocation/size'"),
        (
            {"rbac": {"cluster": False}, "kopfArgs": ["--namespace=team-a,team-b"]},
            "a pattern of names (--namespace=team-a,team-b)",
        ),
        ({"rbac": {"cluster": False}, "kopfArgs": []}, "add --set kopfArgs='{--namespace=dask-operator}'"),
        ({"replicas": "2"}, "at '/replicas': got string, want integer"),
        ({"rbac": {"cluster": "fales"}}, "at '/rbac/cluster': got string, want boolean"),
        (
            {"image": {"repository": "example.com/mine"}},
            "image.repository is no value of this chart: say image.name",
        ),
        (
            {"image": {"name": "example.com:5000/mine:new"}},
            "image.name=example.com:5000/mine and image.tag=new",
        ),
        ({"image": {"name": "mine@sha256:12"}}, "image.name=mine and image.tag=sha256:12"),
        ({"image": {"tag": 2026.1}}, "at '/image/tag': got number, want string"),
        ({"leaderElection": False}, "at '/leaderElection': got boolean, want object"),
        ({"extraEnv": {"A": "b"}}, "at '/extraEnv': got object, want array"),
        ({"tls": "on"}, "at '/tls': value must be one of 'Off', 'Default', 'Required'"),
        ({"resources": {"limit": {"memory": "1Gi"}}}, "at '/resources': additional properties 'limit'"),
        ({"resources": {"limits": {"memory": "1GB"}}}, "resources.limits.memory is 1GB: write 1G or 1Gi"),
        ({"resources": {"requests": {"memory": "512mb"}}}, "write 512M or 512Mi"),
        (
            {"resources": {"requests": {"cpu": "half"}}},
            "requests.cpu is half: write a number of CPUs, such as 2",
        ),
        ({"imagePullSecrets": ["my-secret"]}, "at '/imagePullSecrets/0': got string, want object"),
        ({"podAnnotations": {"a": True}}, "at '/podAnnotations/a': got boolean, want string"),
        ({"livenessProbe": {"initialDelaySecond": 3}}, "'initialDelaySecond' not allowed"),
        ({"fullnameOverride": "My_Name"}, "fullnameOverride is My_Name: a name has lower-case letters"),
        (
            {"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1"]}}},
            "cidrs has 10.0.0.1: write an address with",
        ),
        (
            {"metrics": {"operator": {"podMonitor": {"interval": "15"}}}},
            'metrics.operator.podMonitor.interval is "15": write a number with its unit, such as 15s',
        ),
        ({"kopfArgs": ["--namespace team-a"]}, "each item is one argument without blanks"),
        ({"kopfArgs": ["--namespace="]}, "a namespace has no name; say --namespace=team-a"),
        ({"kopfArgs": ["--verbose", "-n"]}, "a namespace has no name; say --namespace=team-a"),
        ({"podDisruptionBudget": {"minAvailable": "half"}}, "such as 1, or a percentage such as 50%"),
        (
            {"replicas": 2, "podDisruptionBudget": {"minAvailable": 2}},
            "podDisruptionBudget.minAvailable is 2, and replicas is 2: no node with one could be drained",
        ),
        ({"replicas": 2, "podDisruptionBudget": {"minAvailable": "51%"}}, "say less, or raise replicas"),
        (
            {"replicas": 2, "podDisruptionBudget": {"maxUnavailable": 0}},
            "podDisruptionBudget.maxUnavailable is 0: no node with a replica could be drained; say 1",
        ),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "volumes has one named tmp"),
        ({"volumeMounts": [{"name": "mine", "mountPath": "/tmp/"}]}, "volumeMounts mounts mine at /tmp"),
        (
            {"extraEnv": [{"name": f"{SETTING}HEALTH_PORT", "value": "8081"}]},
            "rely on port 8080: leave it out",
        ),
        (
            {"extraEnv": [{"name": f"{SETTING}LEADER_ELECTION__ENABLED", "value": "false"}]},
            "say leaderElection.enabled",
        ),
        (
            {"extraEnv": [{"name": f"{SETTING}LEADER_ELECTION__NAME", "value": "mine"}]},
            "say fullnameOverride",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_remedy(given: Object, remedy: str) -> None:
    assert remedy in refusal(given)


def test_keys_of_other_charts_are_refused_with_ours_in_editors_too() -> None:
    properties = json.loads((CHART / "values.schema.json").read_text())["properties"]
    foreign = [
        (f"{path}{key}", found["deprecationMessage"])
        for path, part in (("", properties), ("image.", properties["image"]["properties"]))
        for key, found in part.items()
        if "deprecationMessage" in found
    ]
    assert "replicaCount" in dict(foreign)
    for path, message in foreign:
        given: Any = "1"
        for key in reversed(path.split(".")):
            given = {key: given}
        found = refusal(given)
        assert f"{path} is no value of this chart" in found
        ours = re.sub(r"^No value of this chart: say `(.*)`$", r"\1", message)
        assert f"say {ours}" in found
        default(ours)


def test_what_works_is_not_refused() -> None:
    given = {
        "replicas": 3,
        "image": {"name": "registry.example.com:5000/mine"},
        "resources": {"requests": {"cpu": 0.5, "memory": 1_000_000_000}, "limits": {"memory": "1.5Gi"}},
        "extraEnv": [{"name": "HEALTH_PORT", "value": "1"}],
        "metrics": {"operator": {"podMonitor": {"interval": "1m30s"}}},
    }
    assert rendered(given)
    unset = ("resources", "networkPolicy", "podDisruptionBudget", "kopfArgs", "volumes", "nameOverride")
    assert rendered(dict.fromkeys(unset))
    assert not of_kind(rendered({"podDisruptionBudget": {"minAvailable": 5}}), "PodDisruptionBudget")


def test_a_chart_that_this_one_is_a_part_of_may_have_a_condition_and_globals() -> None:
    assert rendered({"enabled": True, "global": {"region": "here"}}) == rendered({})


def test_leader_and_budget_come_with_replicas() -> None:
    one, two = rendered({}), rendered({"replicas": 2})
    assert not of_kind(one, "PodDisruptionBudget")
    assert of_kind(two, "PodDisruptionBudget")
    (alone,) = of_kind(rendered({"leaderElection": {"enabled": False}}), "Deployment")
    assert alone["spec"]["strategy"]["type"] == "Recreate"


def test_what_a_budget_keeps_can_be_chosen() -> None:
    def budget(**given: Any) -> Object:
        (found,) = of_kind(rendered({"replicas": 3, "podDisruptionBudget": given}), "PodDisruptionBudget")
        spec = found["spec"]
        assert spec.pop("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        return {key: value for key, value in spec.items() if key != "selector"}

    assert budget() == {"minAvailable": 1}
    assert budget(minAvailable="50%") == {"minAvailable": "50%"}
    assert budget(maxUnavailable="1%") == {"maxUnavailable": "1%"}


def test_only_the_operators_own_pods_get_its_token() -> None:
    objects = rendered({})
    (account,) = of_kind(objects, "ServiceAccount")
    (deployment,) = of_kind(objects, "Deployment")
    assert account["automountServiceAccountToken"] is False
    assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize(
    ("arguments", "scope"),
    [
        (["--all-namespaces"], {}),
        ([], {}),
        (["--namespace=team-*"], {}),
        (["-n", "team-a", "--namespace=team-b"], ["team-a", "team-b"]),
    ],
)
def test_the_network_policy_lets_out_to_schedulers_that_it_serves(arguments: list[str], scope: Any) -> None:
    (policy,) = of_kind(
        rendered({"kopfArgs": arguments, "networkPolicy": {"enabled": True}}), "NetworkPolicy"
    )
    (peer,) = next(
        rule["to"] for rule in policy["spec"]["egress"] if "podSelector" in rule.get("to", [{}])[0]
    )
    names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": scope}
    assert peer["namespaceSelector"] == ({"matchExpressions": [names]} if scope else {})


def test_the_network_policy_lets_out_to_the_api_server_alone_if_its_address_is_known() -> None:
    given = {"enabled": True, "apiServer": {"ports": [6443], "cidrs": ["10.0.0.1/32"]}}
    (policy,) = of_kind(rendered({"networkPolicy": given}), "NetworkPolicy")
    _, api_server, _ = policy["spec"]["egress"]
    assert api_server["ports"] == [{"port": 6443, "protocol": "TCP"}]
    assert api_server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]


def test_notes_warn_who_does_not_keep_the_definitions() -> None:
    assert "deletes the custom resource definitions" in notes({"crds": {"keep": False}})
    assert "WARNING" not in notes({})


def test_pods_meet_the_restricted_pod_security_standard() -> None:
    (deployment,) = of_kind(rendered({}), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_openshift_may_choose_the_user() -> None:
    given = {"securityContext": {"runAsUser": None, "runAsGroup": None}}
    (deployment,) = of_kind(rendered(given), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert not {"runAsUser", "runAsGroup"} & set(container["securityContext"])


def test_what_the_operator_writes_is_bounded() -> None:
    def volume(**given: Any) -> Object:
        (deployment,) = of_kind(rendered({"tmp": given}), "Deployment")
        (found,) = deployment["spec"]["template"]["spec"]["volumes"]
        emptied: Object = found["emptyDir"]
        return emptied

    assert volume() == {"sizeLimit": "256Mi"}
    assert volume(sizeLimit="1Gi") == {"sizeLimit": "1Gi"}
    assert volume(sizeLimit=None) == {}


def test_the_operator_may_have_company_and_a_resolver() -> None:
    given = values("sidecars")
    (deployment,) = of_kind(rendered(given), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    operator, *others = pod["containers"]
    assert operator["name"] == "operator"
    assert others == given["extraContainers"]
    for key in ("initContainers", "dnsPolicy", "dnsConfig", "runtimeClassName"):
        assert pod[key] == given[key]
    (tuned,) = of_kind(rendered(values("tuned")), "Deployment")
    assert tuned["spec"]["template"]["spec"]["containers"][0]["envFrom"] == [
        {"secretRef": {"name": "settings"}}
    ]


@pytest.mark.parametrize("release", ["dask-kubernetes-operator-1666875935", "x", "a" * 53])
def test_names_are_valid_whatever_the_release_is_called(release: str) -> None:
    for item in rendered({}, release=release):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", item["metadata"]["name"])
        if item["kind"] in ("Deployment", "ServiceAccount"):
            assert len(item["metadata"]["name"]) <= 63


def test_the_operators_pods_are_found_by_the_documented_label() -> None:
    (deployment,) = of_kind(rendered({}), "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "dask-kubernetes-operator"
