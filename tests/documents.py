"""Valid and invalid manifests, as data: models, validator, JSON Schema and API server have to agree on each.

Every case is a whole manifest. Invalid ones say which field an error has to name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A manifest, and what has to be said about it.

    Parameters
    ----------
    name : str
        What is special about it.
    document : dict
        The manifest.
    field : str
        Path of the field that the error names; empty if the manifest is valid.
    is_beyond_json_schema : bool
        Whether it breaks a rule that JSON Schema can't express.
    """

    name: str
    document: Json
    field: str = ""
    is_beyond_json_schema: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether everybody has to accept it."""
        return not self.field

    @property
    def words(self) -> tuple[str, ...]:
        """The words that an error message has to contain, whatever way it writes paths."""
        return tuple(self.field.replace("[", ".").replace("]", "").split("."))[-1:]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def pod(name: str, *args: str) -> Json:
    """Return the smallest pod spec."""
    return {"containers": [{"name": name, "image": "ghcr.io/dask/dask:latest", "args": list(args)}]}


def cluster(name: str = "simple") -> Json:
    """Return a DaskCluster as people write it."""
    scheduler = pod("scheduler", "dask", "scheduler")
    scheduler["containers"][0]["ports"] = [
        {"name": "tcp-comm", "containerPort": 8786, "protocol": "TCP"},
        {"name": "http-dashboard", "containerPort": 8787, "protocol": "TCP"},
    ]
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            "worker": {"replicas": 2, "spec": pod("worker", "dask", "worker")},
            "scheduler": {
                "spec": scheduler,
                "service": {
                    "type": "ClusterIP",
                    "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
                    "ports": [
                        {"name": "tcp-comm", "port": 8786, "targetPort": "tcp-comm", "protocol": "TCP"},
                        {"name": "http-dashboard", "port": 8787, "targetPort": 8787, "protocol": "TCP"},
                    ],
                },
            },
        },
    }


def group(name: str = "simple-highmem") -> Json:
    """Return a DaskWorkerGroup."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": name},
        "spec": {"cluster": "simple", "worker": {"replicas": 2, "spec": pod("worker", "dask", "worker")}},
    }


def job(name: str = "simple-job") -> Json:
    """Return a DaskJob that makes its cluster."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": name},
        "spec": {
            "job": {"spec": pod("job", "python", "work.py")},
            "cluster": {"spec": cluster(name)["spec"]},
        },
    }


def autoscaler(name: str = "simple") -> Json:
    """Return a DaskAutoscaler."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": name},
        "spec": {"cluster": "simple", "minimum": 1, "maximum": 10},
    }


ABSENT = object()
"""As a value in `changed`: take the field away."""


def changed(document: Json, path: str, value: Any) -> Json:
    """Return a copy of a document with one field changed; parts of a path are divided by blanks."""
    document = copy.deepcopy(document)
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split()]
    place: Any = document
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else place[parent]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return document


WORKER = "spec worker spec"
CONTAINER = f"{WORKER} containers 0"
SERVICE = "spec scheduler service"


