"""Reading, checking and writing manifests."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dask_k8s_models import (
    DaskCluster,
    ManifestError,
    Severity,
    make_cluster_spec,
    parse_manifest,
    to_yaml,
    validate_documents,
)
from dask_k8s_models.commands import RETIRED_COMMANDS
from tests.documents import CONTAINER, SERVICE, WORKER, autoscaler, changed, cluster, group, job

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


def messages(text: str, severity: Severity = Severity.ERROR) -> list[str]:
    return [str(problem) for problem in validate_documents(text, "f.yaml") if problem.severity is severity]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_valid_and_comes_back_unchanged(path: Path) -> None:
    assert messages(path.read_text()) == messages(path.read_text(), Severity.WARNING) == []
    written = [
        document for document in yaml.safe_load_all(path.read_text()) if "dask" in document["apiVersion"]
    ]
    read = parse_manifest(path.read_text())
    assert [resource.to_dict() for resource in read] == written
    assert [resource.to_dict() for resource in parse_manifest(to_yaml(*written))] == written


def test_every_kind_is_among_the_examples() -> None:
    kinds = {resource.kind for path in EXAMPLES for resource in parse_manifest(path.read_text())}
    assert kinds == {"DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler"}


MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata:
  name: science
---
# Nothing here.
---
apiVersion: kubernetes.dask.org/v1
kind: DaskAutoscaler
metadata:
  name: simple
spec:
  cluster: simple
  minimun: 1
  maximum: "10"
"""


def test_every_problem_has_file_line_document_and_field() -> None:
    assert [str(problem) for problem in validate_documents(MANIFEST, "f.yaml")] == [
        "f.yaml:1: document 1: skipped: v1 Namespace is not one of ours",
        "f.yaml:14: document 2: error: spec.minimun: unknown field 'minimun': did you mean 'minimum'?",
        "f.yaml:15: document 2: error: spec.maximum: must be a valid integer, not '10'",
    ]


def test_a_missing_field_is_reported_where_it_should_be() -> None:
    text = "apiVersion: kubernetes.dask.org/v1\nkind: DaskAutoscaler\nmetadata: {name: a}\nspec: {}\n"
    assert messages(text) == ["f.yaml:4: document 1: error: spec.cluster: is required, but missing"]


def test_lists_are_opened() -> None:
    text = to_yaml(
        {"apiVersion": "v1", "kind": "List", "items": [cluster(), changed(group(), "spec cluster", 1)]}
    )
    [message] = messages(text)
    assert "items[1].spec.cluster" in message
    assert [resource.kind for resource in parse_manifest(to_yaml({"kind": "List", "items": [job()]}))] == [
        "DaskJob"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "f.yaml:1: document 1: error"),
        ("a: 1\n", "no apiVersion and kind"),
        ("just text\n", "is no Kubernetes object"),
        ("apiVersion: kubernetes.dask.org/v2\nkind: DaskCluster\n", "use kubernetes.dask.org/v1"),
        ("apiVersion: kubernetes.dask.org/v1\nkind: DaskClutser\n", "kind DaskClutser is unknown"),
        ("a: &a [*a]\n", "contains itself"),
        ("apiVersion: v1\nkind: Pod\nkind: Pod\n", "f.yaml:3: document 1: error: kind: is there twice"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, complaint: str) -> None:
    assert any(complaint in message for message in messages(text)), messages(text)


def test_parse_manifest_refuses_with_the_line() -> None:
    with pytest.raises(ManifestError, match="line 3"):
        parse_manifest("a: 1\nb: [\n")
    with pytest.raises(ManifestError, match="DaskThing"):
        parse_manifest("apiVersion: kubernetes.dask.org/v1\nkind: DaskThing\n")


@pytest.mark.parametrize(
    "text", ["1e3", "y", "08", "0o7", "1:30", "2026-11-23", "null", "", "on", "a: b", "<<"]
)
def test_text_stays_text(text: str) -> None:
    document = changed(cluster(), "metadata annotations", {"note": text, text: "key"})
    [read] = parse_manifest(to_yaml(document))
    assert read.metadata.annotations == {"note": text, text: "key"}


def test_numbers_are_read_as_kubernetes_does() -> None:
    text = to_yaml(cluster()).replace("replicas: 2", "replicas: 0x10")
    [read] = parse_manifest(text)
    assert isinstance(read, DaskCluster)
    assert read.spec.worker.replicas == 16


def warnings(document: dict[str, object]) -> list[str]:
    assert messages(to_yaml(document)) == []
    return messages(to_yaml(document), Severity.WARNING)


def test_builders_give_no_reason_to_warn() -> None:
    assert warnings(make_cluster_spec("simple")) == []
    assert warnings(autoscaler()) == []


