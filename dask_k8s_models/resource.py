"""What our four kinds have in common: group, version, metadata, conditions, how ``kubectl`` shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from dask_k8s_models import names
from dask_k8s_models._kubernetes import ObjectMeta
from dask_k8s_models.base import KubernetesModel, RuledModel
from dask_k8s_models.markers import ListMap, Rule
from dask_k8s_models.metadata import LABEL_VALUE_PATTERN
from dask_k8s_models.scalars import Int64, Time

GROUP = "kubernetes.dask.org"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

ClusterName = Annotated[
    str, Field(min_length=1, max_length=names.MAX_CLUSTER_NAME_LENGTH, pattern=names.CLUSTER_NAME_PATTERN)
]
GroupName = Annotated[str, Field(min_length=1, max_length=names.MAX_NAME_LENGTH, pattern=names.NAME_PATTERN)]

LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]


class Metadata(KubernetesModel):
    """Labels and annotations for the children that a part of a spec describes."""

    labels: Annotated[
        dict[str, LabelValue] | None,
        Field(description="Labels of the objects made from here. They win over those of the object itself."),
    ] = None
    annotations: Annotated[
        dict[str, str] | None,
        Field(
            description="Annotations of the objects made from here. They win over those of the object itself."
        ),
    ] = None
    creationTimestamp: Annotated[
        Time | None, Field(description="Ignored; tools that write pod templates leave it as null.")
    ] = None


class Condition(KubernetesModel):
    """One aspect of an object's state: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(description="Name of the condition, e.g. Ready.", max_length=316)]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether the condition holds.")]
    observedGeneration: Annotated[
        Int64 | None, Field(description="The metadata.generation that this was found for.")
    ] = None
    lastTransitionTime: Annotated[Time | None, Field(description="When the status changed last.")] = None
    reason: Annotated[str | None, Field(description="The reason in one CamelCase word.")] = None
    message: Annotated[str | None, Field(description="The reason for people.")] = None


class Status(RuledModel):
    """What every status has. Fields that the controller doesn't know, such as a plugin's, stay."""

    model_config = ConfigDict(extra="allow")

    observedGeneration: Annotated[
        Int64 | None, Field(description="The metadata.generation that this status speaks about.")
    ] = None
    conditions: Annotated[
        list[Condition] | None,
        ListMap("type"),
        Field(description="What is true and why: Ready, Reconciling, Stalled and more."),
    ] = None


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``; with priority 1 only in ``-o wide``."""

    name: str
    type: Literal["string", "integer", "date"]
    path: str
    description: str = ""
    priority: int = 0


AGE = Column("Age", "date", ".metadata.creationTimestamp")


@dataclass(frozen=True)
class ResourceNames:
    """How a kind appears in URLs and in ``kubectl``."""

    plural: str
    singular: str
    short: tuple[str, ...]
    columns: tuple[Column, ...]
    is_scaled: bool = False
    """Whether it has the scale subresource, at ``spec.worker.replicas``."""


class Resource(RuledModel):
    """A custom resource of ours, as it stands in a manifest or comes from the API server.

    ``null`` means absent, everywhere.
    """

    resource_names: ClassVar[ResourceNames]

    apiVersion: Literal["kubernetes.dask.org/v1"] = "kubernetes.dask.org/v1"
    kind: str
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        """``metadata.name``, empty while there is only ``generateName``."""
        return self.metadata.name or ""

    @property
    def namespace(self) -> str:
        """``metadata.namespace``, empty if the manifest leaves it open."""
        return self.metadata.namespace or ""

    def to_dict(self) -> dict[str, Any]:
        """Return the object as it is written in YAML: only what was set, in the order of the models."""
        head = {"apiVersion": self.apiVersion, "kind": self.kind}
        return head | self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def name_rule(problem: Callable[[str], str | None], pattern: str, max_length: int, message: str) -> Rule:
    """Return the rule about ``metadata.name``.

    Of metadata, CEL sees only name and generateName; a generated name is checked when it is complete.
    """

    def holds(resource: Resource) -> bool:
        metadata = resource.metadata
        if metadata.name is not None:
            return problem(metadata.name) is None
        return bool(metadata.generateName) and problem(f"{metadata.generateName}12345") is None

    return Rule(
        cel=f"size(self.metadata.name) <= {max_length} && self.metadata.name.matches('{pattern}')",
        message=message,
        holds=holds,
        field="metadata.name",
    )


CLUSTER_NAME_RULE = name_rule(
    names.problem_with_cluster_name,
    names.CLUSTER_NAME_PATTERN,
    names.MAX_CLUSTER_NAME_LENGTH,
    names.CLUSTER_NAME_MESSAGE,
)
NAME_RULE = name_rule(names.problem_with_name, names.NAME_PATTERN, names.MAX_NAME_LENGTH, names.NAME_MESSAGE)


def problem_with_name_in(model: type[Resource], content: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the name of an object in which other things may be wrong as well.

    Parameters
    ----------
    model : type of Resource
        The model of the object's kind.
    content : mapping
        The object as it was written.

    Returns
    -------
    str or None
        None if the name is valid, or if metadata isn't what it should be at all.
    """
    metadata = content.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    given = {key: metadata[key] for key in ("name", "generateName") if isinstance(metadata.get(key), str)}
    resource = model.model_construct(kind=model.__name__, metadata=ObjectMeta.model_construct(**given))
    rules = [rule for rule in model.rules if rule.field == "metadata.name"]
    return next((rule.message for rule in rules if not rule.holds(resource)), None)
