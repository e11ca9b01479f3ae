"""What users import, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dask_k8s_client
from dask_k8s_client import errors


def test_the_contracts_names_are_there() -> None:
    expected = {
        "KubeCluster",
        "CreateMode",
        "discover",
        "make_cluster_spec",
        "make_worker_spec",
        "make_scheduler_spec",
    }
    assert expected <= set(dask_k8s_client.__all__)
    assert expected <= set(dir(dask_k8s_client))


@pytest.mark.parametrize("name", dask_k8s_client.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(dask_k8s_client, name).__name__ == name


def test_other_names_cannot() -> None:
    with pytest.raises(AttributeError, match="no attribute 'KubeClutser'"):
        _ = dask_k8s_client.KubeClutser


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ValidationError, ValueError),
        (errors.ClusterExistsError, ValueError),
        (errors.ClusterNotFoundError, ValueError),
        (errors.WorkerGroupNotFoundError, ValueError),
        (errors.MissingCRDsError, RuntimeError),
        (errors.JupyterNotEnabledError, RuntimeError),
        (errors.ControllerTimeoutError, TimeoutError),
        (errors.ForbiddenError, PermissionError),
        (errors.UnreachableError, ConnectionError),
    ],
)
def test_errors_are_also_what_python_calls_them(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, errors.KubeClusterError)


def test_a_validation_error_has_its_message() -> None:
    assert errors.ValidationError("bad").message == "bad"


def test_the_command_line_is_light() -> None:
    heavy = {"distributed", "kr8s", "pydantic", "aiohttp", "kopf", "asyncio", "dask_k8s_models"}
    program = (
        "import sys, dask.cli; before = set(sys.modules); import dask_k8s_client.cli; "
        f"print(sorted((set(sys.modules) - before) & {heavy!r}))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_importing_the_package_sets_the_defaults() -> None:
    program = "import dask.config, dask_k8s_client; print(dask.config.get('kubernetes.resource-timeout'))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "60"
