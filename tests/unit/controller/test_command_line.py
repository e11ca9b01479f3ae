"""The controller's command line."""

from __future__ import annotations

import getpass
import socket
from typing import Any

import kopf.cli
import pytest
from kopf._core.engines.peering import detect_own_id

from dask_k8s_controller.watching.command_line import run


def test_its_user_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("No username set in the environment")

    identities: list[str] = []

    def run_kopf(**_: Any) -> None:
        identities.append(detect_own_id(manual=False))

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(kopf.cli.run, "callback", run_kopf)
    monkeypatch.setenv("POD_ID", "to be put back")
    monkeypatch.delenv("POD_ID")
    with pytest.raises(SystemExit, match="0"):
        run(["--all-namespaces"])
    assert identities == [socket.gethostname()]
