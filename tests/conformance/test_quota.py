"""ResourceQuotas refuse what goes beyond them; LimitRanges fill in what is missing.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

import pytest

from tests.conformance.manifests import waiting_pod
from tests.harness.kube import Kube, Object, Refused


def quota(kube: Kube, namespace: str, **hard: str) -> None:
    """Create a quota and wait until its use is known."""
    manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "limited"},
        "spec": {"hard": hard},
    }
    kube.create(manifest, namespace)
    kube.wait("resourcequotas", "limited", namespace, until=lambda found: hard.keys() <= used(found).keys())


def used(found: Object) -> dict[str, str]:
    return found.get("status", {}).get("used", {})


def pod(name: str, **requests: str) -> Object:
    resources = {"requests": requests} if requests else {}
    return waiting_pod(
        name, containers=[{"name": "main", "image": "registry.invalid/a:1", "resources": resources}]
    )


def test_no_more_pods_than_allowed(kube: Kube, fresh_namespace: str) -> None:
    quota(kube, fresh_namespace, pods="1")
    kube.create(pod("one"), fresh_namespace)

    message = "exceeded quota: limited, requested: pods=1, used: pods=1, limited: pods=1"
    with pytest.raises(Refused, match=message) as refused:
        kube.create(pod("two"), fresh_namespace)

    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    assert refused.value.status["message"].startswith('pods "two" is forbidden: ')


def test_what_is_gone_no_longer_counts(kube: Kube, fresh_namespace: str) -> None:
    quota(kube, fresh_namespace, pods="1")
    kube.create(pod("one"), fresh_namespace)
    kube.wait("resourcequotas", "limited", fresh_namespace, until=lambda found: used(found)["pods"] == "1")

    kube.delete("pods", "one", fresh_namespace)

    kube.wait("resourcequotas", "limited", fresh_namespace, until=lambda found: used(found)["pods"] == "0")
    kube.create(pod("two"), fresh_namespace)


def test_requests_are_added_up(kube: Kube, fresh_namespace: str) -> None:
    quota(kube, fresh_namespace, **{"requests.cpu": "1"})
    kube.create(pod("one", cpu="600m"), fresh_namespace)

    with pytest.raises(
        Refused, match=r"requested: requests\.cpu=600m, used: requests\.cpu=600m, limited: requests\.cpu=1"
    ):
        kube.create(pod("two", cpu="600m"), fresh_namespace)
    kube.create(pod("three", cpu="400m"), fresh_namespace)


def test_what_is_counted_must_be_told(kube: Kube, fresh_namespace: str) -> None:
    quota(kube, fresh_namespace, **{"requests.cpu": "1"})

    with pytest.raises(Refused, match=r"failed quota: limited: must specify requests\.cpu") as refused:
        kube.create(pod("one"), fresh_namespace)

    assert refused.value.code == 403


def test_other_objects_are_counted_too(kube: Kube, fresh_namespace: str) -> None:
    quota(kube, fresh_namespace, **{"count/leases.coordination.k8s.io": "1"})
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    kube.create({**lease, "metadata": {"name": "one"}}, fresh_namespace)

    with pytest.raises(Refused, match="exceeded quota: limited"):
        kube.create({**lease, "metadata": {"name": "two"}}, fresh_namespace)


def test_a_limit_range_fills_in_requests_and_limits(kube: Kube, fresh_namespace: str) -> None:
    limits = [
        {"type": "Container", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}, "max": {"cpu": "4"}}
    ]
    manifest = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits"},
        "spec": {"limits": limits},
    }
    kube.create(manifest, fresh_namespace)

    created = kube.create(pod("one"), fresh_namespace, dryRun="All")
    assert created["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}
    large = pod("two")
    large["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "5"}}
    with pytest.raises(Refused, match="maximum cpu usage per Container is 4") as refused:
        kube.create(large, fresh_namespace)
    assert refused.value.code == 403