def valid() -> Iterator[Case]:
    """Yield what has to be accepted."""
    yield Case("a cluster", cluster())
    yield Case("a group of workers", group())
    yield Case("a job", job())
    yield Case("an autoscaler", autoscaler())

    def accept(name: str, path: str, value: Any, document: Json | None = None) -> Case:
        return Case(name, changed(document or cluster(), path, value))

    yield accept("no replicas", "spec worker replicas", ABSENT)
    yield accept("as many replicas as there may be", "spec worker replicas", 10_000)
    yield accept("zero replicas", "spec worker replicas", 0)
    yield accept("a whole number with a point", "spec idleTimeout", 2.0)
    yield accept("replicas null", "spec worker replicas", None)
    yield accept("env null", f"{CONTAINER} env", None)
    yield accept("resources null", f"{CONTAINER} resources", None)
    yield accept("labels null", "metadata labels", None)
    yield accept("a null in a map", f"{WORKER} nodeSelector", {"disktype": "ssd", "zone": None})
    yield accept("status null", "status", None)
    yield accept("idle timeout", "spec idleTimeout", 3600)
    yield accept("idle timeout at the scheduler", "spec scheduler idleTimeout", 5)
    yield Case(
        "idle timeout at both places, equal",
        changed(changed(cluster(), "spec scheduler idleTimeout", 5), "spec idleTimeout", 5),
    )
    yield accept("suspended", "spec suspend", True)
    yield accept("TLS with a certificate of its own", "spec tls", {})
    yield accept(
        "TLS with another's certificate, by HTTPS too", "spec tls", {"secretName": "a.b", "dashboard": True}
    )
    yield accept("TLS turned off", "spec tls", {"enabled": False, "dashboard": False})
    yield accept("TLS in a job's cluster", "spec cluster spec tls", {"enabled": True}, job())
    yield accept("a network policy", "spec networkPolicy", {})
    yield accept(
        "a network policy with peers",
        "spec networkPolicy peers",
        [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {}},
        ],
    )
    bare = changed(cluster(), SERVICE, {})
    yield accept("a name of 53 characters", "metadata name", "a" * 53, bare)
    yield accept("no service", SERVICE, ABSENT)
    yield accept("a service without selector", f"{SERVICE} selector", ABSENT)
    yield accept("a selector with other labels", f"{SERVICE} selector", {"app": "mine"})
    yield accept("no external addresses", f"{SERVICE} externalIPs", [])
    yield accept("a LoadBalancer", f"{SERVICE} type", "LoadBalancer")
    yield accept("a node port", f"{SERVICE} ports 0 nodePort", 30786)
    yield accept("no protocol", f"{SERVICE} ports 0 protocol", ABSENT)
    yield accept(
        "one port for two protocols",
        f"{CONTAINER} ports",
        [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
    )
    yield accept(
        "one port twice, of which Kubernetes merely warns",
        f"{CONTAINER} ports",
        [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}],
    )
    yield accept(
        "metadata of workers", "spec worker metadata", {"labels": {"a": "b"}, "annotations": {"c/d": "e f"}}
    )
    yield accept(
        "metadata as tools write it",
        "spec worker metadata",
        {"creationTimestamp": None, "labels": {"a": "b"}},
    )
    yield accept("a creation time null", "metadata creationTimestamp", None)
    yield accept("an empty status", "status", {})
    yield accept("an empty service", SERVICE, {})
    yield accept("an empty service of a job's cluster", "spec cluster spec scheduler service", {}, job())
    yield accept(
        "a name to be generated",
        "metadata",
        {"generateName": "simple-"},
        changed(job(), "spec cluster spec scheduler service selector", ABSENT),
    )
    yield accept("an empty label", "spec worker metadata labels", {"a": ""})
    yield accept("workers updated on delete", "spec worker updateStrategy", {"type": "OnDelete"})
    yield accept("two unavailable", "spec worker updateStrategy", {"rollingUpdate": {"maxUnavailable": 2}})
    yield accept(
        "half unavailable", "spec worker updateStrategy", {"rollingUpdate": {"maxUnavailable": "50%"}}
    )
    yield accept("a budget of workers", "spec worker disruptionBudget", {})
    yield accept(
        "a budget of a share of the workers", "spec worker disruptionBudget", {"maxUnavailable": "50%"}
    )
    yield accept("a budget of the scheduler", "spec scheduler disruptionBudget", {})
    yield accept("a drain timeout", "spec worker drainTimeoutSeconds", 0)
    yield accept("a GPU as an integer", f"{CONTAINER} resources", {"limits": {"nvidia.com/gpu": 1}})
    for quantity in (2, "2", "500m", "1.5", ".5", "64Gi", "6G", "1e3", "-1", "100k"):
        yield accept(f"quantity {quantity!r}", f"{CONTAINER} resources", {"limits": {"memory": quantity}})
    yield accept(
        "a native sidecar",
        f"{WORKER} initContainers",
        [{"name": "logs", "image": "busybox", "restartPolicy": "Always"}],
    )
    yield accept(
        "resource claims", f"{WORKER} resourceClaims", [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]
    )
    yield accept("scheduling gates", f"{WORKER} schedulingGates", [{"name": "example.com/gate"}])
    yield accept("no host users", f"{WORKER} hostUsers", False)
    yield accept(
        "a resize policy",
        f"{CONTAINER} resizePolicy",
        [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
    )
    yield accept(
        "match label keys",
        f"{WORKER} topologySpreadConstraints",
        [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "matchLabelKeys": ["pod-template-hash"],
            }
        ],
    )
    yield accept(
        "an image volume",
        f"{WORKER} volumes",
        [{"name": "data", "image": {"reference": "quay.io/data:1", "pullPolicy": "IfNotPresent"}}],
    )
    yield accept(
        "an ephemeral volume",
        f"{WORKER} volumes",
        [
            {
                "name": "scratch",
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                        }
                    }
                },
            }
        ],
    )
    yield accept("a secret to pull images with", f"{WORKER} imagePullSecrets", [{"name": "regcred"}])
    yield accept(
        "tolerations", f"{WORKER} tolerations", [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute"}]
    )
    yield accept(
        "env from elsewhere",
        f"{CONTAINER} env",
        [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "B"}],
    )
    yield accept(
        "a probe of a port number",
        f"{CONTAINER} readinessProbe",
        {"httpGet": {"path": "/health", "port": 8788, "scheme": "HTTP"}, "periodSeconds": 5},
    )
    yield accept("a group whose name begins with a digit", "metadata name", "1a", group())
    yield accept("a group's name of 63 characters", "metadata name", "a" * 63, group())
    yield accept(
        "a job that uses a cluster",
        "spec",
        {**job()["spec"], "cluster": None, "clusterRef": {"name": "a"}},
        job(),
    )
    yield accept(
        "a job with everything",
        "spec",
        {
            **job()["spec"],
            "minReadyWorkers": 1,
            "backoffLimit": 3,
            "activeDeadlineSeconds": 60,
            "ttlSecondsAfterFinished": 0,
            "suspend": True,
            "cleanupPolicy": "OnSuccess",
        },
        job(),
    )
    yield accept("metadata of a job's cluster", "spec cluster metadata", {"labels": {"a": "b"}}, job())
    yield accept("minimum equals maximum", "spec minimum", 10, autoscaler())
    yield accept("no bounds", "spec", {"cluster": "simple", "minimum": None, "maximum": None}, autoscaler())
    yield accept("another group to scale", "spec workerGroup", "simple-highmem", autoscaler())
    yield accept(
        "behavior",
        "spec behavior",
        {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"maxPercent": 100}},
        autoscaler(),
    )


