"""ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.strategy import Strategy
from dask_k8s_local.interfaces import Object

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_LIMIT = 1024 * 1024


class DataStrategy(Strategy):
    """What ConfigMaps and Secrets have in common."""

    def validate(self, body: Object) -> Sequence[Cause]:
        return list(self._problems(body))

    def _problems(self, body: Object) -> Iterator[Cause]:
        total = 0
        for part in ("data", "binaryData"):
            for key, value in (body.get(part) or {}).items():
                total += len(value)
                if key == "." or key.startswith(".."):
                    word = "be" if key in (".", "..") else "start with"
                    detail = f"must not {word} '{key[:2]}'"
                    yield errors.invalid_value(f"{part}[{key}]", key, detail)
                elif not _KEY.fullmatch(key) or len(key) > 253:
                    yield errors.invalid_value(
                        f"{part}[{key}]",
                        key,
                        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
                        "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                        f"'{_KEY.pattern}')",
                    )
        for key in (body.get("data") or {}).keys() & (body.get("binaryData") or {}).keys():
            yield errors.invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
        if total > _LIMIT:
            yield errors.too_long("data", _LIMIT)

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        if not old.get("immutable"):
            return ()
        return [
            errors.forbidden_field(key, "field is immutable when `immutable` is set")
            for key in ("immutable", "data", "binaryData")
            if new.get(key) != old.get(key)
        ]


class SecretStrategy(DataStrategy):
    """https://kubernetes.io/docs/concepts/configuration/secret/"""

    def default(self, body: Object) -> None:
        body.setdefault("type", "Opaque")
        for key, value in body.pop("stringData", {}).items():
            body.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()

    def _problems(self, body: Object) -> Iterator[Cause]:
        yield from super()._problems(body)
        for key, value in (body.get("data") or {}).items():
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                yield errors.invalid_value(f"data[{key}]", "<secret contents redacted>", "must be base64")

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        causes = list(super().validate_update(new, old))
        if new.get("type") != old.get("type"):
            causes.append(errors.invalid_value("type", new.get("type"), "field is immutable"))
        return causes
