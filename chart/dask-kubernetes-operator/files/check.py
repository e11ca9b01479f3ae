"""What ``helm test`` runs with the operator's account: Dask's kinds can be listed, and an operator acts."""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KINDS = ("daskautoscalers", "daskclusters", "daskjobs", "daskworkergroups")
PATIENCE = 30
"""Seconds in which a Lease is renewed several times."""


def get(path: str) -> Any:
    """Ask the API server, and end with what it says if that is no."""
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    token = (ACCOUNT / "token").read_text()
    request = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {token}"})
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, context=trusted, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"GET {path}: {error.code} {error.read().decode(errors='replace')}")


def check_rights(namespaces: list[str]) -> None:
    for part in [f"namespaces/{name}/" for name in namespaces] or [""]:
        for kind in KINDS:
            get(f"/apis/kubernetes.dask.org/v1/{part}{kind}?limit=1")
    print(f"The operator may list {', '.join(KINDS)} in {', '.join(namespaces) or 'all namespaces'}.")


def check_leader(lease: str) -> None:
    """Wait until the Lease is renewed: who holds it has then acted just now, whatever clocks say."""
    first = get(lease)["spec"].get("renewTime")
    end = time.monotonic() + PATIENCE
    while (found := get(lease)["spec"]).get("renewTime") == first:
        if time.monotonic() > end:
            sys.exit(f"No operator has renewed its Lease for {PATIENCE} seconds: is one running?")
        time.sleep(1)
    print(f"The operator {found['holderIdentity']} acts.")


if __name__ == "__main__":
    check_rights(sys.argv[1:])
    if os.environ.get("LEASE"):
        check_leader(os.environ["LEASE"])
