"""Our kinds as an API server serves them: what it accepts, refuses, fills in, shows and keeps.

No controller is needed, and one that is at work does no harm.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dask_k8s_models import GROUP, KINDS, custom_resource_definitions
from dask_k8s_models.resource import Resource
from tests.conformance.kubectl import Kubectl, need_kubectl
from tests.conformance.waiting import described, eventually
from tests.documents import (
    CASES,
    METADATA_CASES,
    Case,
    autoscaler,
    changed,
    cluster,
    group,
    hold_of_each,
    job,
)
from tests.e2e.conftest import WORKER_GROUPS
from tests.harness.kube import Kube, Object, Refused

pytestmark = pytest.mark.usefixtures("crds")

DASK_JOBS = "daskjobs.kubernetes.dask.org"
DASK_AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
PROJECT = Path(__file__).parents[2]
FILES = (PROJECT / "examples").glob("*.yaml")
SMALLEST = {"DaskCluster": cluster, "DaskWorkerGroup": group, "DaskJob": job, "DaskAutoscaler": autoscaler}

each_kind = pytest.mark.parametrize("model", list(KINDS.values()), ids=list(KINDS))


def schema_of(kind: str) -> Object:
    [definition] = [crd for crd in custom_resource_definitions() if crd["spec"]["names"]["kind"] == kind]
    [version] = definition["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def filled_in(value: Any, schema: Object) -> Any:
    """A value with the defaults that its schema documents."""
    if isinstance(value, list):
        return [filled_in(item, schema["items"]) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    fields = schema["properties"]
    missing = {name: field["default"] for name, field in fields.items() if "default" in field}
    return {name: filled_in(item, fields[name]) for name, item in {**missing, **value}.items()}


def manifests_in(path: Path) -> list[Object]:
    """The manifests of our kinds in a file, for any namespace."""
    found = [one for one in yaml.safe_load_all(path.read_text()) if one["apiVersion"].startswith(GROUP)]
    for manifest in found:
        manifest["metadata"].pop("namespace", None)
    return found


EXAMPLES = {path.name: manifests for path in sorted(FILES) if (manifests := manifests_in(path))}
MANIFESTS = [
    pytest.param(manifest, id=f"{name}-{manifest['kind']}")
    for name, manifests in EXAMPLES.items()
    for manifest in manifests
]


# What is accepted and refused


def test_the_definitions_are_in_order(kube: Kube) -> None:
    for crd in custom_resource_definitions():
        served = kube.get("customresourcedefinitions.apiextensions.k8s.io", crd["metadata"]["name"])
        conditions = {one["type"]: one["status"] for one in served["status"]["conditions"]}
        assert conditions["NamesAccepted"] == "True"
        assert conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"
        assert served["spec"]["versions"][0]["schema"] == crd["spec"]["versions"][0]["schema"]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_an_example_comes_back_as_it_was_sent_but_for_defaults(
    manifest: Object, kube: Kube, namespace: str
) -> None:
    created = kube.create(manifest, namespace)
    assert created["spec"] == filled_in(manifest["spec"], schema_of(manifest["kind"])["properties"]["spec"])
    assert created["metadata"].items() >= manifest["metadata"].items()


@pytest.mark.parametrize(
    "manifest",
    [
        *MANIFESTS,
        *(
            pytest.param(case.document, id=str(case))
            for case in CASES
            if case.name
            in (
                "a job with everything",
                "no replicas",
                "no protocol",
                "one port for two protocols",
                "half unavailable",
                "a secret to pull images with",
                "a GPU as an integer",
                "behavior",
            )
        ),
    ],
)
def test_applying_a_manifest_again_changes_nothing(manifest: Object, kube: Kube, namespace: str) -> None:
    first = kube.apply(manifest, namespace)
    for _ in range(2):
        again = kube.apply(manifest, namespace)
        assert again["spec"] == first["spec"]
        assert again["metadata"]["generation"] == first["metadata"]["generation"] == 1
        assert managed_by("tests", again) == managed_by("tests", first)


def managed_by(manager: str, found: Object) -> list[Object]:
    return [entry for entry in found["metadata"]["managedFields"] if entry["manager"] == manager]


def test_the_table_of_documents(kube: Kube, namespace: str) -> None:
    def check(case: Case) -> None:
        if case.is_valid:
            created = kube.create(case.document, namespace, dryRun="All")
            assert created["kind"] == case.document["kind"]
            return
        with pytest.raises(Refused) as refusal:
            kube.create(case.document, namespace, dryRun="All")
        assert refusal.value.code in (400, 422)
        assert re.search(rf"\b{last_word(case.field)}\b", said_by(refusal.value)), said_by(refusal.value)

    hold_of_each([*CASES, *METADATA_CASES], check)


def last_word(field: str) -> str:
    return [part for part in re.split(r"[.\[\]]", field) if part and not part.isdecimal()][-1]


def said_by(refused: Refused) -> str:
    """All that a refusal tells about fields."""
    causes = (refused.status.get("details") or {}).get("causes") or []
    parts = [
        refused.status["message"],
        *(str(cause.get(key)) for cause in causes for key in ("field", "message")),
    ]
    return "\n".join(parts)


# What may change


@pytest.fixture
def a_group(kube: Kube, namespace: str) -> Object:
    return kube.create(group(), namespace)


@pytest.mark.parametrize("way", ["patch", "update", "apply"])
def test_a_group_stays_with_its_cluster(way: str, a_group: Object, kube: Kube, namespace: str) -> None:
    name, moved = a_group["metadata"]["name"], changed(group(), "spec cluster", "other")
    ways: dict[str, Callable[[], Object]] = {
        "patch": lambda: kube.patch(WORKER_GROUPS, name, {"spec": {"cluster": "other"}}, namespace),
        "update": lambda: kube.update(changed(a_group, "spec cluster", "other")),
        "apply": lambda: kube.apply(moved, namespace),
    }
    with pytest.raises(Refused) as refusal:
        ways[way]()
    assert refusal.value.code == 422
    assert "spec.cluster can't be changed" in said_by(refusal.value)
    found = kube.get(WORKER_GROUPS, name, namespace)
    assert found["spec"]["cluster"] == "simple"
    assert found["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("manifest", "patch", "complaint"),
    [
        (autoscaler(), {"maximum": 0}, "maximum must not be below minimum"),
        (autoscaler(), {"minimum": 11}, "maximum must not be below minimum"),
        (job(), {"clusterRef": {"name": "a"}}, "exactly one of cluster and clusterRef"),
        (job(), {"cluster": None}, "exactly one of cluster and clusterRef"),
        (
            cluster(),
            {"idleTimeout": 5, "scheduler": {"idleTimeout": 6}},
            "idleTimeout and scheduler.idleTimeout mean the same",
        ),
        (
            cluster(),
            {"scheduler": {"service": {"selector": {"dask.org/cluster-name": "other"}}}},
            "would not select the scheduler",
        ),
    ],
    ids=["maximum", "minimum", "both clusters", "no cluster", "two idle timeouts", "selector"],
)
def test_rules_hold_for_changes_as_well(
    manifest: Object, patch: Object, complaint: str, kube: Kube, namespace: str
) -> None:
    made = kube.create(manifest, namespace)
    resource, name = kube.resource_of(manifest), manifest["metadata"]["name"]
    with pytest.raises(Refused) as refusal:
        kube.patch(resource, name, {"spec": patch}, namespace)
    assert refusal.value.code == 422
    assert complaint in said_by(refusal.value)
    assert kube.get(resource, name, namespace)["spec"] == made["spec"]


def test_a_job_may_change_from_its_own_cluster_to_another(kube: Kube, namespace: str) -> None:
    kube.create(job(), namespace)
    patch = {"spec": {"cluster": None, "clusterRef": {"name": "shared"}, "suspend": True}}
    assert kube.patch(DASK_JOBS, "simple-job", patch, namespace)["spec"]["clusterRef"] == {"name": "shared"}


# Status


@each_kind
def test_what_no_controller_has_seen_is_not_current(
    model: type[Resource], kube: Kube, namespace: str
) -> None:
    manifest = {**SMALLEST[model.__name__](), "status": {"observedGeneration": 1, "phase": "Running"}}
    assert kube.create(manifest, namespace)["status"] == {"observedGeneration": -1}


@each_kind
def test_status_and_spec_are_written_apart(model: type[Resource], kube: Kube, namespace: str) -> None:
    manifest = SMALLEST[model.__name__]()
    resource, name = kube.resource_of(manifest), manifest["metadata"]["name"]
    made = kube.create(manifest, namespace)
    condition = {
        "type": "Tested",
        "status": "True",
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-11-23T09:00:00Z",
    }
    status = {"observedGeneration": 1, "conditions": [condition], "plugin": {"any": ["thing"]}}
    wished = copy.deepcopy(made["spec"])
    wished["cluster"] = None

    written = kube.patch(resource, name, {"spec": wished, "status": status}, namespace, subresource="status")
    assert written["spec"] == made["spec"]
    assert written["status"].items() >= {**status, "conditions": written["status"]["conditions"]}.items()
    assert condition in written["status"]["conditions"]
    assert written["metadata"]["generation"] == 1

    patch = {"metadata": {"labels": {"a": "b"}}, "status": {"observedGeneration": 99}}
    written = kube.patch(resource, name, patch, namespace)
    assert written["metadata"]["labels"]["a"] == "b"
    assert written["status"]["observedGeneration"] != 99
    assert written["metadata"]["generation"] == 1


@each_kind
def test_a_status_is_checked_too(model: type[Resource], kube: Kube, namespace: str) -> None:
    manifest = SMALLEST[model.__name__]()
    kube.create(manifest, namespace)
    resource, name = kube.resource_of(manifest), manifest["metadata"]["name"]
    for status in ({"observedGeneration": "1"}, {"conditions": [{"type": "Ready", "status": "Perhaps"}]}):
        with pytest.raises(Refused, match=r"observedGeneration|conditions\[0\]\.status"):
            kube.patch(resource, name, {"status": status}, namespace, subresource="status")


# Scale


@pytest.mark.parametrize("manifest", [cluster(), group()], ids=["DaskCluster", "DaskWorkerGroup"])
def test_replicas_are_scaled(manifest: Object, kube: Kube, namespace: str) -> None:
    made = kube.create(manifest, namespace)
    resource, name = kube.resource_of(manifest), manifest["metadata"]["name"]
    scale = kube.get(resource, name, namespace, "scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert scale["metadata"]["uid"] == made["metadata"]["uid"]
    assert scale["spec"]["replicas"] == 2

    scaled = kube.patch(resource, name, {"spec": {"replicas": 5}}, namespace, subresource="scale")
    assert scaled["spec"]["replicas"] == 5
    found = kube.get(resource, name, namespace)
    assert found["spec"] == changed(made, "spec worker replicas", 5)["spec"]
    assert found["metadata"]["generation"] == 2

    scaled = kube.patch(resource, name, {"spec": {"replicas": 0}}, namespace, subresource="scale")
    assert scaled["spec"].get("replicas", 0) == 0
    with pytest.raises(Refused, match="replicas"):
        kube.patch(resource, name, {"spec": {"replicas": -1}}, namespace, subresource="scale")


@pytest.mark.parametrize("manifest", [cluster(), group()], ids=["DaskCluster", "DaskWorkerGroup"])
def test_scale_tells_replicas_and_selector_of_the_status(
    manifest: Object, kube: Kube, namespace: str
) -> None:
    kube.create(manifest, namespace)
    resource, name = kube.resource_of(manifest), manifest["metadata"]["name"]
    status = {"replicas": 3, "selector": "dask.org/component=worker"}

    def written() -> Object:
        # A controller that is at work as well corrects this, though not at once.
        kube.patch(resource, name, {"status": status}, namespace, subresource="status")
        return kube.get(resource, name, namespace, "scale")["status"]

    assert eventually(written, until=lambda found: found == status) == status


# How it is found and shown


@each_kind
def test_discovery_knows_names_and_subresources(model: type[Resource], kube: Kube) -> None:
    names = model.resource_names
    served = {one["name"]: one for one in kube.request("GET", f"/apis/{GROUP}/v1")["resources"]}
    found = served[names.plural]
    assert found["kind"] == model.__name__
    assert found["namespaced"] is True
    assert found["singularName"] == names.singular
    assert found["shortNames"] == list(names.short)
    assert found["categories"] == ["dask"]
    assert f"{names.plural}/status" in served
    assert (f"{names.plural}/scale" in served) is names.is_scaled


@each_kind
def test_tables_have_our_columns(model: type[Resource], kube: Kube, namespace: str) -> None:
    manifest = SMALLEST[model.__name__]()
    kube.create(manifest, namespace)
    table = kube.request(
        "GET",
        kube.path(kube.resource_of(manifest), namespace),
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    )
    columns = {column["name"]: column for column in table["columnDefinitions"]}
    assert list(columns) == ["Name", *(column.name for column in model.resource_names.columns)]
    for column in model.resource_names.columns:
        assert (columns[column.name]["type"], columns[column.name]["priority"]) == (
            column.type,
            column.priority,
        )
    [row] = table["rows"]
    cells = dict(zip(columns, row["cells"], strict=True))
    assert cells["Name"] == manifest["metadata"]["name"]
    expected = {
        "DaskCluster": {"Workers": 2},
        "DaskWorkerGroup": {"Cluster": "simple", "Workers": 2},
        "DaskJob": {"Workers": 2},
        "DaskAutoscaler": {"Cluster": "simple", "Minimum": 1, "Maximum": 10},
    }
    assert cells.items() >= expected[model.__name__].items()


# With kubectl


@pytest.fixture
def kubectl(kubeconfig: Path, kube: Kube, namespace: str, tmp_path: Path) -> Kubectl:
    need_kubectl()
    # The schemas are published a moment after the definitions are established.
    described(kube, f"{GROUP}/v1")
    return Kubectl(kubeconfig, namespace, tmp_path)


@each_kind
def test_kubectl_explains_our_fields(model: type[Resource], kubectl: Kubectl) -> None:
    schema = schema_of(model.__name__)["properties"]
    for part in ("spec", "status"):
        text = " ".join(kubectl("explain", f"{model.resource_names.plural}.{part}").split())
        for name, field in schema[part]["properties"].items():
            assert f" {name} " in text
            assert " ".join(field["description"].split()) in text


def test_kubectl_knows_kubernetes_own_fields(kubectl: Kubectl) -> None:
    path = "daskclusters.spec.worker.spec.topologySpreadConstraints"
    assert "matchLabelKeys" in kubectl("explain", path)


@pytest.mark.parametrize("manifests", list(EXAMPLES.values()), ids=list(EXAMPLES))
def test_kubectl_applies_an_example_once(manifests: list[Object], kubectl: Kubectl) -> None:
    text = yaml.safe_dump_all(manifests)
    for outcome in ("created", "unchanged", "unchanged"):
        lines = kubectl("apply", "-f", "-", stdin=text).splitlines()
        assert [line.split()[-1] for line in lines] == [outcome] * len(manifests)
    assert kubectl("diff", "-f", "-", stdin=text) == ""


def test_kubectl_has_short_names_and_the_category(kubectl: Kubectl) -> None:
    for make in SMALLEST.values():
        kubectl("apply", "-f", "-", stdin=make())
    for word in ("daskcluster", "daskclusters", "dsk"):
        assert kubectl("get", word, "-o", "name") == f"daskcluster.{GROUP}/simple\n"
    assert kubectl("get", "djb", "-o", "name") == f"daskjob.{GROUP}/simple-job\n"
    assert set(kubectl("get", "dask", "-o", "name").split()) >= {
        f"{kind.lower()}.{GROUP}/{make()['metadata']['name']}" for kind, make in SMALLEST.items()
    }
    scaled = kubectl("scale", "--replicas=5", "daskworkergroup", "simple-highmem")
    assert scaled == f"daskworkergroup.{GROUP}/simple-highmem scaled\n"


def test_kubectl_installs_the_definitions(kubectl: Kubectl) -> None:
    """Client-side, so that each fits into its own annotation."""
    lines = kubectl("apply", "--dry-run=server", "-f", str(PROJECT / "schemas" / "crds.yaml")).splitlines()
    assert len(lines) == len(KINDS)


@pytest.mark.parametrize("manifest", [cluster(), group()], ids=["cluster", "group"])
def test_nobody_scales_beyond_what_a_scheduler_serves(manifest: Object, kube: Kube, namespace: str) -> None:
    resource = f"{KINDS[manifest['kind']].resource_names.plural}.{GROUP}"
    name = kube.create(manifest, namespace)["metadata"]["name"]

    with pytest.raises(Refused) as refusal:
        kube.patch(resource, name, {"spec": {"replicas": 2**31 - 1}}, namespace, subresource="scale")

    assert refusal.value.code == 422
    assert "spec.worker.replicas" in said_by(refusal.value)
    assert "10000" in said_by(refusal.value)
    assert kube.get(resource, name, namespace)["spec"]["worker"]["replicas"] == 2
