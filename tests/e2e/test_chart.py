"""The chart, installed by Helm: the operator runs from its Deployment, with the rights of its own account."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest

from dask_k8s_local import LocalKubernetes
from dask_k8s_models.definitions import custom_resource_definitions
from dask_k8s_models.yaml_dialect import to_yaml
from tests.conformance.waiting import eventually
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running, pods_of
from tests.harness.accounts import RBAC, is_allowed
from tests.harness.kube import Kube, Object
from tests.unit.chart.golden import CHART, SETS, rendered, values

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
DEPLOYMENTS = "deployments.apps"
LEASES = "leases.coordination.k8s.io"
RELEASE = "dask-kubernetes-operator"
SYSTEM = "dask-operator"

FIELD_OF_LATER = "disruptionBudget"
SETTING_OF_LATER = "DASK_KUBERNETES__CONTROLLER__NETWORK_POLICY__OPERATOR_LABEL"

KINDS = ("daskautoscalers", "daskclusters", "daskjobs", "daskworkergroups")


class Helm:
    """Helm for a kubeconfig, with the commands that the documentation shows."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def __call__(self, command: str, *arguments: Any, namespace: str = SYSTEM, **options: Any) -> Object:
        with helm_python.Config(kubeconfig_path=self.kubeconfig, namespace=namespace) as config:
            done: Object = getattr(config, command)(*arguments, **options)
            return done


@pytest.fixture(scope="module")
def empty(request: pytest.FixtureRequest) -> Iterator[LocalKubernetes]:
    """A Kubernetes in which there is nothing of ours, whose nodes can run the operator as they are."""
    if not is_local(request.config):
        pytest.skip("another Kubernetes needs an image of this version, and has definitions of its own")
    with LocalKubernetes(addons=()) as kubernetes:
        yield kubernetes


@pytest.fixture(scope="module")
def here(empty: LocalKubernetes) -> Iterator[Kube]:
    with Kube.from_kubeconfig(empty.kubeconfig) as kube:
        yield kube


@pytest.fixture(scope="module")
def helm(empty: LocalKubernetes) -> Helm:
    return Helm(empty.kubeconfig)


@pytest.fixture
def chart_before(tmp_path: Path) -> Path:
    """The chart as if of an earlier version, that knew no disruption budgets.

    Its kinds lack that field, its role the right to make them, and its operator a setting.
    """
    folder = tmp_path / CHART.name
    shutil.copytree(CHART, folder)
    without(folder / "Chart.yaml", r"(?<=ersion: )0\.1\.0$", "0.0.9", times=2)
    rule = r'- apiGroups: \["policy"\]\n  resources: \["poddisruptionbudgets"\]\n  verbs: .*\n'
    without(folder / "templates" / "_rules.tpl", rule)
    without(folder / "templates" / "deployment.yaml", rf" +- name: {SETTING_OF_LATER}\n +value: .*\n")
    for definition in custom_resource_definitions():
        template = folder / "templates" / "crds" / f"{definition['spec']['names']['plural']}.yaml"
        drop(definition["spec"], FIELD_OF_LATER)
        head, _, _ = template.read_text().partition("\nspec:\n")
        body = to_yaml({"spec": definition["spec"]}).replace("{{", "{{ `{{` }}")
        template.write_text(f"{head}\n{body}{{{{- end }}}}\n")
    return folder


def without(path: Path, pattern: str, instead: str = "", times: int = 1) -> None:
    """Take out of a file what has to be there."""
    text, number = re.subn(pattern, instead, path.read_text(), flags=re.MULTILINE)
    assert number == times, path
    path.write_text(text)


def drop(schema: Any, field: str) -> None:
    """Take a field out of a schema, wherever it is."""
    if isinstance(schema, dict):
        schema.get("properties", {}).pop(field, None)
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        drop(part, field)


def knows_budgets(kube: Kube) -> dict[str, bool]:
    """Whether kinds, role and operator are those of the later chart."""
    versions = kube.get(CRDS, "daskclusters.kubernetes.dask.org")["spec"]["versions"]
    (container,) = kube.get(DEPLOYMENTS, RELEASE, SYSTEM)["spec"]["template"]["spec"]["containers"]
    rules = kube.get(f"clusterroles.{RBAC}", RELEASE)["rules"]
    return {
        "kinds": f'"{FIELD_OF_LATER}"' in json.dumps(versions),
        "role": any("poddisruptionbudgets" in rule["resources"] for rule in rules),
        "operator": SETTING_OF_LATER in {variable["name"] for variable in container["env"]},
    }


