"""A plain synchronous client of any API server, so that tests see what a user's own tools would."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
from kr8s._auth import KubeAuth

Object = dict[str, Any]

PATIENCE = 120.0
"""Seconds until a wait is given up: a limit, which nothing that goes well comes near."""

VERSIONS = {"events.k8s.io": "v1", "autoscaling": "v2"}
NOT_NAMESPACED = {
    "namespaces",
    "nodes",
    "customresourcedefinitions.apiextensions.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
}
PLURALS = {"NetworkPolicy": "networkpolicies", "Endpoints": "endpoints", "PriorityClass": "priorityclasses"}
PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Refused(Exception):
    """The API server refused a request; carries its Status."""

    def __init__(self, response: httpx.Response) -> None:
        try:
            self.status: Object = response.json()
        except ValueError:
            self.status = {"message": response.text}
        self.code = response.status_code
        self.reason = self.status.get("reason")
        super().__init__(f"{self.code} {self.reason}: {self.status.get('message')}")


class WatchEnded(Exception):
    """The API server can't go on with a watch; carries its Status."""

    def __init__(self, resource: str, status: Object) -> None:
        self.status = status
        super().__init__(f"watch of {resource} ended: {status}")


class Kube:
    """Requests by resource, called in full as by kubectl, such as ``daskclusters.kubernetes.dask.org``."""

    def __init__(self, client: httpx.Client) -> None:
        self.http = client

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        async def credentials() -> tuple[KubeAuth, Any]:
            auth = await KubeAuth(kubeconfig=str(path))
            return auth, await auth.ssl_context()

        auth, verify = asyncio.run(credentials())
        headers = {"Authorization": f"Bearer {auth.token}"} if auth.token else {}
        headers["User-Agent"] = "dask-k8s-tests"
        return cls(httpx.Client(base_url=auth.server, headers=headers, verify=verify, timeout=30))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @staticmethod
    def path(
        resource: str, namespace: str | None = None, name: str | None = None, subresource: str = ""
    ) -> str:
        plural, _, group = resource.partition(".")
        root = f"/apis/{group}/{VERSIONS.get(group, 'v1')}" if group else "/api/v1"
        scope = f"/namespaces/{namespace}" if namespace and resource not in NOT_NAMESPACED else ""
        return "/".join(part for part in (f"{root}{scope}", plural, name, subresource) if part)

    @staticmethod
    def resource_of(manifest: Object) -> str:
        kind = manifest["kind"]
        plural = PLURALS.get(kind, kind.lower() + "s")
        group, slash, _ = manifest["apiVersion"].partition("/")
        return f"{plural}.{group}" if slash else plural

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        response = self.http.request(method, path, **kwargs)
        deadline = time.monotonic() + PATIENCE
        # An API server that still gets a new kind ready for reading asks to come again.
        while method == "GET" and response.status_code == 429 and time.monotonic() < deadline:
            time.sleep(0.2)
            response = self.http.request(method, path, **kwargs)
        if response.is_error:
            raise Refused(response)
        return response.json() if "json" in response.headers.get("content-type", "") else response.text

    def create(self, manifest: Object, namespace: str | None = None, **params: str) -> Object:
        namespace = namespace or manifest["metadata"].get("namespace")
        path = self.path(self.resource_of(manifest), namespace)
        return self.request("POST", path, json=manifest, params={"fieldValidation": "Strict", **params})

    def apply(
        self, manifest: Object, namespace: str | None = None, *, manager: str = "tests", **params: str
    ) -> Object:
        namespace = namespace or manifest["metadata"].get("namespace")
        path = self.path(self.resource_of(manifest), namespace, manifest["metadata"]["name"])
        return self.request(
            "PATCH",
            path,
            content=json.dumps(manifest),
            headers={"Content-Type": PATCH_TYPES["apply"]},
            params={"fieldManager": manager, "force": "true", "fieldValidation": "Strict", **params},
        )

    def get(self, resource: str, name: str, namespace: str | None = None, subresource: str = "") -> Object:
        return self.request("GET", self.path(resource, namespace, name, subresource))

    def find(self, resource: str, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self.get(resource, name, namespace)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def list(
        self, resource: str, namespace: str | None = None, selector: str = "", **params: str
    ) -> list[Object]:
        if selector:
            params["labelSelector"] = selector
        return self.request("GET", self.path(resource, namespace), params=params)["items"]

    def patch(
        self,
        resource: str,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        kind: str = "merge",
        subresource: str = "",
        **params: str,
    ) -> Object:
        return self.request(
            "PATCH",
            self.path(resource, namespace, name, subresource),
            content=json.dumps(patch),
            headers={"Content-Type": PATCH_TYPES[kind]},
            params=params,
        )

    def update(self, manifest: Object, subresource: str = "", **params: str) -> Object:
        metadata = manifest["metadata"]
        path = self.path(self.resource_of(manifest), metadata.get("namespace"), metadata["name"], subresource)
        return self.request("PUT", path, json=manifest, params=params)

    def delete(self, resource: str, name: str, namespace: str | None = None, **options: Any) -> None:
        try:
            self.request("DELETE", self.path(resource, namespace, name), json=options or None)
        except Refused as refused:
            if refused.code != 404:
                raise

    def watch(
        self, resource: str, namespace: str | None = None, *, timeout: float = 60, **params: str
    ) -> Iterator[tuple[str, Object]]:
        """Yield events until the server ends the watch, which it does after `timeout` seconds."""
        params = {"watch": "true", "timeoutSeconds": str(max(1, round(timeout))), **params}
        read_limit = httpx.Timeout(30, read=timeout + 10)
        with self.http.stream(
            "GET", self.path(resource, namespace), params=params, timeout=read_limit
        ) as response:
            if response.is_error:
                response.read()
                raise Refused(response)
            for line in response.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise WatchEnded(resource, event["object"])
                yield event["type"], event["object"]

    def wait(
        self,
        resource: str,
        name: str,
        namespace: str | None = None,
        *,
        until: Callable[[Object], object],
        timeout: float = PATIENCE,
    ) -> Object:
        """Return the object as soon as `until` holds of it; it need not exist yet."""
        seen: Object | None = None

        def holds(objects: dict[str, Object]) -> bool:
            nonlocal seen
            seen = objects.get(name)
            return seen is not None and bool(until(seen))

        try:
            self.wait_all(
                resource, namespace, until=holds, timeout=timeout, fieldSelector=f"metadata.name={name}"
            )
        except TimeoutError:
            raise TimeoutError(
                f"{resource} {name} is after {timeout:g} s still {json.dumps(seen, indent=1)}"
            ) from None
        assert seen is not None
        return seen

    def gone(
        self, resource: str, name: str, namespace: str | None = None, *, timeout: float = PATIENCE
    ) -> None:
        """Wait until the object no longer exists."""
        selector = f"metadata.name={name}"
        self.wait_all(
            resource, namespace, until=lambda found: not found, timeout=timeout, fieldSelector=selector
        )

    def wait_all(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        until: Callable[[dict[str, Object]], object],
        timeout: float = PATIENCE,
        **params: str,
    ) -> dict[str, Object]:
        """Return the selected objects by name as soon as `until` holds of all of them together."""
        deadline = time.monotonic() + timeout
        while True:
            listing = self.request("GET", self.path(resource, namespace), params=params)
            found = {item["metadata"]["name"]: item for item in listing["items"]}
            if until(found):
                return found
            since = listing["metadata"]["resourceVersion"]
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{resource} are after {timeout:g} s still {json.dumps(found, indent=1)}")
            try:
                for kind, item in self.watch(
                    resource, namespace, timeout=left, resourceVersion=since, **params
                ):
                    if kind == "DELETED":
                        found.pop(item["metadata"]["name"], None)
                    else:
                        found[item["metadata"]["name"]] = item
                    if until(found):
                        return found
            except WatchEnded:
                continue
            except Refused as refused:
                if refused.code != 429:
                    raise
                time.sleep(0.2)
