"""A real Prometheus, and the queries of the dashboards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from dask_k8s_models import labels
from tests.harness.kube import Object
from tests.unit.chart.golden import rendered

UNPACKED = Path(__file__).parents[2] / ".prometheus" / "usr" / "bin"


def program_path(name: str) -> str | None:
    """Return the path of promtool or prometheus, installed or unpacked by ``make prometheus``."""
    return shutil.which(name) or shutil.which(name, path=str(UNPACKED))


def monitors() -> dict[str, Object]:
    """The chart's monitors, by what they look for: ``operator``, ``scheduler`` or ``worker``."""
    on = {"enabled": True}
    metrics = {
        "operator": {"podMonitor": on},
        "scheduler": {**on, "serviceMonitor": on},
        "worker": {**on, "podMonitor": on},
    }
    found = [item for item in rendered({"metrics": metrics}) if item["kind"].endswith("Monitor")]
    return {item["spec"]["selector"]["matchLabels"].get(labels.COMPONENT, "operator"): item for item in found}


def scraping(monitor: Object) -> Object:
    """What Prometheus' operator makes of a monitor, but for how its targets are found."""
    spec = monitor["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    known = {"honorLabels", "scheme", "tlsConfig", "relabelings"}
    kept = {key: value for key, value in endpoint.items() if key in known}
    if "relabelings" in kept:
        kept["relabelConfigs"] = kept.pop("relabelings")
    made: Object = _in_snake_case(kept)
    return made


def _in_snake_case(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_snake_case(item) for item in value]
    if isinstance(value, dict):
        return {
            re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): _in_snake_case(item)
            for key, item in value.items()
        }
    return value


@dataclass(frozen=True)
class Target:
    """What is scraped."""

    job: str
    """The monitor by which it is."""
    address: str
    labels: dict[str, str]
    """Those that all of its samples get, and those with ``__meta_`` that tell what it is."""


class Prometheus:
    """A Prometheus that scrapes what it is told to, as the chart's monitors have it."""

    def __init__(self, program: str, folder: Path, rules: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        jobs = {name: scraping(monitor) for name, monitor in monitors().items()}
        self.targets = {name: folder / f"{name}.json" for name in jobs}
        self.scrape()
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    **jobs[name],
                    "job_name": name,
                    "file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}],
                }
                for name, path in self.targets.items()
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def scrape(self, *targets: Target) -> None:
        for name, path in self.targets.items():
            groups = [{"targets": [one.address], "labels": one.labels} for one in targets if one.job == name]
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps(groups))
            draft.rename(path)

    def get(self, path: str, **params: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=10)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[Object]:
        found: list[Object] = self.get("query", query=expression)["result"]
        return found


def queries(dashboard: Path) -> dict[str, str]:
    """The queries of a dashboard by their panel and legend, with all of its variables chosen."""
    found = {}
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "30s")
            found[f"{panel['title']}: {target['legendFormat']}"] = re.sub(r"\$\w+", ".*", expression)
    return found