def with_budget(kube: Kube, cluster: str) -> Object:
    """Ask for a budget of a cluster's scheduler, and return the cluster as it is kept."""
    return kube.patch(DASK_CLUSTERS, cluster, {"spec": {"scheduler": {FIELD_OF_LATER: {}}}}, "default")


def await_budget(kube: Kube, cluster: str) -> None:
    named = kube.wait(
        DASK_CLUSTERS, cluster, "default", until=lambda found: found["status"].get("disruptionBudgetName")
    )
    kube.get("poddisruptionbudgets.policy", named["status"]["disruptionBudgetName"], "default")


def await_operator(kube: Kube, name: str = RELEASE, namespace: str = SYSTEM, replicas: int = 1) -> None:
    """Wait as ``kubectl rollout status`` does."""

    def is_rolled_out(deployment: Object) -> bool:
        status = deployment.get("status", {})
        return (
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("replicas") == replicas
            and status.get("availableReplicas") == replicas
        )

    kube.wait(DEPLOYMENTS, name, namespace, until=is_rolled_out)


def await_leader(kube: Kube, *, after: str = "") -> str:
    """Wait until a pod that is there to stay leads, and return its name."""

    def leader(lease: Object) -> str:
        found: str = lease["spec"].get("holderIdentity") or ""
        return found.rpartition("_")[0]

    def leads(lease: Object) -> bool:
        pods = {pod["metadata"]["name"] for pod in kube.list("pods", SYSTEM)}
        return leader(lease) in pods - {after}

    return leader(kube.wait(LEASES, RELEASE, SYSTEM, until=leads))


