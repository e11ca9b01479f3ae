"""Lists over HTTP, page by page if that is asked for.

https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import raw_response, representation
from dask_k8s_local.api.storage.selectors import Selection
from dask_k8s_local.api.storage.store import Key, Revision, encode
from dask_k8s_local.interfaces import Object


@dataclass(frozen=True)
class Page:
    """Some of a list: as of which version, and after which key it goes on."""

    revisions: list[Revision]
    version: int
    left: int


def serve(call: Call, selection: Selection) -> web.Response:
    page = _page(call, selection)
    metadata: Object = {"resourceVersion": str(page.version)}
    if page.left:
        metadata["continue"] = _token(page)
        if not selection.label_selector and not selection.field_selector:
            metadata["remainingItemCount"] = page.left
    form = representation(call.http, call.served)
    return raw_response(form.many(page.revisions, metadata), media_type=form.media_type)


def _page(call: Call, selection: Selection) -> Page:
    operations, served, query = call.operations, call.stored, call.http.query
    wanted, match = version_of(query.get("resourceVersion")), query.get("resourceVersionMatch")
    limit, token = call.number("limit") or 0, query.get("continue")
    if "sendInitialEvents" in query:
        detail = "sendInitialEvents is forbidden for list"
        cause = errors.forbidden_field("sendInitialEvents", detail)
        raise errors.invalid_options("ListOptions", cause)
    _check_match(wanted, match, token)
    if token:
        version, after = _continuation(token)
        try:
            revisions = operations.list_at(served, selection, version)
        except LookupError:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            ) from None
        revisions = [one for one in revisions if one.key > after]
    elif wanted and wanted > operations.store.version:
        raise errors.too_large(wanted, operations.store.version)
    elif wanted and (match == "Exact" or (limit and match is None)):
        version = wanted
        try:
            revisions = operations.list_at(served, selection, version)
        except LookupError:
            raise errors.expired(f"The resourceVersion for the provided list is too old: {version}") from None
    else:
        version = operations.store.version
        revisions = operations.list(served, selection)
    kept = revisions[:limit] if limit else revisions
    return Page(kept, version, len(revisions) - len(kept))


def version_of(text: str | None) -> int | None:
    """Read a resourceVersion from a query; None if there is none."""
    if not text:
        return None
    if not text.isdigit():
        raise errors.bad_request(f'resourceVersion: Invalid value: "{text}": must be a whole number')
    return int(text)


def _check_match(version: int | None, match: str | None, token: str | None) -> None:
    field = "resourceVersionMatch"
    if match is None:
        return
    if version is None:
        detail = f"{field} is forbidden unless resourceVersion is provided"
    elif token:
        detail = f"{field} is forbidden when continue is provided"
    elif match not in ("Exact", "NotOlderThan"):
        cause = errors.not_supported(field, match, ("Exact", "NotOlderThan", ""))
        raise errors.invalid_options("ListOptions", cause)
    elif match == "Exact" and version == 0:
        detail = f'{field} "exact" is forbidden for resourceVersion "0"'
    else:
        return
    raise errors.invalid_options("ListOptions", errors.forbidden_field(field, detail))


def _token(page: Page) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": page.version, "start": page.revisions[-1].key}
    return base64.urlsafe_b64encode(encode(content)).decode().rstrip("=")


def _continuation(token: str) -> tuple[int, Key]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["start"]
        return int(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError):
        raise errors.bad_request("continue key is not valid") from None
