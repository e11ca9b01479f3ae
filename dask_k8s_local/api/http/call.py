"""What a client asked for, read from a request's query and headers."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.access.rbac import Authorizer
from dask_k8s_local.api.access.users import User, Users
from dask_k8s_local.api.http.body import dry_run_causes
from dask_k8s_local.api.http.target import Request, Target
from dask_k8s_local.api.kinds.registry import Registry
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.objects.operations import Operations
from dask_k8s_local.api.objects.options import Write
from dask_k8s_local.api.patches.media_types import APPLY_PATCH
from dask_k8s_local.interfaces import Kubelet

_TRUE = ("true", "1", "True", "t", "T", "TRUE")


@dataclass(frozen=True)
class Call:
    """A request about a resource, with all that answering it may need."""

    http: web.BaseRequest
    target: Target
    verb: str
    served: Served
    operations: Operations
    registry: Registry
    kubelets: dict[str, Kubelet]
    users: Users
    authorizer: Authorizer
    user: User
    record: Request

    @property
    def namespace(self) -> str:
        return self.target.namespace or ""

    @property
    def stored(self) -> Served:
        """Return the resource whose objects this is about."""
        return self.served.stored

    def flag(self, name: str) -> bool:
        return self.http.query.get(name) in _TRUE

    def number(self, name: str) -> int | None:
        """Return a whole number from the query."""
        text = self.http.query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            message = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise errors.bad_request(f"{name}: {message}") from None

    def write(self) -> Write:
        query = self.http.query
        kind = {"create": "CreateOptions", "update": "UpdateOptions"}.get(self.verb, "PatchOptions")
        validation = query.get("fieldValidation") or "Warn"
        causes = []
        if validation not in ("Ignore", "Strict", "Warn"):
            causes.append(
                errors.not_supported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn"))
            )
        causes += dry_run_causes(query.getall("dryRun", []))
        is_apply = self.verb == "patch" and self.http.content_type == APPLY_PATCH
        if "force" in query and not is_apply and self.verb == "patch":
            causes.append(errors.forbidden_field("force", "may not be specified for non-apply patch"))
        if is_apply and not query.get("fieldManager"):
            causes.append(errors.required("fieldManager", "is required for apply patch"))
        if causes:
            raise errors.invalid_options(kind, *causes)
        return Write(
            field_manager=query.get("fieldManager") or user_agent(self.http),
            field_validation=validation,
            dry_run="dryRun" in query,
            force=self.flag("force"),
            subresource=self.target.subresource,
        )


def user_agent(request: web.BaseRequest) -> str:
    """Return the name of a client that doesn't give one."""
    return request.headers.get("User-Agent", "unknown").partition("/")[0][:128]
