"""Requests from outside: who asks, for what, and what is done about it."""

from __future__ import annotations

import json
import logging

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.access.impersonation import impersonated
from dask_k8s_local.api.access.rbac import Attributes, Authorizer
from dask_k8s_local.api.access.users import User, Users
from dask_k8s_local.api.discovery.groups import Discovery
from dask_k8s_local.api.faults import Faults
from dask_k8s_local.api.http import lists, watches
from dask_k8s_local.api.http.body import read_body, read_delete_options, read_object
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import json_response, raw_response, representation
from dask_k8s_local.api.http.target import Request, Target, target_of, verb_of
from dask_k8s_local.api.http.watches import Watches
from dask_k8s_local.api.kinds.registry import CRDS, Registry
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.objects.intake import taken_over
from dask_k8s_local.api.objects.operations import Operations
from dask_k8s_local.api.objects.options import Write
from dask_k8s_local.api.patches import media_types
from dask_k8s_local.api.storage.selectors import Selection, exact_name
from dask_k8s_local.api.storage.store import Event, Revision
from dask_k8s_local.api.subresources import SUBRESOURCES
from dask_k8s_local.api.subresources.reviews import review
from dask_k8s_local.interfaces import ApiError, Kubelet, Object

logger = logging.getLogger(__name__)

_REVIEWS = ("authentication.k8s.io", "authorization.k8s.io")


class Handler:
    """Answers every request that comes over HTTP."""

    def __init__(
        self, registry: Registry, operations: Operations, users: Users, kubelets: dict[str, Kubelet]
    ) -> None:
        self._registry = registry
        self._operations = operations
        self._users = users
        self._kubelets = kubelets
        self._authorizer = Authorizer(operations.store)
        self._discovery = Discovery(registry)
        self._watches = Watches()
        self.faults = Faults(operations.store, self._watches)
        operations.store.collection(CRDS).listen(self._crd_changed)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            user = self._user(request)
            target = target_of(request.path)
            served = self._registry.at(target.group, target.version, target.plural) if target else None
            record = _record(request, user, target, served)
            return await self.faults.around(
                record, request, lambda: self._answer(request, user, target, served, record)
            )
        except ApiError as error:
            return _refusal(error)
        except ConnectionError:
            raise
        except Exception as error:
            logger.exception("%s %s failed", request.method, request.path_qs)
            return _refusal(ApiError(500, "InternalError", f"Internal error occurred: {error!r}"))

    def _crd_changed(self, event: Event) -> None:
        """End the watches of a resource that isn't there any more."""
        if event.type == "DELETED":
            name = event.now.key[1]
            self._watches.end(lambda request: request.resource == name)

    def _user(self, request: web.BaseRequest) -> User:
        """Return who asks; whoever may do so can ask in somebody else's name."""
        user = self._users.authenticate(request.headers.get("Authorization", ""))
        if user is None:
            raise errors.unauthorized()
        return impersonated(user, request, self._authorizer)

    async def _answer(
        self,
        request: web.BaseRequest,
        user: User,
        target: Target | None,
        served: Served | None,
        record: Request,
    ) -> web.StreamResponse:
        if target is None:
            return self._discovery.answer(request)
        self._authorizer.authorize(user, _attributes(request, target, record))
        if served is None or (target.namespace is not None and not served.resource.namespaced):
            raise errors.unknown_path()
        call = Call(
            request,
            target,
            record.verb,
            served,
            self._operations,
            self._registry,
            self._kubelets,
            self._users,
            self._authorizer,
            user,
            record,
        )
        if target.subresource:
            if target.subresource not in served.resource.subresources:
                raise errors.unknown_path()
            if serve := SUBRESOURCES.get(target.subresource):
                return await serve(call)
            if target.subresource not in ("status", "finalize"):
                raise errors.not_implemented(f"{served.resource.full_name}/{target.subresource}")
            if call.verb not in ("get", "update", "patch"):
                raise errors.method_not_allowed()
        elif served.resource.group in _REVIEWS:
            return await review(call)
        elif call.verb not in served.resource.verbs or _is_misplaced(call):
            raise errors.method_not_allowed()
        return await self._object(call)

    async def _object(self, call: Call) -> web.StreamResponse:
        verb, target, query = call.verb, call.target, call.http.query
        selection = Selection(
            target.namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
        )
        if call.served.alias:
            selection = call.served.alias.selection(selection)
        if verb == "get":
            revision = call.operations.get(call.stored, call.namespace, target.name)
            form = representation(call.http, call.served)
            return raw_response(form.one(revision), media_type=form.media_type)
        if verb == "list":
            return lists.serve(call, selection)
        if verb == "watch":
            return await watches.serve(call, selection, self._watches)
        if call.served.resource.namespaced and target.namespace is None:
            raise errors.method_not_allowed()
        if verb == "delete":
            return await _delete(call)
        if verb == "deletecollection":
            return await _delete_collection(call, selection)
        return await _write(call)


