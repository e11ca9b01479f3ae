"""Everything that this package raises on purpose: each error says what happened and what to do about it.

::

    KubeClusterError
    ├── ValidationError (ValueError)            a name or a manifest that Kubernetes would refuse
    ├── ClusterExistsError (ValueError)         CREATE_ONLY, and a cluster of that name exists
    ├── ClusterNotFoundError (ValueError)       CONNECT_ONLY, and no cluster of that name exists
    ├── WorkerGroupNotFoundError (ValueError)   no such group in this cluster
    ├── JupyterNotEnabledError (RuntimeError)   the scheduler runs no Jupyter
    ├── MissingCRDsError (RuntimeError)         the custom resource definitions aren't installed
    ├── CredentialsError (RuntimeError)         neither kubeconfig nor service account
    ├── SchedulerStartupError                   the scheduler's pod can't run, with its logs or the reason
    ├── ResourceTimeoutError (TimeoutError)     something didn't get ready in time
    │   └── ControllerTimeoutError              no controller acts on the cluster
    ├── UnreachableError (ConnectionError)      the API server can't be reached
    └── ApiError                                the API server refused a request
        ├── UnauthorizedError (PermissionError) 401
        ├── ForbiddenError (PermissionError)    403
        ├── NotFoundError (LookupError)         404
        ├── AlreadyExistsError                  409, the name is taken
        ├── ConflictError                       409, the object has changed, or a precondition fails
        ├── GoneError                           410, the resource version is too old
        └── InvalidError (ValueError)           400 and 422, with the fields
"""

from __future__ import annotations

from typing import Any

import dask_k8s_credentials


class KubeClusterError(Exception):
    """Base of all errors of this package."""


class ValidationError(KubeClusterError, ValueError):
    """A name or a manifest that Kubernetes would refuse.

    Attributes
    ----------
    message : str
        What is wrong and what is allowed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ClusterExistsError(KubeClusterError, ValueError):
    """A cluster of that name exists and the create mode is CREATE_ONLY."""


class ClusterNotFoundError(KubeClusterError, ValueError):
    """There is no cluster of that name and the create mode is CONNECT_ONLY."""


class WorkerGroupNotFoundError(KubeClusterError, ValueError):
    """The cluster has no such worker group."""


class JupyterNotEnabledError(KubeClusterError, RuntimeError):
    """The scheduler runs no Jupyter."""


class MissingCRDsError(KubeClusterError, RuntimeError):
    """Dask's custom resource definitions aren't installed."""


class CredentialsError(KubeClusterError, dask_k8s_credentials.CredentialsError):
    """There is neither a usable kubeconfig nor a service account."""


class SchedulerStartupError(KubeClusterError):
    """The scheduler's pod can't run; the message carries its logs or Kubernetes' reason."""


class ResourceTimeoutError(KubeClusterError, TimeoutError):
    """Something didn't get into its expected state in time."""


class ControllerTimeoutError(ResourceTimeoutError):
    """No controller acts on the cluster."""


class UnreachableError(KubeClusterError, ConnectionError):
    """The API server can't be reached."""


class ApiError(KubeClusterError):
    """The API server refused a request.

    Attributes
    ----------
    code : int
        The HTTP status code.
    reason : str
        Kubernetes' machine-readable word, e.g. ``Forbidden``.
    details : dict
        ``Status.details``: kind, name, causes, retryAfterSeconds.
    may_be_done : bool
        Whether the request was repeated, and an earlier attempt may have taken effect.
    """

    may_be_done = False

    def __init__(
        self, message: str, code: int = 0, reason: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}


class UnauthorizedError(ApiError, PermissionError):
    """401: the credentials aren't valid."""


class ForbiddenError(ApiError, PermissionError):
    """403: a rule is missing."""


class NotFoundError(ApiError, LookupError):
    """404."""


class AlreadyExistsError(ApiError):
    """409: the name is taken."""


class ConflictError(ApiError):
    """409: the object has changed meanwhile, or a precondition fails."""


class GoneError(ApiError):
    """410: the resource version is too old to watch from."""


class InvalidError(ApiError, ValueError):
    """400 or 422: the object isn't valid; the message names the fields."""


_BY_CODE: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
}


def api_error(code: int, status: dict[str, Any], fallback: str = "") -> ApiError:
    """Make the error for a ``Status`` object that the API server answered with.

    Parameters
    ----------
    code : int
        The HTTP status code.
    status : dict
        The body, empty if it was no ``Status``.
    fallback : str
        What to say if the body says nothing.
    """
    reason = str(status.get("reason") or "")
    kind = AlreadyExistsError if reason == "AlreadyExists" else _BY_CODE.get(code, ApiError)
    message = str(status.get("message") or fallback or f"The API server answered {code}.")
    return kind(message, code, reason, status.get("details"))


RBAC_REMEDY = """\
A rule like this in a Role (and a RoleBinding to your account) allows it:
  - apiGroups: [kubernetes.dask.org]
    resources: [daskclusters, daskworkergroups, daskworkergroups/scale, daskjobs, daskautoscalers]
    verbs: [get, list, watch, patch, create, delete]
  - apiGroups: [""]
    resources: [pods, pods/status, pods/log, services, events]
    verbs: [get, list, watch]
  - apiGroups: [""]
    resources: [pods/portforward]   # only to connect from outside of Kubernetes
    verbs: [get, create]"""


INSTALL = (
    "`helm install dask-kubernetes-operator ./chart/dask-kubernetes-operator`, or by "
    "`kubectl apply --server-side -f manifests/install.yaml`, in a copy of dask-k8s"
)
"""How the operator is installed."""


def with_remedy(error: KubeClusterError) -> KubeClusterError:
    """Add to an API server's refusal what can be done about it, where that is known."""
    if isinstance(error, ForbiddenError):
        return ForbiddenError(f"{error}\n{RBAC_REMEDY}", error.code, error.reason, error.details)
    if isinstance(error, UnauthorizedError):
        message = f"{error}: the API server doesn't accept these credentials. Does `kubectl get pods` work?"
        return UnauthorizedError(message, error.code, error.reason, error.details)
    return error
