"""Who may ask: the administrator, further clients by name, and service accounts, each with a token.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

ADMIN = "kubernetes-admin"
MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class User:
    """Somebody who has shown a token, and the groups that RBAC knows him by."""

    name: str
    groups: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_master(self) -> bool:
        return MASTERS in self.groups


def user_of(name: str, groups: Iterable[str] = ()) -> User:
    """Return a user with the groups that follow from his name."""
    own = {AUTHENTICATED, *groups}
    if name.startswith(SERVICE_ACCOUNT):
        namespace = name.removeprefix(SERVICE_ACCOUNT).partition(":")[0]
        own |= {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    return User(name, frozenset(own))


class Users:
    """Random tokens, and whose they are."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._tokens: dict[User, str] = {}
        self.admin_token = self.token(ADMIN, (MASTERS,))

    def token(self, name: str, groups: Iterable[str] = ()) -> str:
        """Return a user's token, a new one if there is none yet."""
        user = user_of(name, groups)
        token = self._tokens.get(user)
        if token is None:
            token = self._tokens[user] = secrets.token_urlsafe(32)
            self._users[token] = user
        return token

    def authenticate(self, authorization: str) -> User | None:
        """Return whose token an Authorization header holds."""
        scheme, _, token = authorization.partition(" ")
        # A dictionary's look-up compares hashes first, so its time tells nothing about 256 random bits.
        return self._users.get(token.strip()) if scheme.lower() == "bearer" else None


def service_account(namespace: str, name: str) -> str:
    """Return the name that a service account has as a user."""
    return f"{SERVICE_ACCOUNT}{namespace}:{name}"
