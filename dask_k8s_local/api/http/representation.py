"""How objects look to a client: as they are, as metadata only, or as a Table."""

from __future__ import annotations

from collections.abc import Iterable

import yaml
from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.storage.store import Event, Revision, encode
from dask_k8s_local.api.tables.rows import cells, columns
from dask_k8s_local.interfaces import EventType, Object

_META_V1 = "meta.k8s.io/v1"


class Representation:
    """Objects of a resource in the form that a request's Accept header asks for."""

    media_type = "application/json"
    list_kind: str
    api_version: str

    def __init__(self, served: Served) -> None:
        self.served = served
        self.list_kind = served.resource.list_kind
        self.api_version = served.resource.api_version

    def one(self, revision: Revision) -> bytes:
        body = revision.object
        if body["apiVersion"] == self.served.resource.api_version:
            return revision.encoded
        return encode(self.view(body))

    def view(self, body: Object) -> Object:
        """Return the object in the version that was asked for."""
        if self.served.alias:
            return self.served.alias.from_stored(body)
        return {**body, "apiVersion": self.served.resource.api_version}

    def many(self, revisions: Iterable[Revision], metadata: Object) -> bytes:
        head = encode({"kind": self.list_kind, "apiVersion": self.api_version, "metadata": metadata})
        return head[:-1] + b',"items":[' + b",".join(self.one(one) for one in revisions) + b"]}"

    def event(self, type_: EventType, event: Event) -> bytes:
        """Return a line of a watch."""
        if event.now.object["apiVersion"] == self.served.resource.api_version:
            return event.line(type_)
        return _line(type_, encode(self.view(event.object(type_)[0])))

    def bookmark(self, metadata: Object) -> bytes:
        resource = self.served.resource
        body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return _line("BOOKMARK", encode(body))


def _line(type_: str, body: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), body)


class PartialMetadata(Representation):
    """Nothing but the metadata."""

    def __init__(self, served: Served) -> None:
        super().__init__(served)
        self.list_kind = "PartialObjectMetadataList"
        self.api_version = _META_V1

    def one(self, revision: Revision) -> bytes:
        return encode(self.view(revision.object))

    def view(self, body: Object) -> Object:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": _META_V1,
            "metadata": body["metadata"],
        }

    def event(self, type_: EventType, event: Event) -> bytes:
        return _line(type_, encode(self.view(event.object(type_)[0])))

    def bookmark(self, metadata: Object) -> bytes:
        return _line("BOOKMARK", encode(self.view({"metadata": metadata})))


class Yaml(Representation):
    """As they are, but in YAML."""

    media_type = "application/yaml"

    def one(self, revision: Revision) -> bytes:
        return _yaml(self.view(revision.object))

    def many(self, revisions: Iterable[Revision], metadata: Object) -> bytes:
        items = [self.view(one.object) for one in revisions]
        body = {"kind": self.list_kind, "apiVersion": self.api_version, "metadata": metadata}
        return _yaml({**body, "items": items})

    def event(self, type_: EventType, event: Event) -> bytes:
        raise errors.not_acceptable()


def _yaml(body: Object) -> bytes:
    text: str = yaml.safe_dump(body, allow_unicode=True, sort_keys=True)
    return text.encode()


class Table(Representation):
    """Rows, as ``kubectl get`` prints them."""

    def __init__(self, served: Served, include_object: str) -> None:
        super().__init__(served)
        self._include = include_object
        self._sends_columns = True

    def _rows(self, bodies: Iterable[Object]) -> list[Object]:
        rows = []
        for body in bodies:
            row: Object = {"cells": cells(self.served.stored, body)}
            if self._include == "Object":
                row["object"] = super().view(body)
            elif self._include != "None":
                row["object"] = PartialMetadata(self.served).view(body)
            rows.append(row)
        return rows

    def _table(self, bodies: Iterable[Object], metadata: Object) -> Object:
        shown = columns(self.served.stored)
        return {
            "kind": "Table",
            "apiVersion": _META_V1,
            "metadata": metadata,
            "columnDefinitions": [column.definition for column in shown],
            "rows": self._rows(bodies),
        }

    def one(self, revision: Revision) -> bytes:
        body = revision.object
        return encode(self._table([body], {"resourceVersion": body["metadata"]["resourceVersion"]}))

    def many(self, revisions: Iterable[Revision], metadata: Object) -> bytes:
        return encode(self._table((one.object for one in revisions), metadata))

    def event(self, type_: EventType, event: Event) -> bytes:
        body, _ = event.object(type_)
        table = self._table([body], {"resourceVersion": body["metadata"]["resourceVersion"]})
        if not self._sends_columns:
            table["columnDefinitions"] = None
        self._sends_columns = False
        return _line(type_, encode(table))

    def bookmark(self, metadata: Object) -> bytes:
        table = self._table([], {"resourceVersion": metadata["resourceVersion"]})
        table["rows"] = [{"cells": [], "object": PartialMetadata(self.served).view({"metadata": metadata})}]
        return _line("BOOKMARK", encode(table))


def representation(request: web.BaseRequest, served: Served) -> Representation:
    """Choose the first form of the Accept header that there is."""
    accept = request.headers.get("Accept", "")
    # Only custom resources understand half a wildcard.
    json_types = ("application/json", "*/*", *(("application/*",) if served.resource.custom else ()))
    for clause in accept.split(",") if accept else ("application/json",):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media_type == "application/yaml":
            return Yaml(served)
        if media_type not in json_types:
            continue
        kind = options.get("as")
        if kind is None:
            return Representation(served)
        if options.get("g") != "meta.k8s.io" or options.get("v") not in ("v1", "v1beta1"):
            continue
        if kind == "Table":
            return Table(served, request.query.get("includeObject", "Metadata"))
        if kind in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return PartialMetadata(served)
    raise errors.not_acceptable()


def raw_response(body: bytes, code: int = 200, media_type: str = "application/json") -> web.Response:
    return web.Response(body=body, status=code, content_type=media_type)


def json_response(body: Object, code: int = 200) -> web.Response:
    return raw_response(encode(body), code)
