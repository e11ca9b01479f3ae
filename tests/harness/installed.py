"""The controller with the rights of the chart's roles and its Deployment's arguments, beside the cluster.

It isn't the chart's operator in three things, for which tests/e2e/test_chart.py installs that:

- It may use `Where.OUTSIDE` as well, pods/proxy: from outside there is no other way to a scheduler.
- It elects no leader, as it is alone, and the rights to a Lease are left out with that.
- It has the Deployment's arguments, not its environment: what that sets (health port, TLS) is the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from dask_k8s_controller.kubernetes.rules import Where, rules
from tests.harness.accounts import RBAC, await_rights, kubeconfig_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object
from tests.unit.chart.golden import rendered

NO_MORE: Object = {
    "crds": {"enabled": False},
    "rbac": {"userRoles": False},
    "leaderElection": {"enabled": False},
}
"""Values that leave out what a controller beside the tests has no use for."""


class InstalledController(ControllerProcess):
    """Runs outside the cluster, under a service account in a namespace of its own.

    Parameters
    ----------
    kube : Kube
        An administrator's, who installs it.
    kubeconfig : Path
        The same cluster.
    namespace : str
        Where its service account is.
    folder : Path
        For a kubeconfig of that account.
    """

    def __init__(self, kube: Kube, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self.kube = kube
        self.namespace = namespace
        self.name = f"operator-of-{namespace}"
        kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name}}, namespace)
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace, self.name)))
        super().__init__(path)

    @contextmanager
    def serves(self, namespace: str) -> Iterator[None]:
        """See to it that a namespace is served while it is in use."""
        yield

    def install(self, **values: object) -> None:
        """Apply the chart's roles, which hold a moment later, and take the arguments of its Deployment."""
        given = {**NO_MORE, "fullnameOverride": self.name, **values}
        for item in rendered(given, namespace=self.namespace):
            match item["kind"]:
                case "Deployment":
                    self.arguments = tuple(item["spec"]["template"]["spec"]["containers"][0]["args"])
                case "ClusterRole" | "Role":
                    outside = rules(Where.OUTSIDE)
                    self.kube.apply({**item, "rules": [*item["rules"], *outside]})
                case _:
                    self.kube.apply(item)

    def await_rights(self, namespace: str) -> None:
        await_rights(self.kube, namespace, rules(Where.OUTSIDE), self.name, of=self.namespace)


class ClusterWideController(InstalledController):
    """Has a ClusterRole and serves all namespaces, as by default."""

    def __enter__(self) -> ClusterWideController:
        self.install()
        self.await_rights(self.namespace)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for resource in ("clusterrolebindings", "clusterroles"):
            self.kube.delete(f"{resource}.{RBAC}", self.name)


class NamespacedController(InstalledController):
    """Has a Role in each namespace that it serves, no right elsewhere, and starts anew when they change."""

    def __init__(self, kube: Kube, kubeconfig: Path, namespace: str, folder: Path) -> None:
        super().__init__(kube, kubeconfig, namespace, folder)
        self.served: list[str] = []

    @contextmanager
    def serves(self, namespace: str) -> Iterator[None]:
        self._change([*self.served, namespace])
        self.await_rights(namespace)
        self.start()
        try:
            yield
        finally:
            self._change([other for other in self.served if other != namespace])
            self.start()

    def start(self) -> None:
        if self.served:
            super().start()

    def _change(self, namespaces: list[str]) -> None:
        self.stop()
        self.served = namespaces
        if namespaces:
            self.install(
                rbac={"cluster": False, "userRoles": False},
                kopfArgs=[f"--namespace={namespace}" for namespace in namespaces],
            )