def invalid() -> Iterator[Case]:
    """Yield what has to be refused."""

    def refuse(
        name: str,
        path: str,
        value: Any,
        document: Json | None = None,
        *,
        field: str = "",
        beyond: bool = False,
    ) -> Case:
        named = field or path.replace(" ", ".")
        return Case(name, changed(document or cluster(), path, value), named, beyond)

    yield refuse("a misspelt field", "spec workers", {})
    yield refuse("a misspelt field of a container", f"{CONTAINER} resorces", {})
    yield refuse("a misspelt field of a service", f"{SERVICE} selctor", {})
    yield refuse(
        "a misspelt field of worker metadata", "spec worker metadata", {"lables": {}}, field="lables"
    )
    yield refuse("an unknown field that is null", "spec workers", None)
    yield refuse("an unknown field of TLS", "spec tls", {"secret": "mine"}, field="spec.tls.secret")
    yield refuse("a Secret with a bad name", "spec tls secretName", "Mine")
    yield refuse("a Secret without a name", "spec tls secretName", "")
    yield refuse("TLS by a word", "spec tls", True)
    yield refuse(
        "TLS turned off with a Secret",
        "spec tls",
        {"enabled": False, "secretName": "mine"},
        field="spec.tls.enabled",
        beyond=True,
    )
    yield refuse(
        "a peer without a range of addresses",
        "spec networkPolicy peers",
        [{"ipBlock": {"except": []}}],
        field="spec.networkPolicy.peers[0].ipBlock.cidr",
    )
    yield refuse(
        "an unknown kind of peer",
        "spec networkPolicy peers",
        [{"serviceSelector": {}}],
        field="spec.networkPolicy.peers[0].serviceSelector",
    )
    yield refuse("negative replicas", "spec worker replicas", -1)
    yield refuse("replicas as a string", "spec worker replicas", "2")
    yield refuse("replicas as a fraction", "spec worker replicas", 1.5)
    yield refuse("replicas as a boolean", "spec worker replicas", True)
    yield refuse("more replicas than an int32 holds", "spec worker replicas", 2**31)
    yield refuse("more replicas than a scheduler serves", "spec worker replicas", 10_001)
    yield refuse("more replicas of a group", "spec worker replicas", 10_001, group())
    yield refuse("more replicas of a job's cluster", "spec cluster spec worker replicas", 10_001, job())
    yield refuse(
        "a minimum beyond all workers",
        "spec",
        {"cluster": "simple", "minimum": 10_001},
        autoscaler(),
        field="spec.minimum",
    )
    yield refuse("a maximum beyond all workers", "spec maximum", 10_001, autoscaler())
    bare = changed(cluster(), SERVICE, {})
    yield refuse("a name of 54 characters", "metadata name", "a" * 54, bare)
    yield refuse("a name with a dot", "metadata name", "a.b", bare)
    yield refuse("a name that begins with a digit", "metadata name", "1a", bare)
    yield refuse("a name that ends with a dash", "metadata name", "a-", bare)
    yield refuse("no spec", "spec", ABSENT)
    yield refuse("no worker", "spec worker", ABSENT)
    yield refuse("no scheduler", "spec scheduler", ABSENT)
    yield refuse("a scheduler without pod spec", "spec scheduler spec", ABSENT)
    yield refuse("spec as a list", "spec", [])
    yield refuse("no containers", f"{WORKER} containers", ABSENT)
    yield refuse("an empty list of containers", f"{WORKER} containers", [])
    yield refuse("a container without name", f"{CONTAINER} name", ABSENT)
    yield refuse("a container null", f"{WORKER} containers", [None], field="containers")
    yield refuse("an unknown pull policy", f"{CONTAINER} imagePullPolicy", "Sometimes")
    yield refuse("an unknown restart policy", f"{WORKER} restartPolicy", "Perhaps")
    yield refuse("an unknown protocol", f"{SERVICE} ports 0 protocol", "HTTP")
    yield refuse("an unknown service type", f"{SERVICE} type", "Public")
    yield refuse("a boolean as a quantity", f"{CONTAINER} resources", {"limits": {"cpu": True}}, field="cpu")
    yield refuse("a float as a quantity", f"{CONTAINER} resources", {"limits": {"cpu": 0.5}}, field="cpu")
    yield refuse("a list as a quantity", f"{CONTAINER} resources", {"limits": {"cpu": [1]}}, field="cpu")
    yield refuse("an unknown unit", f"{CONTAINER} resources", {"limits": {"memory": "64GB"}}, field="memory")
    yield refuse("a boolean as a port", f"{SERVICE} ports 0 targetPort", True)
    yield refuse(
        "a port as a string", f"{CONTAINER} ports", [{"containerPort": "8788"}], field="containerPort"
    )
    yield refuse("env as a map", f"{CONTAINER} env", {"A": "B"})
    yield refuse(
        "an integer as the value of env", f"{CONTAINER} env", [{"name": "A", "value": 1}], field="value"
    )
    yield refuse("args as a string", f"{CONTAINER} args", "dask worker")
    yield refuse("an integer among args", f"{CONTAINER} args", ["--port", 8788], field="args[1]")
    yield refuse("a null among args", f"{CONTAINER} args", [None], field="args[0]")
    yield refuse("an integer as a label", "spec worker metadata", {"labels": {"tier": 1}}, field="tier")
    yield refuse("a label with a blank", "spec worker metadata", {"labels": {"tier": "a b"}}, field="tier")
    yield refuse(
        "a label of 64 characters", "spec worker metadata", {"labels": {"tier": "a" * 64}}, field="tier"
    )
    yield refuse("labels as a list", "spec worker metadata", {"labels": ["a"]}, field="labels")
    yield refuse("an integer in a node selector", f"{WORKER} nodeSelector", {"cores": 4}, field="cores")
    yield refuse(
        "two containers of one name",
        f"{WORKER} containers",
        [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}],
        field="containers[1]",
        beyond=True,
    )
    yield refuse(
        "one variable twice",
        f"{CONTAINER} env",
        [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        field="env[1]",
        beyond=True,
    )
    yield refuse("a negative idle timeout", "spec idleTimeout", -1)
    yield refuse(
        "two idle timeouts",
        "spec idleTimeout",
        7,
        changed(cluster(), "spec scheduler idleTimeout", 5),
        field="spec.scheduler.idleTimeout",
        beyond=True,
    )
    yield refuse(
        "a selector of another cluster",
        f"{SERVICE} selector",
        {"dask.org/cluster-name": "other"},
        beyond=True,
    )
    yield refuse(
        "a selector of workers", f"{SERVICE} selector", {"dask.org/component": "worker"}, beyond=True
    )
    yield refuse("a service that is another name", f"{SERVICE} type", "ExternalName", beyond=True)
    yield refuse(
        "an external name",
        f"{SERVICE} externalName",
        "other.example.com",
        field="spec.scheduler.service.type",
        beyond=True,
    )
    yield refuse(
        "addresses of others", f"{SERVICE} externalIPs", ["203.0.113.1"], field="externalIPs", beyond=True
    )
    yield refuse(
        "a job whose service is another name",
        "spec cluster spec scheduler service type",
        "ExternalName",
        job(),
        beyond=True,
    )
    for document in (cluster(), job()):
        yield refuse(
            f"a selector of a name before the name of a {document['kind']} is generated",
            "metadata",
            {"generateName": "simple-"},
            document,
            field="selector",
            beyond=True,
        )
    yield refuse("suspend as a word", "spec suspend", "yes")
    for share in (0, -1, "0%", "150%", "half", "5"):
        strategy = {"rollingUpdate": {"maxUnavailable": share}}
        yield refuse(f"{share!r} unavailable", "spec worker updateStrategy", strategy, field="maxUnavailable")
        yield refuse(
            f"a budget of {share!r}",
            "spec worker disruptionBudget",
            {"maxUnavailable": share},
            field="spec.worker.disruptionBudget.maxUnavailable",
        )
    yield refuse(
        "a budget of the scheduler that has a number",
        "spec scheduler disruptionBudget",
        {"maxUnavailable": 1},
        field="spec.scheduler.disruptionBudget.maxUnavailable",
    )
    yield refuse(
        "an unknown update strategy", "spec worker updateStrategy", {"type": "Recreate"}, field="type"
    )
    yield refuse("a negative drain timeout", "spec worker drainTimeoutSeconds", -5)
    yield refuse("a group without cluster", "spec cluster", ABSENT, group())
    yield refuse("a group of a cluster with a bad name", "spec cluster", "a.b", group())
    yield refuse("a group's name of 64 characters", "metadata name", "a" * 64, group())
    yield refuse("a job with neither cluster nor reference", "spec cluster", ABSENT, job())
    yield refuse("a job with both", "spec clusterRef", {"name": "a"}, job(), field="spec.cluster")
    yield refuse("a job without job", "spec job", ABSENT, job())
    yield refuse("an unknown clean-up policy", "spec cleanupPolicy", "Sometimes", job())
    yield refuse("a negative back-off limit", "spec backoffLimit", -1, job())
    yield refuse("no time to run", "spec activeDeadlineSeconds", 0, job())
    without_service = changed(job(), "spec cluster spec scheduler service", {})
    yield refuse("a job's name of 54 characters", "metadata name", "a" * 54, without_service)
    yield refuse(
        "a job's selector of another cluster",
        "spec cluster spec scheduler service selector",
        {"dask.org/cluster-name": "other"},
        job(),
        beyond=True,
    )
    yield refuse("a misspelt field of a job's cluster", "spec cluster spec wroker", {}, job())
    yield refuse("minimum above maximum", "spec minimum", 11, autoscaler(), field="spec.maximum", beyond=True)
    yield refuse("a negative minimum", "spec minimum", -1, autoscaler())
    yield refuse("maximum as a string", "spec maximum", "10", autoscaler())
    yield refuse("an autoscaler without cluster", "spec cluster", ABSENT, autoscaler())
    yield refuse("a group to scale with a bad name", "spec workerGroup", "a_b", autoscaler())
    behavior = "spec behavior"
    yield refuse(
        "a window of hours",
        behavior,
        {"scaleUp": {"stabilizationWindowSeconds": 4000}},
        autoscaler(),
        field="stabilizationWindowSeconds",
    )
    yield refuse("no step down", behavior, {"scaleDown": {"maxPercent": 0}}, autoscaler(), field="maxPercent")
    yield refuse(
        "a step of more than all",
        behavior,
        {"scaleDown": {"maxPercent": 101}},
        autoscaler(),
        field="maxPercent",
    )


def of_metadata() -> Iterator[Case]:
    """Yield what the validator has to judge as the API server does, though models don't look at it."""

    def judge(name: str, path: str, value: Any, field: str = "") -> Case:
        return Case(name, changed(cluster(), path, value), field)

    def owner(name: str, **more: Any) -> Json:
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": f"uid-of-{name}", **more}

    yield judge("a label with a domain", "metadata labels", {"example.com/a": "B.c_d-e"})
    yield judge("a label with a blank in it", "metadata labels", {"a": "b c"}, "metadata.labels")
    yield judge("a label of 64 letters", "metadata labels", {"a": "b" * 64}, "metadata.labels")
    yield judge("a blank in a label's key", "metadata labels", {"a b": "c"}, "metadata.labels")
    yield judge("a domain in capitals", "metadata labels", {"Example.com/a": "b"}, "metadata.labels")
    yield judge("any text in an annotation", "metadata annotations", {"Example.com/a": "b c\n{}"})
    yield judge("a blank in an annotation's key", "metadata annotations", {"a b": ""}, "metadata.annotations")
    yield judge("two domains of an annotation", "metadata annotations", {"a/b/c": ""}, "metadata.annotations")
    yield judge("annotations too large", "metadata annotations", {"a": "b" * 262_144}, "metadata.annotations")
    yield judge("a finalizer", "metadata finalizers", ["example.com/a"])
    yield judge("a finalizer with a blank", "metadata finalizers", ["a b"], "metadata.finalizers")
    owners = "metadata ownerReferences"
    yield judge("an owner", owners, [owner("a", controller=True), owner("b")])
    yield judge("an owner without name", owners, [owner("")], "metadata.ownerReferences")
    both = [owner("a", controller=True), owner("b", controller=True)]
    yield judge("two controllers", owners, both, "metadata.ownerReferences")
    yield judge(
        "a time in a month that doesn't exist",
        "metadata creationTimestamp",
        "2026-13-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
    )
    for status in ({"phase": 5}, {"conditions": [{"type": "Ready"}]}, {"ours": "theirs"}):
        yield judge(f"a status that is dropped: {status}", "status", status)


CASES: tuple[Case, ...] = (*valid(), *invalid())
METADATA_CASES: tuple[Case, ...] = tuple(of_metadata())


def hold_of_each(cases: Iterable[Case], check: Callable[[Case], None]) -> None:
    """Check all cases in one test, which tells of every one that fails."""
    failures: list[BaseException] = []
    for case in cases:
        try:
            check(case)
        except (Exception, pytest.fail.Exception) as failure:
            failure.add_note(f"This is about the manifest {case.name!r}.")
            failures.append(failure)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} manifests", failures)
