"""Shows a Python process of a pod the pod's network, on a machine that all pods share.

First on a container's PYTHONPATH. Every interpreter imports it at its start, so it imports little and must
not break a process: what fails here is told on the standard error, and the process goes on without it.

- Wildcard and loopback addresses that a process binds, and loopback addresses that it connects to, become the
  pod's.
- ``{service}``, ``{service}.{namespace}`` with or without ``.svc…``, and the host names of pods resolve.
- Connections to a Service's address go to one of its ready endpoints, and come from the pod's address.
- The host name is the pod's.
"""

import os
import sys

_VARIABLE = "_POD_NETWORK"


def _complain(what: str, error: Exception) -> None:
    print(f"the pod's network: {what}: {type(error).__name__}: {error}", file=sys.stderr)


def _chain() -> None:
    """Import the sitecustomize that this one hides, if there is any."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.path[:]
    this = sys.modules.pop("sitecustomize", None)
    sys.path[:] = [entry for entry in path if os.path.abspath(entry or ".") != here]
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            _complain("sitecustomize", error)
    except Exception as error:
        _complain("sitecustomize", error)
    finally:
        if this is not None:
            sys.modules.setdefault("sitecustomize", this)


def _install() -> None:
    import _pod_network  # type: ignore[import-not-found]

    _pod_network.install(os.environ[_VARIABLE])


if _VARIABLE in os.environ:
    try:
        _install()
    except Exception as error:
        _complain("not installed", error)
_chain()
