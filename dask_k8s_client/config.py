"""The options of a cluster: what the user gives, else what ``dask.config`` has under ``kubernetes``."""

from __future__ import annotations

import copy
import getpass
import os
import string
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import dask.config
import dask.utils
import yaml

from dask_k8s_client.errors import ValidationError

Json = dict[str, Any]

try:
    _Loader: Any = yaml.CSafeLoader
except AttributeError:  # PyYAML without libyaml
    _Loader = yaml.SafeLoader


def _load_defaults() -> None:
    """Let ``dask.config`` know our defaults."""
    text = Path(__file__).with_name("kubernetes.yaml").read_text(encoding="utf-8")
    dask.config.update_defaults(yaml.load(text, Loader=_Loader))


_load_defaults()


class CreateMode(Enum):
    """What to do about a cluster that exists, or doesn't."""

    CREATE_ONLY = "CREATE_ONLY"
    """Raise ``ValueError`` if a cluster of that name exists."""
    CREATE_OR_CONNECT = "CREATE_OR_CONNECT"
    """Connect to it if it exists, else create it."""
    CONNECT_ONLY = "CONNECT_ONLY"
    """Raise ``ValueError`` if no cluster of that name exists."""


_KEYS = {"n_workers": "count.start", "jupyter": "scheduler-jupyter"}
"""Options that ``dask.config`` calls otherwise; the others differ by their dashes."""


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """All that can be said about a cluster before it exists; the fields are KubeCluster's parameters."""

    name: str
    namespace: str | None
    image: str
    n_workers: int
    resources: Json | None
    env: list[Json] | Json | None
    worker_command: list[str] | str
    port_forward_cluster_ip: bool | None
    create_mode: CreateMode
    shutdown_on_close: bool | None
    idle_timeout: int
    resource_timeout: float
    scheduler_service_type: str
    custom_cluster_spec: Json | None
    scheduler_forward_port: int | None
    jupyter: bool
    tls: bool | Json | None

    @classmethod
    def from_config(cls, **given: Any) -> ClusterOptions:
        """Take what is given and not None, else what ``dask.config`` says; check it and make it uniform.

        Parameters
        ----------
        **given
            KubeCluster's parameters.

        Raises
        ------
        ValidationError
            The name isn't valid, or the manifest isn't a DaskCluster.
        ValueError
            An unknown key in ``resources``, an unknown create mode.
        TypeError
            ``resources`` has values of other types than Kubernetes allows.
        """
        from dask_k8s_models import checked_resources, tls_spec

        # Whoever names a cluster gets this one; a configured manifest then only says what it is like.
        is_named = given.get("name") is not None and given.get("custom_cluster_spec") is None
        values = {
            option: dask.config.get(f"kubernetes.{key}", default=None, override_with=given.get(option))
            for option in cls.__dataclass_fields__
            for key in [_KEYS.get(option, option.replace("_", "-"))]
        }
        values["resources"] = checked_resources(values["resources"])
        values["create_mode"] = _one_of(CreateMode, "create_mode", values["create_mode"])
        if is_named and values["create_mode"] is CreateMode.CONNECT_ONLY:
            values["custom_cluster_spec"] = None
        spec = cluster_manifest(values["custom_cluster_spec"])
        values["custom_cluster_spec"] = spec
        values["name"] = cluster_name(spec["metadata"]["name"] if spec and not is_named else values["name"])
        if spec:
            _rename(spec, values["name"])
            values["namespace"] = values["namespace"] or spec["metadata"].get("namespace")
        values["scheduler_service_type"] = _one_of(
            ServiceType, "scheduler_service_type", values["scheduler_service_type"]
        ).value
        values["scheduler_forward_port"] = _number(values, "scheduler_forward_port") or None
        values["n_workers"] = _number(values, "n_workers")
        values["idle_timeout"] = _number(values, "idle_timeout")
        values["resource_timeout"] = _seconds(values, "resource_timeout")
        values["jupyter"] = bool(values["jupyter"])
        tls_spec(values["tls"])
        return cls(**values)


