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

from tests.harness.kube import Object

UNPACKED = Path(__file__).parents[2] / ".prometheus" / "usr" / "bin"


def program_path(name: str) -> str | None:
    """Return the path of promtool or prometheus, installed or unpacked by ``make prometheus``."""
    return shutil.which(name) or shutil.which(name, path=str(UNPACKED))


@dataclass(frozen=True)
class Target:
    """What is scraped, and the labels that all of its samples get."""

    address: str
    labels: dict[str, str]
    honors_labels: bool = False
    """A label that a sample has already stays; else it is called ``exported_…`` from then on."""


class Prometheus:
    """A Prometheus that scrapes what it is told to."""

    def __init__(self, program: str, folder: Path, rules: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.targets = {honors: folder / f"targets-{honors}.json" for honors in (True, False)}
        self.scrape()
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": path.stem,
                    "honor_labels": honors,
                    "file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}],
                }
                for honors, path in self.targets.items()
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
        for honors, path in self.targets.items():
            groups = [
                {"targets": [one.address], "labels": one.labels}
                for one in targets
                if one.honors_labels == honors
            ]
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
