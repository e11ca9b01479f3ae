"""What users import, and what importing costs."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import dask_k8s_client
from dask_k8s_client import KubeCluster, errors


def test_the_names_that_users_import_are_there() -> None:
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


OPTIONS = [
    "name",
    "namespace",
    "image",
    "n_workers",
    "resources",
    "env",
    "worker_command",
    "port_forward_cluster_ip",
    "create_mode",
    "shutdown_on_close",
    "idle_timeout",
    "resource_timeout",
    "scheduler_service_type",
    "custom_cluster_spec",
    "scheduler_forward_port",
    "jupyter",
    "tls",
    "loop",
    "asynchronous",
    "quiet",
]


def test_a_cluster_takes_the_documented_options_by_name_only() -> None:
    *given, rest = inspect.signature(KubeCluster).parameters.values()
    assert [parameter.name for parameter in given] == OPTIONS
    assert {parameter.kind for parameter in given} == {inspect.Parameter.KEYWORD_ONLY}
    assert rest.kind is inspect.Parameter.VAR_KEYWORD
    for name in OPTIONS:
        # Python 3.13 takes the indentation out by itself.
        assert f"\n{name} : " in inspect.cleandoc(str(KubeCluster.__doc__))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("scale", {"n": None, "worker_group": "default"}),
        ("adapt", {"minimum": None, "maximum": None}),
        (
            "add_worker_group",
            {
                "name": None,
                "n_workers": 3,
                "image": None,
                "resources": None,
                "worker_command": None,
                "env": None,
                "custom_spec": None,
            },
        ),
        ("delete_worker_group", {"name": None}),
        ("get_logs", {}),
        ("close", {"timeout": 3600}),
        ("from_name", {"name": None}),
        ("get_client", {}),
        ("wait_for_workers", {"n_workers": None, "timeout": None}),
    ],
)
def test_methods_take_the_documented_parameters_in_their_order(
    method: str, parameters: dict[str, Any]
) -> None:
    found = [
        p for p in inspect.signature(getattr(KubeCluster, method)).parameters.values() if p.name != "self"
    ]
    nothing = inspect.Parameter.empty
    told = [(p.name, None if p.default is nothing else p.default) for p in found]
    assert told[: len(parameters)] == list(parameters.items())
    assert inspect.getdoc(getattr(KubeCluster, method))


@pytest.mark.parametrize(
    "attribute",
    [
        "dashboard_link",
        "jupyter_link",
        "scheduler_address",
        "forwarded_dashboard_port",
        "observed",
        "plan",
        "requested",
        "loop",
        "asynchronous",
        "called_from_running_loop",
        "generate_rich_output",
        "logs",
        "sync",
        "__await__",
        "__enter__",
        "__aenter__",
    ],
)
def test_the_documented_attributes_are_there(attribute: str) -> None:
    assert hasattr(KubeCluster, attribute)


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


def names_below(error: type[errors.KubeClusterError]) -> set[str]:
    ours = [one for one in error.__subclasses__() if one.__module__.startswith("dask_k8s_client.")]
    return {error.__name__}.union(*map(names_below, ours))


def errors_of_the_client() -> list[str]:
    """Return the names of all errors that users may meet, wherever they are defined."""
    for path in Path(dask_k8s_client.__path__[0]).glob("*.py"):
        if path.stem != "__main__":
            importlib.import_module(f"dask_k8s_client.{path.stem}")
    return sorted(names_below(errors.KubeClusterError))


def test_every_error_can_be_imported_from_the_package_and_is_documented() -> None:
    names = errors_of_the_client()
    assert {"NoCertificate", "MigrationError", "TimedOutError"} <= set(names)
    assert set(names) <= set(dask_k8s_client.__all__)
    docs = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in docs] == []
    own = [name for name in names if hasattr(errors, name)]
    assert [name for name in own if name not in str(errors.__doc__)] == []


def test_no_module_of_the_client_imports_aiohttp() -> None:
    package = Path(dask_k8s_client.__path__[0])
    sources = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert [
        name for name, text in sources.items() if "import aiohttp" in text or "from aiohttp" in text
    ] == []


def test_messages_name_our_own_chart() -> None:
    assert "./chart/dask-kubernetes-operator" in errors.INSTALL
    assert (Path(__file__).parents[3] / "chart" / "dask-kubernetes-operator" / "Chart.yaml").exists()
    assert (Path(__file__).parents[3] / "manifests" / "install.yaml").exists()
    package = Path(dask_k8s_client.__path__[0])
    assert [path.name for path in package.rglob("*.py") if "helm.dask.org" in path.read_text()] == []


def test_a_validation_error_has_its_message() -> None:
    assert errors.ValidationError("bad").message == "bad"