class ServiceType(Enum):
    """How the scheduler's Service is published."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


_E = TypeVar("_E", bound=Enum)


def _one_of(choices: type[_E], parameter: str, value: Any) -> _E:
    if isinstance(value, choices):
        return value
    for choice in choices:
        if str(value).lower() == str(choice.value).lower():
            return choice
    allowed = ", ".join(str(choice.value) for choice in choices)
    raise ValueError(f"{parameter} is {value!r}, it must be one of {allowed}.")


def _number(values: Mapping[str, Any], parameter: str) -> int:
    """Return a whole number, 0 or more; None is 0."""
    value = values[parameter]
    try:
        number = int(value or 0)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or (isinstance(value, float) and value != number):
        raise ValueError(f"{parameter} is {value!r}, it must be a whole number, 0 or more.")
    return number


def _seconds(values: Mapping[str, Any], parameter: str) -> float:
    value = values[parameter]
    try:
        seconds = float(dask.utils.parse_timedelta(value, "s"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{parameter} is {value!r}, it must be a number of seconds, or a text such as '2 minutes'."
        ) from error
    if seconds <= 0:
        raise ValueError(f"{parameter} is {value!r}, it must be more than 0 seconds.")
    return seconds


def cluster_name(template: str) -> str:
    """Fill in a name's template.

    Parameters
    ----------
    template : str
        A name, or a template with ``{user}``, ``{uuid}`` or environment variables in it.

    Returns
    -------
    str
        A literal name as it is; a filled template made a valid name.

    Raises
    ------
    ValidationError
        A literal name isn't valid, or the template names something that isn't set.
    """
    from dask_k8s_models import names

    fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    if not fields:
        problem = names.problem_with_cluster_name(template)
        if problem:
            raise ValidationError(f"The DaskCluster name {template!r} is invalid: {problem}.")
        return template
    known: Mapping[str, str] = {**os.environ, "user": _user(), "uuid": uuid.uuid4().hex[:10]}
    missing = fields - known.keys()
    if missing:
        raise ValidationError(
            f"The name template {template!r} uses {', '.join(sorted(missing))}, "
            "which is neither user, uuid nor the name of an environment variable."
        )
    return names.valid_name(template.format_map(known))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "user"


def cluster_manifest(spec: Json | str | os.PathLike[str] | None) -> Json | None:
    """Read a DaskCluster manifest, or copy it.

    Raises
    ------
    ValidationError
        It isn't a DaskCluster with a name.
    """
    if not spec:
        return None
    documents: list[Any]
    if isinstance(spec, Mapping):
        documents, source = [copy.deepcopy(dict(spec))], "custom_cluster_spec"
    else:
        source = os.fspath(spec)
        documents = _read_manifest(source)
    clusters = [document for document in documents if isinstance(document, dict) and _is_cluster(document)]
    if len(clusters) != 1:
        kinds = ", ".join(str(d.get("kind")) if isinstance(d, dict) else repr(d)[:40] for d in documents)
        raise ValidationError(
            f"{source} must contain one manifest of kind DaskCluster, it contains: {kinds or 'none'}."
        )
    metadata = clusters[0].get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise ValidationError(f"{source}: metadata.name is missing.")
    return clusters[0]


def _read_manifest(path: str) -> list[Any]:
    from dask_k8s_models import manifests

    try:
        return [document.content for document in manifests.documents(Path(path).read_text(encoding="utf-8"))]
    except manifests.ManifestError as error:
        raise ValidationError(f"{path}: {error}") from error


def _rename(cluster: Json, name: str) -> None:
    """Give a manifest another name; the selector that builders write names the cluster as well."""
    from dask_k8s_models import labels

    former, cluster["metadata"]["name"] = cluster["metadata"]["name"], name
    with suppress(KeyError, TypeError):  # What isn't valid is told later, with its field.
        selector = cluster["spec"]["scheduler"]["service"]["selector"]
        if selector == labels.scheduler(former):
            selector |= labels.scheduler(name)


def _is_cluster(document: Json) -> bool:
    return document.get("kind") == "DaskCluster"
