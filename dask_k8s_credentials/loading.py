"""Find credentials: the kubeconfig if there is one, else the pod's service account."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dask_k8s_credentials import kubeconfig as kubeconfigs
from dask_k8s_credentials import tls
from dask_k8s_credentials.errors import CredentialsError
from dask_k8s_credentials.model import Credentials

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def load(kubeconfig: str | os.PathLike[str] | None = None, context: str | None = None) -> Credentials:
    """Find credentials as kubectl does: the kubeconfig if there is one, else the pod's service account.

    Parameters
    ----------
    kubeconfig : path, optional
        Instead of the environment variable ``KUBECONFIG`` or ``~/.kube/config``.
    context : str, optional
        Instead of the kubeconfig's current context.

    Returns
    -------
    Credentials
        As they are now; load them again when they are refused.

    Raises
    ------
    CredentialsError
        There are none, or they can't be read; the message says which file or entry.
    """
    try:
        return _load(kubeconfig, context)
    except (OSError, ValueError) as error:
        # A file may go or change between two looks at it, as tokens do.
        raise CredentialsError(f"The credentials can't be read: {error}") from error


def _load(kubeconfig: str | os.PathLike[str] | None, context: str | None) -> Credentials:
    paths = _paths(kubeconfig)
    merged = kubeconfigs.merged([path for path in paths if path.is_file()])
    if merged["contexts"] or merged["clusters"]:
        return kubeconfigs.credentials(merged, context)
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").exists():
        return _service_account()
    looked_at = ", ".join(f"{path}{' (which is empty)' if path.is_file() else ''}" for path in paths)
    raise CredentialsError(
        f"No Kubernetes credentials: there is no kubeconfig at {looked_at}"
        f"{'' if kubeconfig else ', and no pod has given us a service account'}. "
        "Set KUBECONFIG to your cluster's file (`kubectl config view` shows what kubectl uses), "
        "or start a local Kubernetes with `dask kubernetes local up --kubeconfig FILE`."
    )


def _paths(given: str | os.PathLike[str] | None) -> list[Path]:
    text = os.fspath(given) if given else os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [Path(part).expanduser() for part in text.split(os.pathsep) if part]


def _service_account() -> Credentials:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    namespace = "default"
    with suppress(OSError):
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip() or namespace
    authority = SERVICE_ACCOUNT / "ca.crt"
    return Credentials(
        server=f"https://{host}:{port}",
        namespace=namespace,
        in_cluster=True,
        headers=(("Authorization", f"Bearer {(SERVICE_ACCOUNT / 'token').read_text().strip()}"),),
        ssl_context=tls.context(authority.read_bytes() if authority.exists() else None),
    )
