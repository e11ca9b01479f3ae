"""``dask kubernetes gen``: manifests on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    # Generic since click 8.4 only.
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType


class JsonObject(_ParamType):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it."""
        if isinstance(value, dict):
            return value
        try:
            parsed = json.loads(value)
        except ValueError as error:
            self.fail(
                f'{value!r} is no JSON: {error}. Example: \'{{"limits": {{"memory": "2Gi"}}}}\'', param, ctx
            )
        if not isinstance(parsed, dict):
            self.fail(
                f'{value!r} is no JSON object. Example: \'{{"limits": {{"memory": "2Gi"}}}}\'', param, ctx
            )
        return parsed


class Variable(_ParamType):
    """A variable of the environment, NAME=VALUE."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split it at the first equals sign."""
        if isinstance(value, tuple):
            return value
        key, separator, content = value.partition("=")
        if not separator or not key:
            self.fail(f"{value!r} isn't of the form NAME=VALUE.", param, ctx)
        return key, content


def worker_options(command: F) -> F:
    """Add the options that describe workers."""
    for option in (
        click.option("--worker-command", help="Command that starts a worker; `dask worker` by default."),
        click.option(
            "-e", "--env", type=Variable(), multiple=True, help="Variable of the environment; repeatable."
        ),
        click.option("--resources", type=JsonObject(), help="Requests and limits as JSON."),
        click.option(
            "--n-workers", type=click.IntRange(min=0), default=3, show_default=True, help="Workers."
        ),
        click.option("--image", help="Image; ghcr.io/dask/dask:latest by default."),
    ):
        command = option(command)
    return command


@click.group()
def gen() -> None:
    """Generate manifests for `kubectl apply -f -`."""


@gen.command()
@click.option("--name", required=True, help="Name of the cluster.")
@worker_options
@click.option(
    "--scheduler-service-type",
    type=click.Choice(["ClusterIP", "NodePort", "LoadBalancer"]),
    help="Type of the scheduler's Service; ClusterIP by default.",
)
@click.option("--idle-timeout", type=click.IntRange(min=0), help="Delete it after so many idle seconds.")
@click.option("--jupyter", is_flag=True, help="Run a Jupyter server on the scheduler.")
def cluster(**given: Any) -> None:
    """Generate a DaskCluster."""
    from dask_k8s_models import make_cluster_spec

    _print(make_cluster_spec, given)


@gen.command("worker-group")
@click.option("--cluster", "cluster_name", required=True, help="Name of the cluster that the workers join.")
@click.option("--name", required=True, help="Name of the group within its cluster.")
@worker_options
def worker_group(**given: Any) -> None:
    """Generate a DaskWorkerGroup."""
    from dask_k8s_models import make_worker_group_spec

    _print(make_worker_group_spec, given)


@gen.command(context_settings={"ignore_unknown_options": True}, short_help="Generate a DaskJob.")
@click.option("--name", required=True, help="Name of the job, and of the cluster made for it.")
@worker_options
@click.argument("command", nargs=-1, required=True)
def job(command: tuple[str, ...], **given: Any) -> None:
    """Generate a DaskJob that runs COMMAND, e.g. `python train.py`."""
    from dask_k8s_models import make_job_spec

    _print(make_job_spec, {**given, "command": list(command)})


@gen.command()
@click.option("--cluster", "cluster_name", required=True, help="Name of the cluster to scale.")
@click.option(
    "--minimum", type=click.IntRange(min=0), default=0, show_default=True, help="Never fewer workers."
)
@click.option("--maximum", type=click.IntRange(min=0), help="Never more workers; unbounded by default.")
@click.option("--worker-group", help="The group to scale; the default one by default.")
def autoscaler(**given: Any) -> None:
    """Generate a DaskAutoscaler."""
    from dask_k8s_models import make_autoscaler_spec

    _print(make_autoscaler_spec, given)


def _print(make: Callable[..., dict[str, Any]], given: dict[str, Any]) -> None:
    """Print what a builder makes; refuse what the API server would refuse."""
    from dask_k8s_models.validate import Severity, validate_documents
    from dask_k8s_models.yaml_dialect import to_yaml

    if "env" in given:
        given["env"] = dict(given["env"]) or None
    try:
        text = to_yaml(make(**{key: value for key, value in given.items() if value is not None}))
    except (TypeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for problem in validate_documents(text):
        is_named = not problem.field or problem.message.startswith(problem.field)
        message = problem.message if is_named else f"{problem.field}: {problem.message}"
        if problem.severity is Severity.ERROR:
            raise click.ClickException(message)
        click.echo(f"{problem.severity}: {message}", err=True)
    click.echo(text, nl=False)
