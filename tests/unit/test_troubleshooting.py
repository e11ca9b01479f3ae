"""Every reason and error that a user sees has an entry in docs/troubleshooting.md, and no entry is stale."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("dask_k8s_client", "dask_k8s_controller", "dask_k8s_local", "dask_k8s_models")
SOURCES = {
    package: [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((PROJECT / package).rglob("*.py"))
        if not path.name.startswith("_kubernetes")
    ]
    for package in PACKAGES
}
CONTROLLER = SOURCES["dask_k8s_controller"]

PAGE = (PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = {name for line in re.findall(r"^### (.*)$", PAGE, re.M) for name in re.findall(r"`([^`]+)`", line)}

GIVES_A_REASON = {"remark": 0, "Remark": 0, "Failure": 0, "Notice": 0, "Verdict": 1, "Condition": 2}
"""Calls, and where the reason stands among their arguments."""

ENUMS = {"Limit", "Problem"}

HANDED_ON = {
    "answer.problem.value",  # A member of an enum.
    "failed.problem.value",
    "limit.value",
    "condition.reason",  # Somebody else's, collected where it is made.
    "end.get('reason')",
    "ended.reason",
    "ready.get('reason')",
    "ready['reason']",
    "now[name]['reason']",
    "why.reason",
}

OF_KUBERNETES = {"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "Error"}
OF_KUBERNETES |= {"ErrImagePull", "Evicted", "ImagePullBackOff", "InvalidImageName", "OOMKilled"}
OF_KUBERNETES |= {"RunContainerError"}

EVENTS_OF_KUBERNETES = {"FailedPreStopHook"}
"""Reasons of Events that the kubelet writes about our pods, and that we can't hand on."""

COMPUTED = {
    "f'{live.kind.removeprefix('Dask')}NameTaken'": {"ServiceNameTaken", "WorkerGroupNameTaken"},
    "f'{kind.removeprefix('Dask')}NameTaken'": {"ServiceNameTaken"},
    "f'{which[0].upper()}{which[1:]}Stabilized'": {"ScaleUpStabilized", "ScaleDownStabilized"},
    "container.waiting_reason": OF_KUBERNETES,
    "pod.reason": OF_KUBERNETES,
    "next((c.exit_reason for c in pod.containers if c.exit_reason), '')": OF_KUBERNETES,
}

STARTS = {"InvalidSetting", "KindsMissing", "PortTaken", "KubeconfigInUse", "UnsupportedPlatform"}
"""Errors with which the operator and the local Kubernetes refuse to start."""


class Reasons:
    """What can become the reason of a condition or an Event in the controller's sources."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.unknown: set[str] = set()
        nodes = [node for tree in CONTROLLER for node in ast.walk(tree)]
        self._functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        self._constants = {
            name.id: node.value
            for tree in CONTROLLER
            for node in tree.body
            if isinstance(node, ast.Assign)
            for name in node.targets
            if isinstance(name, ast.Name)
        }
        for tree in CONTROLLER:
            for scope in ast.walk(tree):
                if isinstance(scope, ast.FunctionDef) and scope.name != "remark":
                    self._collect(scope)
                if isinstance(scope, ast.ClassDef) and scope.name in ENUMS:
                    self.found |= {
                        str(ast.literal_eval(node.value))
                        for node in scope.body
                        if isinstance(node, ast.Assign)
                    }
        self.found.discard("")

    def _collect(self, scope: ast.FunctionDef) -> None:
        for node in ast.walk(scope):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
                if name in GIVES_A_REASON:
                    named = [word.value for word in node.keywords if word.arg == "reason"]
                    place = min(GIVES_A_REASON[name], len(node.args) - 1)
                    self._resolve(named[0] if named else node.args[place], scope)

    def _resolve(self, value: ast.expr, scope: ast.FunctionDef) -> None:
        text = ast.unparse(value).replace('"', "'")
        match value:
            case ast.Constant(value=str(word)):
                self.found.add(word)
            case ast.IfExp(body=one, orelse=other):
                self._resolve(one, scope)
                self._resolve(other, scope)
            case ast.BoolOp(values=several):
                for one in several:
                    self._resolve(one, scope)
            case ast.Starred(value=inner):
                self._resolve(inner, scope)
            case ast.Call(func=ast.Name(id=called)) if called in self._functions:
                function = self._functions[called]
                for node in ast.walk(function):
                    if isinstance(node, ast.Return) and node.value is not None:
                        first = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
                        self._resolve(first, function)
            case ast.Name(id=name) if name in self._constants:
                self._resolve(self._constants[name], scope)
            case ast.Name(id=name):
                for origin in self._origins(name, scope):
                    self._resolve(origin, scope)
            case _ if text in COMPUTED:
                self.found |= COMPUTED[text]
            case _ if text not in HANDED_ON:
                self.unknown.add(text)

    def _origins(self, name: str, scope: ast.FunctionDef) -> Iterator[ast.expr]:
        assigned = [
            node.value
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and any(ast.unparse(target) == name for target in node.targets)
        ]
        from_loops = [node for node in ast.walk(scope) if isinstance(node, ast.comprehension)]
        if not assigned and not any(name in ast.unparse(loop.target) for loop in from_loops):
            self.unknown.add(f"{name} in {scope.name}")
        yield from assigned


def errors() -> set[str]:
    """Collect the errors of the client, those that are exported, and those that prevent a start."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in SOURCES["dask_k8s_client"]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"KubeClusterError"}
    while more := {name for name, parents in bases.items() if parents & found} - found:
        found |= more
    for package in ("dask_k8s_client", "dask_k8s_local", "dask_k8s_models"):
        module = importlib.import_module(package)
        exported = {name: getattr(module, name) for name in module.__all__}
        found |= {name for name, it in exported.items() if isinstance(it, type) and issubclass(it, Exception)}
    classes = {
        node.name
        for trees in SOURCES.values()
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert classes >= STARTS
    return found | STARTS


@pytest.fixture(scope="module")
def reasons() -> Reasons:
    return Reasons()


def test_it_is_known_of_every_reason_where_it_comes_from(reasons: Reasons) -> None:
    assert reasons.unknown == set()
    assert len(reasons.found) > 60


def test_every_reason_has_an_entry(reasons: Reasons) -> None:
    assert sorted(reasons.found - ENTRIES) == []


def test_every_error_has_an_entry() -> None:
    assert sorted(errors() - ENTRIES) == []


def test_every_entry_is_of_something_that_is_there(reasons: Reasons) -> None:
    assert sorted(ENTRIES - reasons.found - errors() - EVENTS_OF_KUBERNETES) == []


def test_messages_are_quoted_as_the_code_says_them() -> None:
    said = "\n".join(
        message_of(node)
        for trees in SOURCES.values()
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
    )
    quoted = re.findall(r"^> (.*)$", PAGE, re.M)
    assert len(quoted) > 50
    assert [quote for quote in quoted if quote not in said] == []


def message_of(node: ast.expr) -> str:
    """Return the text of a string, with … for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(message_of(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_every_entry_tells_a_cause_or_a_remedy() -> None:
    for title, text in re.findall(r"^### (.*)\n((?:(?!#).*\n?)*)", PAGE, re.M):
        told = [line for line in text.splitlines() if line and not line.startswith(">")]
        assert told, title
