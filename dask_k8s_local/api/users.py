"""Who may ask: the administrator, further clients by name, and service accounts, each with a token."""

from __future__ import annotations

import secrets

ADMIN = "kubernetes-admin"


class Users:
    """Random tokens, and whose they are."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self.admin_token = self.token(ADMIN)

    def token(self, user: str) -> str:
        """Return a user's token, a new one if there is none yet."""
        token = self._tokens.get(user)
        if token is None:
            token = self._tokens[user] = secrets.token_urlsafe(32)
            self._names[token] = user
        return token

    def token_of_service_account(self, namespace: str, name: str) -> str:
        return self.token(f"system:serviceaccount:{namespace}:{name}")

    def authenticate(self, authorization: str) -> str | None:
        """Return whose token an Authorization header holds."""
        scheme, _, token = authorization.partition(" ")
        # A dictionary's look-up compares hashes first, so its time tells nothing about 256 random bits.
        return self._names.get(token.strip()) if scheme.lower() == "bearer" else None