def _is_misplaced(call: Call) -> bool:
    """Tell whether a verb is for objects but asked of their collection, or the other way round."""
    if call.verb in ("update", "patch"):
        return not call.target.name
    return call.verb == "create" and bool(call.target.name)


def _record(request: web.BaseRequest, user: User, target: Target | None, served: Served | None) -> Request:
    is_watch = request.query.get("watch") in ("true", "1")
    return Request(
        verb=verb_of(request.method, target, watch=is_watch) if target else "",
        method=request.method,
        path=request.path,
        resource=served.resource.full_name if served else "",
        subresource=target.subresource if target else "",
        namespace=(target.namespace or "") if target else "",
        name=target.name if target else "",
        user=user.name,
        user_agent=request.headers.get("User-Agent", ""),
        field_manager=request.query.get("fieldManager", ""),
    )


def _attributes(request: web.BaseRequest, target: Target, record: Request) -> Attributes:
    name = target.name
    if record.verb in ("list", "watch"):
        selection = Selection(target.namespace, "", request.query.get("fieldSelector", ""))
        name = exact_name(selection) or ""
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    return Attributes(record.verb, target.group, resource, target.namespace or "", name)


async def _write(call: Call) -> web.StreamResponse:
    form = representation(call.http, call.served)
    write = call.write()
    revision = await (_patch if call.verb == "patch" else _put)(call, write)
    is_new = call.verb == "create" or write.created
    response = raw_response(form.one(revision), 201 if is_new else 200, form.media_type)
    for warning in dict.fromkeys(write.warnings):
        response.headers.add("Warning", f"299 - {json.dumps(warning)}")
    return response


async def _put(call: Call, write: Write) -> Revision:
    """Create an object or replace it."""
    body = await read_object(call.http, write.duplicates)
    if call.served.alias:
        body = call.served.alias.to_stored(taken_over(call.served, body, write))
    if call.verb == "create":
        return call.operations.create(call.stored, call.namespace, body, write)
    return call.operations.update(call.stored, call.namespace, call.target.name, body, write)


async def _patch(call: Call, write: Write) -> Revision:
    served, media_type = call.served, call.http.content_type
    accepted = media_types.accepted(custom=served.resource.custom)
    if media_type not in accepted:
        raise errors.unsupported_media_type(accepted if served.resource.custom else ())
    patch = await read_body(call.http, *media_types.ACCEPTED, duplicates=write.duplicates)
    alias, name = served.alias, call.target.name
    if media_type == media_types.APPLY_PATCH:
        if alias and isinstance(patch, dict):
            patch = alias.to_stored(patch)
        return call.operations.apply(call.stored, call.namespace, name, patch, write)
    change = media_types.change(media_type, patch, served.schema, custom=served.resource.custom)
    if alias is None:
        return call.operations.patch(served, call.namespace, name, change, write)

    def changed(stored: Object) -> Object:
        return alias.to_stored(taken_over(served, change(alias.from_stored(stored)), write))

    return call.operations.patch(call.stored, call.namespace, name, changed, write)


async def _delete(call: Call) -> web.StreamResponse:
    view = representation(call.http, call.served).view
    options = await read_delete_options(call.http)
    deleted = call.operations.delete(call.stored, call.namespace, call.target.name, options)
    if deleted.is_gone and not call.served.strategy.returns_deleted:
        uid = deleted.body["metadata"]["uid"]
        return json_response(errors.success(call.served.resource, call.target.name, uid))
    waits_as_asked = not deleted.is_gone and options.orphan_dependents is False
    return json_response(view(deleted.body), 202 if waits_as_asked else 200)


async def _delete_collection(call: Call, selection: Selection) -> web.StreamResponse:
    options = await read_delete_options(call.http)
    items = call.operations.delete_collection(call.stored, selection, options)
    resource = call.served.resource
    return json_response(
        {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(call.operations.store.version)},
            "items": items,
        }
    )


def _refusal(error: ApiError) -> web.Response:
    response = json_response(errors.status(error), error.code)
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response
