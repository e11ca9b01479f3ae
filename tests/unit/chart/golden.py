"""Sets of values and what the chart makes of them: ``python -m tests.unit.chart.golden`` writes it anew."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import helm_python
import yaml

FOLDER = Path(__file__).parent
CHART = FOLDER.parents[2] / "chart" / "dask-kubernetes-operator"
SETS = sorted(path.stem for path in (FOLDER / "values").glob("*.yaml"))

RELEASE, NAMESPACE = "dask", "dask-operator"

Object = dict[str, Any]


def values(name: str) -> Object:
    found: Object = yaml.safe_load((FOLDER / "values" / f"{name}.yaml").read_text())
    return found


def rendered(given: Object, *, release: str = RELEASE, namespace: str = NAMESPACE) -> list[Object]:
    """Return the objects that the chart makes of values, by template and in its order, but its tests."""
    return [item for item in everything(given, release, namespace) if not is_a_test(item)]


def helm_tests(given: Object) -> list[Object]:
    """Return what ``helm test`` runs."""
    return [item for item in everything(given, RELEASE, NAMESPACE) if is_a_test(item)]


def is_a_test(item: Object) -> bool:
    annotations = item["metadata"].get("annotations", {})
    return bool(annotations.get("helm.sh/hook") == "test")


def everything(given: Object, release: str, namespace: str) -> list[Object]:
    texts = templates(json.dumps(given), release, namespace)
    return [
        document
        for template, text in sorted(texts.items())
        if template.endswith(".yaml")
        for document in documents(text)
    ]


def notes(given: Object, *, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    texts = templates(json.dumps(given), release, namespace)
    return next(text for template, text in texts.items() if template.endswith("NOTES.txt"))


@functools.cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


@functools.cache
def templates(given: str, release: str, namespace: str) -> dict[str, str]:
    return chart().render(json.loads(given), name=release, namespace=namespace)


@functools.lru_cache(maxsize=256)
def documents(text: str) -> list[Object]:
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def without_schemas(objects: list[Object]) -> str:
    """Return objects as YAML, without what is generated and checked elsewhere."""
    shown = json.loads(json.dumps(objects))
    for item in shown:
        if item["kind"] == "CustomResourceDefinition":
            item["spec"] = "…"
        if item["kind"] == "ConfigMap":
            item["data"] = dict.fromkeys(item["data"], "…")
        if item["kind"] == "PrometheusRule":
            item["spec"] = "…"
        if item["kind"] in ("ClusterRole", "Role"):
            item["rules"] = "…"
    return yaml.safe_dump_all(shown, sort_keys=False, allow_unicode=True, width=110)


def main() -> None:
    for name in SETS:
        (FOLDER / "golden" / f"{name}.yaml").write_text(without_schemas(rendered(values(name))))


if __name__ == "__main__":
    main()
