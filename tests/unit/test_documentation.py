"""What the documentation shows is so: Python, manifests, commands, labels and links."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import click
import pytest

from dask_k8s_client.cli import kubernetes
from dask_k8s_models import Severity, labels, validate_documents

PROJECT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
    for path in sorted(
        [
            *PROJECT.glob("*.md"),
            *(path for path in (PROJECT / "docs").rglob("*.md") if "_build" not in path.parts),
            *(PROJECT / "chart").glob("*/*.md"),
        ]
    )
}


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the blocks of a language, each with its page."""
    return [
        (page, block)
        for page, text in PAGES.items()
        for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def commands() -> list[tuple[str, list[str]]]:
    """Return the words of the commands that are shown, each part of a pipe by itself, with its page."""
    return [
        (page, part.split())
        for page, block in blocks("console")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("$ ")
        for part in re.split(r" (?:\||&&|>) ", line[2:].partition(" # ")[0])
    ]


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_python_compiles_and_imports_what_is_there(page: str, block: str) -> None:
    compile(block, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dask_k8s"):
            module = importlib.import_module(str(node.module))
            assert [name.name for name in node.names if not hasattr(module, name.name)] == [], page


def test_manifests_are_valid() -> None:
    shown = [(page, block) for page, block in blocks("yaml") if "apiVersion: kubernetes.dask.org/" in block]
    assert len(shown) >= 5
    wrong = [
        (page, str(problem))
        for page, block in shown
        for problem in validate_documents(block)
        if problem.severity is Severity.ERROR
        and not ("# scheduler and worker as in examples/" in block and "is required" in str(problem))
    ]
    assert wrong == []


def test_commands_of_dask_kubernetes_exist_with_their_options() -> None:
    shown = [(page, words[2:]) for page, words in commands() if words[:2] == ["dask", "kubernetes"]]
    assert len(shown) >= 10
    for page, words in shown:
        command: click.Command = kubernetes
        while isinstance(command, click.Group) and words:
            assert words[0] in command.commands, f"{page}: {words[0]}"
            command, words = command.commands[words[0]], words[1:]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("-") and word != "-"} <= known, f"{page}: {words}"


def test_files_and_targets_that_commands_name_exist() -> None:
    targets = re.findall(r"^([a-z][-a-z0-9. ]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    known = {target for line in targets for target in line.split()}
    for page, words in commands():
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= known, page
        ours = ("chart/", "examples/", "manifests/", "schemas/")
        paths = [word for word in words if word.removeprefix("./").startswith(ours)]
        assert [path for path in paths if not (PROJECT / path).exists()] == [], page


def test_every_label_and_annotation_is_documented() -> None:
    keys = {value for name, value in vars(labels).items() if name.isupper() and isinstance(value, str)}
    assert len(keys) > 10
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGES["docs/labels.md"]] == []
    documented = set(re.findall(r"^\| `([\w./-]+)` \|", PAGES["docs/labels.md"], re.MULTILINE))
    assert documented - keys == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", re.sub(r"`[^`\n]*`", "", PAGES[page]))
    files = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in files if not (PROJECT / page).parent.joinpath(link).exists()] == []
