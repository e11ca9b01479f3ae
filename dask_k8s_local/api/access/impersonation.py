"""Asking in somebody else's name, which needs a right for each name, group and attribute.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.access.rbac import Attributes, Authorizer
from dask_k8s_local.api.access.users import SERVICE_ACCOUNT, User, user_of

_USER, _GROUP, _UID, _EXTRA = (f"impersonate-{word}" for word in ("user", "group", "uid", "extra-"))


def impersonated(user: User, request: web.BaseRequest, authorizer: Authorizer) -> User:
    """Return in whose name a request is made.

    Raises
    ------
    ApiError
        403 if the one who asks may not be any of what the headers name, 500 if they name nobody.
    """
    headers = request.headers
    wanted = list(_wanted(request))
    if not wanted:
        return user
    if _USER not in headers:
        raise errors.internal("requested groups, uid or extra without impersonating a user")
    for attributes in wanted:
        authorizer.authorize(user, attributes)
    return user_of(headers[_USER], headers.getall(_GROUP, []))


def _wanted(request: web.BaseRequest) -> Iterator[Attributes]:
    for header, value in request.headers.items():
        header = header.lower()
        if header == _USER and value.startswith(SERVICE_ACCOUNT):
            namespace, _, name = value.removeprefix(SERVICE_ACCOUNT).partition(":")
            yield _right("serviceaccounts", name, namespace=namespace)
        elif header == _USER:
            yield _right("users", value)
        elif header == _GROUP:
            yield _right("groups", value)
        elif header == _UID:
            yield _right("uids", value, "authentication.k8s.io")
        elif header.startswith(_EXTRA):
            key = header.removeprefix(_EXTRA)
            yield _right(f"userextras/{key}", value, "authentication.k8s.io")


def _right(resource: str, name: str, group: str = "", namespace: str = "") -> Attributes:
    return Attributes("impersonate", group, resource, namespace, name)
