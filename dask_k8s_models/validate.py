"""Check manifests before they reach a cluster, with the file, line and field of every problem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from dask_k8s_models.advice import advice_on
from dask_k8s_models.manifests import Document, ManifestError, documents, is_ours, model_of, objects
from dask_k8s_models.metadata import metadata_problems
from dask_k8s_models.problems import Path, field_name, problems_of
from dask_k8s_models.resource import problem_with_name_in

NAME = ("metadata", "name")


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"
    """The API server would refuse the object, or every pod that it describes."""
    WARNING = "warning"
    """It would take it, and the user would be sorry."""
    SKIPPED = "skipped"
    """It isn't one of our kinds and wasn't looked at."""


@dataclass(frozen=True)
class Problem:
    """One thing to know about a manifest.

    Parameters
    ----------
    file : str
        Where the manifest came from.
    document : int
        Which document of the file, counted from 1.
    line : int
        Which line of the file, counted from 1.
    field : str
        Which field, e.g. ``spec.worker.replicas``; empty if it is about the whole document.
    severity : Severity
        How bad it is.
    message : str
        What is wrong and what to do.
    """

    file: str
    document: int
    line: int
    field: str
    severity: Severity
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: document {self.document}"
        what = f"{self.field}: {self.message}" if self.field else self.message
        return f"{where}: {self.severity}: {what}"


def validate_documents(text: str, source: str = "-") -> list[Problem]:
    """Check a manifest of any number of documents.

    Parameters
    ----------
    text : str
        YAML or JSON.
    source : str
        What to call it, usually the file's name.

    Returns
    -------
    list of Problem
        Empty if there is nothing to say. Only those of severity `Severity.ERROR` make the manifest invalid.
    """
    problems: list[Problem] = []
    number = 0
    try:
        for number, document in enumerate(documents(text), start=1):
            problems += [
                Problem(source, number, document.line_of(path), field_name(path), severity, message)
                for path, severity, message in _problems_of_document(document)
            ]
    except ManifestError as error:
        problems.append(Problem(source, number + 1, error.line, "", Severity.ERROR, error.message))
    return sorted(problems, key=lambda problem: (problem.document, problem.line))


def _problems_of_document(document: Document) -> Iterator[tuple[Path, Severity, str]]:
    for path in document.duplicates:
        yield path, Severity.ERROR, "is there twice"
    for content, path in objects(document.content):
        for inside, severity, message in _problems_of_object(content):
            yield (*path, *inside), severity, message


def _problems_of_object(content: Any) -> Iterator[tuple[Path, Severity, str]]:
    if not isinstance(content, dict) or not ("apiVersion" in content and "kind" in content):
        yield (), Severity.ERROR, "is no Kubernetes object: it has no apiVersion and kind"
        return
    if not is_ours(content):
        yield (), Severity.SKIPPED, f"{content['apiVersion']} {content['kind']} is not one of ours"
        return
    try:
        model = model_of(content)
    except ManifestError as error:
        yield (error.field,), Severity.ERROR, error.message
        return
    metadata = content.get("metadata")
    if isinstance(metadata, dict):
        for path, message in metadata_problems(metadata):
            yield ("metadata", *path), Severity.ERROR, message
    try:
        # Whoever creates an object can't set its status: the API server drops it, whatever it is.
        resource = model.model_validate({key: value for key, value in content.items() if key != "status"})
    except ValidationError as error:
        problems = problems_of(error, content["kind"])
        # Rules about several fields wait until each field is right; the name can be judged at once.
        if (problem := problem_with_name_in(model, content)) and all(path != NAME for path, _ in problems):
            yield NAME, Severity.ERROR, problem
        for path, message in problems:
            yield path, Severity.ERROR, message
    else:
        for path, message in advice_on(resource):
            yield path, Severity.WARNING, message
        for path in _nulls(content["spec"], ("spec",)):
            yield path, Severity.WARNING, "is null, which `kubectl apply --server-side` refuses: leave it out"


def _nulls(value: Any, path: Path) -> Iterator[Path]:
    """Yield where something is null: for clients that differ from the others there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if item is None:
            yield (*path, key)
        else:
            yield from _nulls(item, (*path, key))
