"""Names and labels: what Kubernetes allows, and how it says that it doesn't.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import re
import secrets

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_LABEL_RE, _SUBDOMAIN_RE, _DNS_1035_RE, _QUALIFIED_RE, _LABEL_VALUE_RE = (
    re.compile(pattern) for pattern in (_LABEL, _SUBDOMAIN, _DNS_1035, _QUALIFIED, _LABEL_VALUE)
)
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def label_problem(value: str) -> str | None:
    """Return why a value is no DNS label (RFC 1123), None if it is one."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if _LABEL_RE.fullmatch(value):
        return None
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
        "validation is "
        f"'{_LABEL}')"
    )


def subdomain_problem(value: str) -> str | None:
    if len(value) > 253:
        return "must be no more than 253 characters"
    if _SUBDOMAIN_RE.fullmatch(value):
        return None
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
        "validation is "
        f"'{_SUBDOMAIN}')"
    )


def dns_1035_problem(value: str) -> str | None:
    if len(value) > 63:
        return "must be no more than 63 characters"
    if _DNS_1035_RE.fullmatch(value):
        return None
    return (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
        "regex used for "
        f"validation is '{_DNS_1035}')"
    )


def path_segment_problem(value: str) -> str | None:
    """Judge the names of roles and bindings, which may hold nearly anything."""
    if value in (".", ".."):
        return f"may not be '{value}'"
    for letter in "/%":
        if letter in value:
            return f"may not contain '{letter}'"
    return None


def qualified_name_problem(value: str) -> str | None:
    """Return why a value is no key of a label or annotation."""
    prefix, slash, name = value.rpartition("/")
    if slash:
        if not prefix:
            return "prefix part must be non-empty"
        if problem := subdomain_problem(prefix):
            return f"prefix part {problem}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    if _QUALIFIED_RE.fullmatch(name):
        return None
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        f"'{_QUALIFIED}')"
    )


def label_value_problem(value: str) -> str | None:
    if len(value) > 63:
        return "must be no more than 63 characters"
    if _LABEL_VALUE_RE.fullmatch(value):
        return None
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
        "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
        "regex "
        f"used for validation is '{_LABEL_VALUE}')"
    )


def generated(prefix: str) -> str:
    """Return a name that begins with ``generateName``, shortened as Kubernetes does it."""
    return prefix[:58] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
