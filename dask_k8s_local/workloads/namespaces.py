"""What every namespace has from the start: a service account, and the certificate of the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.queue import Controller, Key

_CERTIFICATE = "kube-root-ca.crt"


class NamespaceContents(Controller):
    """Creates the default ServiceAccount and the ConfigMap with the certificate authority."""

    def __init__(self, api: Api, ca_pem: bytes) -> None:
        super().__init__(api)
        self._ca_pem = ca_pem

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield "namespaces", lambda body: (("", body["metadata"]["name"]),)
        yield "serviceaccounts", lambda body: (("", body["metadata"]["namespace"]),)
        yield "configmaps", _of_certificate

    async def reconcile(self, key: Key) -> float | None:
        _, namespace = key
        try:
            body = await self.api.get("namespaces", None, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        if "deletionTimestamp" not in body["metadata"]:
            await self._ensure("serviceaccounts", namespace, {"metadata": {"name": "default"}})
            data = {"ca.crt": self._ca_pem.decode()}
            await self._ensure("configmaps", namespace, {"metadata": {"name": _CERTIFICATE}, "data": data})
        return None

    async def _ensure(self, resource: str, namespace: str, body: Object) -> None:
        try:
            await self.api.create(resource, namespace, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise


def _of_certificate(body: Object) -> Iterable[Key]:
    if body["metadata"]["name"] == _CERTIFICATE:
        yield "", body["metadata"]["namespace"]
