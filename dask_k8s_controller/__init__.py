"""The controller: makes Dask clusters what their ``DaskCluster`` says, and keeps them so.

``python -m dask_k8s_controller`` runs it, and so does ``kopf run -m dask_k8s_controller``. Importing this
package does nothing else: `register` adds the handlers of the controller and its plugins to a registry.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import kopf

__all__ = ["register"]


def register(registry: kopf.OperatorRegistry | None = None) -> None:
    """Register the controller's handlers and load its plugins.

    Parameters
    ----------
    registry : kopf.OperatorRegistry, optional
        Where to; kopf's default registry, where ``kopf run`` finds them, by default.
    """
    from dask_k8s_controller.operator import Operator
    from dask_k8s_controller.settings import Settings
    from dask_k8s_controller.watching.handlers import register_handlers
    from dask_k8s_controller.watching.plugins import load_plugins

    register_handlers(registry, lambda: Operator(Settings.from_config()))
    load_plugins()


def _is_loaded_by_kopf_run() -> bool:
    """Whether ``kopf run --module`` imports this package, in order to have its handlers."""
    cli = sys.modules.get("kopf.cli")
    if cli is None:
        return False
    import click

    context = click.get_current_context(silent=True)
    return context is not None and context.command is cli.run


if _is_loaded_by_kopf_run():
    register()
