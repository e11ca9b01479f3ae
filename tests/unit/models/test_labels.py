"""Labels and annotations flow from an object to its children."""

from __future__ import annotations

import pytest

from dask_k8s_models import labels


def test_the_part_wins_over_the_whole_and_the_controller_over_both() -> None:
    merged = labels.merged(
        {"foo": "bar", "hello": "world", "dask.org/component": "superworker"},
        {"foo": "baz", "dask.org/component": "superworker"},
        labels.worker("simple", "simple-default"),
    )
    assert merged == {
        "foo": "baz",
        "hello": "world",
        "dask.org/cluster-name": "simple",
        "dask.org/workergroup-name": "simple-default",
        "dask.org/component": "worker",
    }


@pytest.mark.parametrize(
    "key",
    [
        "kopf.zalando.org/last-handled-configuration",
        "kubectl.kubernetes.io/last-applied-configuration",
        "kubectl.kubernetes.io",
        "argocd.argoproj.io/tracking-id",
        "kustomize.toolkit.fluxcd.io/name",
        "meta.helm.sh/release-name",
        labels.CLUSTER_REPLICAS,
        labels.RESTART,
    ],
)
def test_what_speaks_about_one_object_stays_there(key: str) -> None:
    assert not labels.is_propagated(key)


@pytest.mark.parametrize("key", ["foo", "example.com/team", "prometheus.io/scrape", "nottoolkit.fluxcd.io/x"])
def test_everything_else_flows(key: str) -> None:
    assert labels.propagated({key: "a"}) == {key: "a"}


def test_istio_is_off_unless_the_user_wants_it() -> None:
    base = labels.scheduler("simple")
    assert labels.merged_pod_labels({}, None, base)["sidecar.istio.io/inject"] == "false"
    assert (
        labels.merged_pod_labels({"sidecar.istio.io/inject": "true"}, None, base)["sidecar.istio.io/inject"]
        == "true"
    )


def test_labels_become_a_selector() -> None:
    assert (
        labels.selector(labels.scheduler("simple"))
        == "dask.org/cluster-name=simple,dask.org/component=scheduler"
    )
