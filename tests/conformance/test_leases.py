"""Leases, by which controllers elect a leader.

https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import pytest

from tests.conformance.manifests import causes
from tests.harness.kube import Kube, Object, Refused

LEASES = "leases.coordination.k8s.io"


def lease(name: str, namespace: str, holder: str) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-01T00:00:00.000001Z",
            "renewTime": "2026-01-01T00:00:00.123456Z",
            "leaseTransitions": 0,
        },
    }


def test_a_lease_is_taken_once(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(lease(name, namespace, "one"))
    assert created["spec"] == lease(name, namespace, "one")["spec"]

    with pytest.raises(Refused, match="already exists"):
        kube.create(lease(name, namespace, "two"))


def test_only_one_of_two_takes_over(kube: Kube, namespace: str, name: str) -> None:
    seen = kube.create(lease(name, namespace, "one"))

    kube.update({**seen, "spec": {**seen["spec"], "holderIdentity": "two", "leaseTransitions": 1}})
    with pytest.raises(Refused) as refused:
        kube.update({**seen, "spec": {**seen["spec"], "holderIdentity": "three", "leaseTransitions": 1}})

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert kube.get(LEASES, name, namespace)["spec"]["holderIdentity"] == "two"


def test_an_update_needs_a_version(kube: Kube, namespace: str, name: str) -> None:
    kube.create(lease(name, namespace, "one"))

    with pytest.raises(Refused, match="must be specified for an update") as refused:
        kube.update(lease(name, namespace, "two"))

    assert causes(refused.value.status) == {"metadata.resourceVersion": "FieldValueInvalid"}


def test_a_lease_lasts_a_while(kube: Kube, namespace: str, name: str) -> None:
    manifest = lease(name, namespace, "one")
    manifest["spec"]["leaseDurationSeconds"] = 0

    with pytest.raises(Refused) as refused:
        kube.create(manifest)

    assert causes(refused.value.status) == {"spec.leaseDurationSeconds": "FieldValueInvalid"}