def of_dask(kube: Kube, cluster: str) -> dict[str, tuple[str, int]]:
    """The uids of a cluster's pods, and how often their containers have started anew."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(status["restartCount"] for status in pod["status"]["containerStatuses"]),
        )
        for pod in pods_of(kube, cluster, "default")
    }


def await_workers(kube: Kube, cluster: str, count: int) -> None:
    def is_so(found: Object) -> bool:
        status = found.get("status", {})
        return is_running(found) and status.get("readyReplicas") == status.get("replicas") == count

    kube.wait(DASK_CLUSTERS, cluster, "default", until=is_so)


def scale(kube: Kube, cluster: str, count: int) -> None:
    kube.patch(DASK_CLUSTERS, cluster, {"spec": {"worker": {"replicas": count}}}, "default")
    await_workers(kube, cluster, count)


def test_a_life_from_the_first_install_to_the_next(
    helm: Helm, here: Kube, chart_before: Path, cluster_manifest: Callable[..., Object]
) -> None:
    installed = helm("install", chart_before, RELEASE, create_namespace=True)
    assert installed["status"] == "deployed"
    await_operator(here)
    (secret,) = here.list("secrets", SYSTEM, "owner=helm")
    assert len(secret["data"]["release"]) < 700_000, "of a Secret's 1,048,576 bytes"
    here.create(cluster_manifest("simple", n_workers=1), "default")
    await_workers(here, "simple", 1)
    before = of_dask(here, "simple")
    assert not any(knows_budgets(here).values())
    assert FIELD_OF_LATER not in with_budget(here, "simple")["spec"]["scheduler"]

    helm("upgrade", CHART, RELEASE, {"replicas": 2, "podAnnotations": {"example.com/upgraded": "yes"}})
    await_operator(here, replicas=2)
    assert of_dask(here, "simple") == before, "an upgrade touches no Dask pod"
    assert all(knows_budgets(here).values()), "an upgrade of the chart upgrades definitions and rights"
    here.get("poddisruptionbudgets.policy", RELEASE, SYSTEM)
    with_budget(here, "simple")
    await_budget(here, "simple")
    helm("test", RELEASE, timeout=120)
    assert all("test" not in pod["metadata"]["name"] for pod in here.list("pods", SYSTEM))
    leader = await_leader(here)
    here.delete("pods", leader, SYSTEM)
    await_leader(here, after=leader)
    scale(here, "simple", 2)

    helm("uninstall", RELEASE)
    here.wait_all("pods", SYSTEM, until=lambda found: not found)
    after = of_dask(here, "simple")
    assert before.items() <= after.items()
    assert len(after) == 3
    assert here.find(DEPLOYMENTS, RELEASE, SYSTEM) is None
    assert here.list(f"clusterroles.{RBAC}", selector=f"app.kubernetes.io/instance={RELEASE}") == []
    assert {item["spec"]["names"]["plural"] for item in here.list(CRDS)} == set(KINDS)

    helm("install", CHART, RELEASE)
    await_operator(here)
    scale(here, "simple", 1)
    assert of_dask(here, "simple").items() <= after.items()

    here.patch(f"clusterroles.{RBAC}", RELEASE, {"rules": []})
    with pytest.raises(helm_python.HelmError):
        helm("test", RELEASE, timeout=120)
    log = here.request("GET", here.path("pods", SYSTEM, f"{RELEASE}-test", "log"))
    assert "daskautoscalers" in log
    assert "403" in log

    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    assert not is_allowed(here, SYSTEM, secrets, RELEASE)
    helm("uninstall", RELEASE)


@pytest.mark.full
def test_a_rollback_restarts_no_dask_pod(
    helm: Helm, here: Kube, chart_before: Path, cluster_manifest: Callable[..., Object]
) -> None:
    helm("install", chart_before, RELEASE, create_namespace=True)
    helm("upgrade", CHART, RELEASE, {"replicas": 2})
    await_operator(here, replicas=2)
    assert all(knows_budgets(here).values())
    here.create(cluster_manifest("rolled", n_workers=1), "default")
    await_workers(here, "rolled", 1)
    with_budget(here, "rolled")
    await_budget(here, "rolled")
    before = of_dask(here, "rolled")

    helm("rollback", RELEASE, version=1)

    await_operator(here)
    assert not any(knows_budgets(here).values())
    assert here.find("poddisruptionbudgets.policy", RELEASE, SYSTEM) is None
    scale(here, "rolled", 2)
    kept = here.get(DASK_CLUSTERS, "rolled", "default")["spec"]["scheduler"]
    assert FIELD_OF_LATER not in kept, "what the kinds no longer know is dropped, and nothing else"
    assert before.items() <= of_dask(here, "rolled").items()
    here.delete(DASK_CLUSTERS, "rolled", "default")
    helm("uninstall", RELEASE)


@pytest.fixture
def users(helm: Helm, here: Kube) -> Iterator[Callable[[str, str, str], bool]]:
    """Say whether a user with a role may do something with a kind of Dask, where the chart is installed."""
    helm("install", CHART, RELEASE, {"replicas": 0}, create_namespace=True)

    def may(role: str, verb: str, resource: str) -> bool:
        here.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role}}, "default")
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": "default"}],
        }
        here.apply(binding, "default")
        rule = {"apiGroups": ["kubernetes.dask.org"], "resources": [resource], "verbs": [verb]}
        return is_allowed(here, "default", rule, role)

    yield may
    helm("uninstall", RELEASE)


def test_users_who_may_edit_pods_may_edit_clusters(users: Callable[[str, str, str], bool]) -> None:
    for kind in KINDS:
        assert users("edit", "create", kind)
        assert users("edit", "delete", kind)
        assert users("view", "list", kind)
        assert not users("view", "patch", kind)
        assert not users("edit", "patch", f"{kind}/status"), "statuses are the operator's"
    assert users("edit", "patch", "daskworkergroups/scale")


def test_kubeflows_users_need_no_patch_of_its_roles(
    users: Callable[[str, str, str], bool], here: Kube
) -> None:
    """https://github.com/kubeflow/manifests/tree/master/common/kubeflow-roles"""
    for role in ("edit", "view"):
        label = f"rbac.authorization.kubeflow.org/aggregate-to-kubeflow-{role}"
        here.apply(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": f"kubeflow-{role}"},
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]},
            }
        )
    for kind in KINDS:
        eventually(lambda kind=kind: users("kubeflow-edit", "create", kind), until=bool)
        eventually(lambda kind=kind: users("kubeflow-view", "list", kind), until=bool)
        assert not users("kubeflow-view", "patch", kind)


