"""What the documentation shows is so: Python, manifests, commands, labels and links."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from dask_k8s_client.cli import kubernetes
from dask_k8s_controller.cluster.network_policy import policy_of
from dask_k8s_models import Severity, labels, make_cluster_spec, names, validate_documents
from tests.harness.pages import PAGES, PROJECT, Block, blocks
from tests.unit.chart.golden import CHART
from tests.unit.controller.builders import cluster

DRAWN = {"mermaid"}
RUNNABLE = {"console", "python"}
"""Run by tests/e2e/test_documented_pages.py, unless the comment above the block says otherwise."""


def commands() -> list[tuple[str, list[str]]]:
    """Return the words of the commands that are shown, each part of a pipe by itself, with its page."""
    return [
        (str(block), part.split())
        for block in blocks("console")
        for command in block
        for part in re.split(r" (?:\||&&|>) ", command.partition(" # ")[0])
    ]


def is_code(block: Block) -> bool:
    """Whether a block isn't a picture, nor a directive of Sphinx."""
    return block.language not in DRAWN and not block.language.startswith("{")


@pytest.mark.parametrize("block", list(filter(is_code, blocks())), ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    if block.run_by:
        path, _, name = block.run_by.partition("::")
        assert f"def {name}(" in (PROJECT / path).read_text(encoding="utf-8")
    elif block.why_not_run:
        assert len(block.why_not_run.split()) >= 3
    elif block.language == "yaml":
        assert_is_valid(block)
    else:
        assert block.language in RUNNABLE
        assert not block.mark


def assert_is_valid(block: Block) -> None:
    """Judge YAML by what it is: manifests, a part of a DaskCluster, values of the chart, a kustomization."""
    documents = list(yaml.safe_load_all(block.text))
    first = documents[0]
    if "apiVersion: kubernetes.dask.org/" in block.text:
        found = [
            str(problem) for problem in validate_documents(block.text) if problem.severity is Severity.ERROR
        ]
        if "# scheduler and worker as in examples/" in block.text:
            found = [problem for problem in found if "is required" not in problem]
        assert found == []
    elif set(first) == {"spec"}:
        whole = merged(make_cluster_spec("shown"), first)
        assert validate_documents(yaml.safe_dump(whole)) == []
    elif set(first) == {"resources", "images"}:
        assert [path for path in first["resources"] if not (PROJECT / path).is_dir()] == []
    else:
        jsonschema.validate(first, json.loads((CHART / "values.schema.json").read_text()))


def merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


def test_the_pod_default_of_kubeflow_is_one() -> None:
    """As https://github.com/kubeflow/kubeflow/tree/v1.10.0/components/admission-webhook says what it has."""
    [block] = [block for block in blocks("yaml") if "kind: PodDefault" in block.text]
    default, config = yaml.safe_load_all(block.text)
    fields = {"selector", "desc", "env", "volumeMounts", "volumes"}
    assert set(default["spec"]) == fields
    [volume], [mount] = default["spec"]["volumes"], default["spec"]["volumeMounts"]
    assert volume["name"] == mount["name"]
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    assert mount["subPath"] in config["data"]
    for name, text in config["data"].items():
        compile(text, name, "exec")
    assert default["spec"]["env"][0]["name"] == "DASK_DISTRIBUTED__DASHBOARD__LINK"


def test_the_policy_for_prometheus_opens_the_ports_of_metrics_alone() -> None:
    """Of all pods of the cluster that are made as the documentation has it, whose ports have names."""
    [block] = [block for block in blocks("yaml") if "name: simple-metrics" in block.text]
    policy = yaml.safe_load(block.text)
    kubernetes_validate.validate(policy, "1.37.0", strict=True)
    of_the_cluster = policy_of(cluster("simple", networkPolicy={}), []).wanted
    assert of_the_cluster is not None
    assert policy["spec"]["podSelector"] == of_the_cluster["spec"]["podSelector"]
    [rule] = policy["spec"]["ingress"]
    [opened] = rule["ports"]
    spec = make_cluster_spec("simple")["spec"]
    containers = {part: spec[part]["spec"]["containers"][0] for part in ("scheduler", "worker")}
    ports = {
        part: [port["containerPort"] for port in container["ports"] if port["name"] == opened["port"]]
        for part, container in containers.items()
    }
    assert ports == {"scheduler": [names.DASHBOARD_PORT], "worker": [names.WORKER_DASHBOARD_PORT]}


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles_and_imports_what_is_there(block: Block) -> None:
    compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert imported_in_vain(block.text) == []


@pytest.mark.parametrize("script", sorted((PROJECT / "docs").glob("*.py")), ids=lambda path: str(path.name))
def test_scripts_beside_the_pages_import_what_is_there(script: Path) -> None:
    """They draw pictures and run the notebook, which no other test does."""
    assert imported_in_vain(script.read_text(encoding="utf-8")) == []


def imported_in_vain(python: str) -> list[str]:
    """Return the names that Python code imports from ours and that aren't there."""
    return [
        f"{node.module}.{name.name}"
        for node in ast.walk(ast.parse(python))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("dask_k8s", "tests."))
        for name in node.names
        if not hasattr(importlib.import_module(str(node.module)), name.name)
    ]


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


def test_every_example_is_listed_and_every_one_that_is_listed_exists() -> None:
    examples = {path.name for path in (PROJECT / "examples").iterdir() if path.name[0] not in "._"}
    listed = re.findall(r"^\| `([^`]+)` \|", PAGES["docs/examples.md"], re.MULTILINE)
    assert len(examples) > 20
    assert sorted(listed) == sorted(examples)


def test_every_alert_is_told_by_operations_and_monitoring() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (CHART / "files" / "alerts.yaml").read_text()))
    assert len(alerts) > 10
    assert set(re.findall(r"`(Dask\w+)`", PAGES["docs/operations.md"])) >= alerts
    assert set(re.findall(r"^### (Dask\w+)", PAGES["docs/monitoring.md"], re.MULTILINE)) == alerts


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