@pytest.mark.parametrize("command", RETIRED_COMMANDS)
def test_retired_commands_are_warned_about(command: str) -> None:
    [warning] = warnings(changed(cluster(), f"{CONTAINER} args 0", command))
    assert f"args[0]: current images of Dask have no {command}: use `{RETIRED_COMMANDS[command]}`" in warning
    [warning] = warnings(changed(cluster(), f"{CONTAINER} command", [f"/opt/bin/{command}"]))
    assert "command[0]" in warning


def test_a_service_without_a_port_is_warned_about() -> None:
    [warning] = warnings(changed(cluster(), f"{SERVICE} ports", [{"name": "tcp-comm", "port": 8786}]))
    assert "spec.scheduler.service.ports" in warning
    assert "http-dashboard" in warning


def test_a_target_port_that_leads_nowhere_is_warned_about() -> None:
    [warning] = warnings(changed(cluster(), f"{SERVICE} ports 0 targetPort", "comm"))
    assert "ports[0].targetPort" in warning


def test_what_else_will_hurt_is_warned_about() -> None:
    assert "restartPolicy" in warnings(changed(cluster(), f"{WORKER} restartPolicy", "Always"))[0]
    assert "image" in warnings(changed(cluster(), f"{CONTAINER} image", None))[0]
    assert "minReadyWorkers" in warnings(changed(job(), "spec minReadyWorkers", 3))[0]
    annotated = changed(
        cluster(), "spec worker metadata", {"annotations": {"kubectl.kubernetes.io/default-container": "x"}}
    )
    assert "no container is called x" in warnings(annotated)[0]
    labelled = changed(cluster(), "spec worker metadata", {"labels": {"dask.org/component": "x"}})
    assert "has no effect" in warnings(labelled)[0]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CPU", "cpu"),
        ("Cpu", "cpu"),
        ("Memory", "memory"),
        ("MEMORY", "memory"),
        ("Ephemeral-Storage", "ephemeral-storage"),
        ("ephemeralStorage", "ephemeral-storage"),
        ("ephemeral_storage", "ephemeral-storage"),
    ],
)
@pytest.mark.parametrize("field", ["limits", "requests"])
def test_resources_that_no_pod_can_have_are_refused(field: str, name: str, meant: str) -> None:
    document = changed(cluster(), f"{CONTAINER} resources", {field: {name: "1"}})

    [message] = messages(to_yaml(document))

    assert f"resources.{field}.{name}: " in message
    assert f"did you mean {meant!r}?" in message


def test_other_resources_are_left_alone() -> None:
    limits = {"nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi", "example.com/CPU": 1, "cpu": 1}
    assert messages(to_yaml(changed(cluster(), f"{CONTAINER} resources", {"limits": limits}))) == []


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        (f"{CONTAINER} imagePullSecrets", [], "it belongs into spec.worker.spec"),
        (f"{CONTAINER} nodeSelector", {}, "it belongs into spec.worker.spec"),
        (f"{CONTAINER} replicas", 1, "it belongs into spec.worker"),
        ("spec worker containers", [], "it belongs into spec.worker.spec"),
        (f"{CONTAINER} limits", {}, "it belongs into spec.worker.spec.containers[0].resources"),
        ("spec replicas", 1, "it belongs into spec.worker"),
        (f"{CONTAINER} image_pull_policy", "Always", "did you mean 'imagePullPolicy'?"),
        (f"{CONTAINER} imagepullpolicy", "Always", "did you mean 'imagePullPolicy'?"),
        ("spec wroker", {}, "did you mean 'worker'?"),
        (f"{CONTAINER} resources", {"limits": {"cpu": 0.5}}, 'write "0.5"'),
    ],
)
def test_hints_lead_to_what_is_meant(path: str, value: object, hint: str) -> None:
    [message] = messages(to_yaml(changed(cluster(), path, value)))

    assert message.endswith(hint)


def test_fields_that_are_like_nothing_get_no_hint() -> None:
    [message] = messages(to_yaml(changed(cluster(), f"{CONTAINER} colour", "red")))

    assert message.endswith("unknown field 'colour'")


def test_a_bad_name_is_told_with_all_the_rest() -> None:
    document = changed(changed(cluster("Bad_Name"), "spec worker replicas", "x"), "spec worker spec foo", 1)
    document["spec"]["scheduler"]["service"] = {}

    fields = [message.split(": ")[3] for message in messages(to_yaml(document))]

    assert fields == ["metadata.name", "spec.worker.replicas", "spec.worker.spec.foo"]


def test_a_version_must_not_be_there_when_an_object_is_created() -> None:
    [message] = messages(to_yaml(changed(cluster(), "metadata resourceVersion", "5")))

    assert "metadata.resourceVersion: must not be there" in message


def test_what_only_server_side_apply_refuses_is_a_warning() -> None:
    [message] = warnings(changed(cluster(), f"{CONTAINER} env", None))

    assert "spec.worker.spec.containers[0].env: is null" in message
    assert "--server-side" in message