@pytest.fixture
def no_definitions(here: Kube) -> Iterator[None]:
    """A Kubernetes where the definitions aren't there yet, and don't stay either."""

    def delete() -> None:
        for kind in KINDS:
            here.delete(CRDS, f"{kind}.kubernetes.dask.org")
        here.wait_all(CRDS, until=lambda found: not found)

    delete()
    yield
    delete()


def owners(kube: Kube) -> dict[str, set[str | None]]:
    """The releases that have the definitions and the users' roles, as Helm's annotations say."""
    found = {
        "definitions": kube.list(CRDS),
        "roles": [
            role
            for role in kube.list(f"clusterroles.{RBAC}")
            if role["metadata"]["name"].startswith("dask-kubernetes-user-")
        ],
    }
    return {
        what: {item["metadata"]["annotations"].get("meta.helm.sh/release-name") for item in items}
        for what, items in found.items()
    }


@pytest.mark.usefixtures("no_definitions")
def test_a_single_namespace_as_documented_for_one_team_and_the_next(
    helm: Helm, here: Kube, idle_cluster_manifest: Callable[..., Object]
) -> None:
    own, other = "my-namespace", "not-my-namespace"
    here.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    given = values("single-namespace")
    installed = helm("install", CHART, "one", given, namespace=own, create_namespace=True)
    assert "helm uninstall keeps the custom resource definitions" in installed["notes"]
    await_operator(here, "one-" + RELEASE, own)
    for namespace in (own, other):
        here.create(idle_cluster_manifest("simple", n_workers=1), namespace)
    here.wait(DASK_CLUSTERS, "simple", own, until=is_running)
    here.wait_all("pods", own, until=lambda found: len(found) == 3, labelSelector="")
    assert here.list("pods", other) == []
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    assert is_allowed(here, own, rule, "one-" + RELEASE)
    assert not is_allowed(here, other, rule, "one-" + RELEASE, of=own)

    second = {**given, "kopfArgs": [f"--namespace={other}"]}
    installed = helm("install", CHART, "two", second, namespace=other)
    assert "are those of the release one in namespace my-namespace" in installed["notes"]
    assert "helm uninstall keeps" not in installed["notes"]
    here.wait(DASK_CLUSTERS, "simple", other, until=is_running)
    assert owners(here) == {"definitions": {"one"}, "roles": {"one"}}

    helm("test", "two", namespace=other, timeout=120)
    upgraded = helm("upgrade", CHART, "one", {**given, "podLabels": {"team": "one"}}, namespace=own)
    assert upgraded["manifest"].count("kind: CustomResourceDefinition") == len(KINDS), "they stay the first's"
    upgraded = helm("upgrade", CHART, "two", {**second, "podLabels": {"team": "two"}}, namespace=other)
    assert "kind: CustomResourceDefinition" not in upgraded["manifest"]
    with pytest.raises(helm_python.HelmError, match="invalid ownership metadata"):
        helm("upgrade", CHART, "two", {**second, "crds": {"shared": False}}, namespace=other)
    helm("uninstall", "two", namespace=other)
    assert owners(here) == {"definitions": {"one"}, "roles": {"one"}}
    here.wait(DASK_CLUSTERS, "simple", own, until=is_running)

    helm("uninstall", "one", namespace=own)
    with pytest.raises(helm_python.HelmError, match="invalid ownership metadata"):
        helm("install", CHART, "two", second, namespace=other)
    assert len(here.list(CRDS)) == len(KINDS), "they are left to whoever takes them over"


@pytest.mark.parametrize("name", SETS)
def test_an_api_server_takes_what_is_rendered(kube: Kube, namespace: str, name: str) -> None:
    """All that is rendered of kinds that every Kubernetes has, to the last field; nothing is made."""
    for item in rendered(values(name), namespace=namespace):
        if item["apiVersion"].startswith("monitoring.") or item["kind"] == "CustomResourceDefinition":
            continue
        if "namespace" in item["metadata"]:
            item = {**item, "metadata": {**item["metadata"], "namespace": namespace}}
        kube.apply(item, dryRun="All")
