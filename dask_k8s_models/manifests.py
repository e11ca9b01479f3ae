"""Read manifests: YAML of one or more documents, with the place of every value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from dask_k8s_models.kinds import KINDS
from dask_k8s_models.resource import API_VERSION, GROUP, Resource
from dask_k8s_models.yaml_dialect import Loader, key_text

Json = dict[str, Any]
Path = tuple[str | int, ...]

BOM = "\ufeff"

MAX_VALUES = 100_000
"""Nobody writes more: aliases of aliases do."""


class ManifestError(ValueError):
    """A manifest that is no YAML, or whose documents aren't objects.

    Parameters
    ----------
    message : str
        What is wrong.
    line : int
        Where, counted from 1.
    field : str
        Which field, if one is to blame.
    """

    def __init__(self, message: str, line: int, field: str = "") -> None:
        super().__init__(f"line {line}: {message}")
        self.message = message
        self.line = line
        self.field = field


@dataclass
class Document:
    """One document of a manifest.

    Parameters
    ----------
    line : int
        The line it begins on, counted from 1.
    content : Any
        What it says.
    lines : dict
        The line of each key and list item, by its path.
    duplicates : list
        Paths of keys that are there twice; the latter counts.
    """

    line: int
    content: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    duplicates: list[Path] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """Return the line of a value, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


def documents(text: str) -> Iterator[Document]:
    """Yield the documents of a manifest that aren't empty.

    Parameters
    ----------
    text : str
        YAML or JSON.

    Raises
    ------
    ManifestError
        If the text is no YAML.
    """
    loader = Loader(text.removeprefix(BOM))
    try:
        while loader.check_node():
            if (node := loader.get_node()) is None:
                continue
            document = Document(line=node.start_mark.line + 1)
            _remember_lines(document, node, (), frozenset())
            document.content = loader.construct_document(node)
            if document.content is not None:
                yield document
    except ManifestError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ManifestError(str(error.problem or error.context), mark.line + 1 if mark else 1) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ManifestError(str(error), 1) from error
    finally:
        loader.dispose()


def _remember_lines(document: Document, node: yaml.Node, path: Path, around: frozenset[int]) -> None:
    line = node.start_mark.line + 1
    if id(node) in around:
        raise ManifestError("an anchor contains itself", line)
    if len(document.lines) > MAX_VALUES:
        raise ManifestError(f"more than {MAX_VALUES:,} values in one document", line)
    document.lines.setdefault(path, line)
    around |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = (*path, key_text(key.value))
            if inside in document.lines:
                document.duplicates.append(inside)
            document.lines[inside] = key.start_mark.line + 1
            _remember_lines(document, value, inside, around)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _remember_lines(document, item, (*path, index), around)


def is_ours(content: Any) -> bool:
    """Whether a document is of our group, in whatever version."""
    return isinstance(content, dict) and str(content.get("apiVersion", "")).partition("/")[0] == GROUP


def parse_manifest(text: str) -> list[Resource]:
    """Read the objects of our kinds from YAML or JSON of any number of documents.

    Parameters
    ----------
    text : str
        The manifest. Documents of other groups, e.g. a Namespace, are passed over; a ``List`` is opened.

    Returns
    -------
    list of Resource
        DaskCluster, DaskWorkerGroup, DaskJob and DaskAutoscaler objects, in their order.

    Raises
    ------
    ManifestError
        If it is no YAML, or an object of our group has an unknown kind or version.
    pydantic.ValidationError
        If an object of ours breaks its schema or a rule.
    """
    found = []
    for document in documents(text):
        for content, _ in objects(document.content):
            if is_ours(content):
                found.append(model_of(content, document.line).model_validate(content))
    return found


def objects(content: Any, path: Path = ()) -> Iterator[tuple[Any, Path]]:
    """Yield a document's object, or those of its ``List``, each with its path in the document."""
    if isinstance(content, dict) and content.get("kind") == "List" and isinstance(content.get("items"), list):
        for index, item in enumerate(content["items"]):
            yield from objects(item, (*path, "items", index))
    else:
        yield content, path


def model_of(content: Json, line: int = 1) -> type[Resource]:
    """Return the model for an object of our group."""
    kind = str(content.get("kind"))
    if content.get("apiVersion") != API_VERSION:
        raise ManifestError(
            f"apiVersion {content.get('apiVersion')} is unknown: use {API_VERSION}", line, "apiVersion"
        )
    if kind not in KINDS:
        raise ManifestError(
            f"kind {kind} is unknown in {API_VERSION}: use one of {', '.join(KINDS)}", line, "kind"
        )
    return KINDS[kind]
