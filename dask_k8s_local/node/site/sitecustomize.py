"""Shows a Python process of a pod the pod's network and files, on a machine that all pods share.

First on a container's PYTHONPATH. Every interpreter imports it at its start, so it imports little and must
not break a process: what fails here is told on the standard error, and the process goes on without it.

- Wildcard and loopback addresses that a process binds, and loopback addresses that it connects to, become the
  pod's.
- ``{service}``, ``{service}.{namespace}`` with or without ``.svc…``, and the host names of pods resolve.
- Connections to a Service's address go to one of its ready endpoints, and come from the pod's address.
- The host name is the pod's.
- Mounted paths are found, where the machine offers no namespaces to mount them in.
"""

import os
import sys

_INSTALLED = {"_POD_NETWORK": "_pod_network", "_POD_PATHS": "_pod_paths"}
"""Modules by the variable that says what they need to know."""


def _complain(what: str, error: Exception) -> None:
    print(f"in a pod of the local Kubernetes: {what}: {type(error).__name__}: {error}", file=sys.stderr)


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


def _install(module: str, facts: str) -> None:
    try:
        __import__(module).install(facts)
    except Exception as error:
        _complain(f"{module} is not installed", error)


for _variable, _module in _INSTALLED.items():
    if _variable in os.environ:
        _install(_module, os.environ[_variable])
_chain()
