"""Asking in somebody else's name.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.conftest import a_namespace
from tests.harness.accounts import grant_everywhere, kubeconfig_of, revoke_everywhere
from tests.harness.kube import Kube

RULES = [
    {
        "apiGroups": [""],
        "resources": ["users"],
        "verbs": ["impersonate"],
        "resourceNames": ["conformance-alice"],
    },
    {
        "apiGroups": [""],
        "resources": ["groups"],
        "verbs": ["impersonate"],
        "resourceNames": ["conformance-staff"],
    },
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
]
ALICE = ("Impersonate-User", "conformance-alice")


@pytest.fixture(scope="module")
def impersonator(kube: Kube, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A service account that may be one user and one group."""
    with a_namespace(kube) as namespace:
        grant_everywhere(kube, namespace, RULES, {"name": "default", "namespace": namespace})
        path = tmp_path_factory.mktemp("impersonator") / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace, "default")))
        with Kube.from_kubeconfig(path) as client:
            if client.http.base_url.scheme != "https":
                pytest.skip("this API server is reached through a proxy that does the authentication")
            yield client
        revoke_everywhere(kube, namespace)


def asked(client: Kube, namespace: str, *headers: tuple[str, str]) -> httpx.Response:
    return client.http.get(client.path("configmaps", namespace), headers=list(headers))


def test_one_has_the_rights_of_whom_one_is_then(impersonator: Kube, namespace: str) -> None:
    for headers in ([ALICE], [ALICE, ("Impersonate-Group", "conformance-staff")]):
        refusal = asked(impersonator, namespace, *headers)
        assert refusal.status_code == 403
        assert 'User "conformance-alice" cannot list resource "configmaps"' in refusal.json()["message"]


@pytest.mark.parametrize(
    "headers",
    [
        [("Impersonate-User", "conformance-bob")],
        [("Impersonate-User", "system:serviceaccount:kube-system:default")],
        [ALICE, ("Impersonate-Group", "system:masters")],
        [ALICE, ("Impersonate-Group", "conformance-staff"), ("Impersonate-Group", "system:masters")],
        [ALICE, ("Impersonate-Uid", "1")],
        [ALICE, ("Impersonate-Extra-Scopes", "all")],
    ],
    ids=["user", "service account", "group", "second group", "uid", "extra"],
)
def test_each_name_needs_a_right(impersonator: Kube, namespace: str, headers: list[tuple[str, str]]) -> None:
    refusal = asked(impersonator, namespace, *headers)

    assert (refusal.status_code, refusal.json()["reason"]) == (403, "Forbidden")
    assert "impersonate" in refusal.json()["message"]


def test_who_may_do_everything_may_be_anybody(kube: Kube, namespace: str) -> None:
    masters = [("Impersonate-User", "conformance-bob"), ("Impersonate-Group", "system:masters")]
    assert asked(kube, namespace, *masters).is_success
