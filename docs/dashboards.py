"""Draw the dashboards of the documentation: ``make prometheus``, then ``python -m docs.dashboards``.

What they show is real: a Prometheus scrapes the operator, and a cluster on the local Kubernetes that works
and is scaled up and down. It is drawn after a dashboard's file, without Grafana.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from distributed import Client

from dask_k8s_local import LocalKubernetes
from dask_k8s_models import make_cluster_spec
from dask_k8s_models.definitions import custom_resource_definitions
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube
from tests.harness.ports import reserved_port
from tests.harness.prometheus import Prometheus, Target, program_path

FILES = Path(__file__).parents[1] / "chart" / "dask-kubernetes-operator" / "files"
IMAGES = Path(__file__).parent / "images"

SECONDS, STEP = 75, 1
ACROSS, DOWN, HEADER = 40, 21, 40
"""Pixels of a unit of Grafana's grid, and of the title."""
COLOURS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0")

Series = list[tuple[str, list[tuple[float, float]]]]


def work(scheduler: str, kube: Kube) -> None:
    """Give the cluster something to do, and more and fewer workers, for a while."""
    with Client(f"tcp://{scheduler}:8786") as client:
        until = time.monotonic() + SECONDS
        for count in (3, 3, 1, 1, 2, 2, 1, 1):
            spec = {"spec": {"worker": {"replicas": count}}}
            kube.patch("daskclusters.kubernetes.dask.org", "simple", spec, "default")
            held = client.map(lambda size: bytes(size), range(10**5, 10**5 + 200), pure=False)
            sums = client.map(lambda data: time.sleep(0.02) or len(data), held, pure=False)
            client.gather(sums)
            time.sleep(max(0.0, (until - time.monotonic()) / 8))


def series(prometheus: Prometheus, target: dict[str, Any], begin: float, end: float) -> Series:
    """Ask for a query's values over time, each with its legend."""
    query = target["expr"].replace("$__rate_interval", "10s")
    for variable in ("$cluster", "$namespace"):
        query = query.replace(variable, ".*")
    found = prometheus.get("query_range", query=query, start=str(begin), end=str(end), step=str(STEP))
    drawn = []
    for one in found["result"]:
        legend = target["legendFormat"]
        for key, value in one["metric"].items():
            legend = legend.replace(f"{{{{{key}}}}}", value)
        points = [(float(at), float(value)) for at, value in one["values"] if value != "NaN"]
        if points:
            drawn.append((re.sub(r"{{\w+}}", "", legend).strip() or "none", points))
    return drawn


def shown(value: float, unit: str) -> str:
    """Write a number as people read it."""
    match unit:
        case "bytes":
            return f"{value / 2**20:.1f} MiB" if value >= 2**20 else f"{value / 2**10:.0f} KiB"
        case "s":
            return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"
    return f"{value:.4g}" + {"ops": "/s", "reqps": "/s"}.get(unit, "")


def panel(found: dict[str, Any], drawn: Series, begin: float, end: float) -> Iterator[str]:
    """Yield the shapes of a panel."""
    place = found["gridPos"]
    x, y = place["x"] * ACROSS, place["y"] * DOWN + HEADER
    width, height = place["w"] * ACROSS - 8, place["h"] * DOWN - 8
    unit = found["fieldConfig"]["defaults"]["unit"]
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="#181b1f" stroke="#2c3235"/>'
    yield f'<text x="{x + 8}" y="{y + 16}" fill="#d8d9da" font-weight="bold">{escape(found["title"])}</text>'
    if found["type"] == "stat":
        for number, (legend, points) in enumerate(drawn[:4]):
            left = x + 12 + number * (width - 16) / max(1, min(4, len(drawn)))
            value = shown(points[-1][1], unit)
            yield f'<text x="{left}" y="{y + 70}" fill="#73bf69" font-size="26">{value}</text>'
            yield f'<text x="{left}" y="{y + 90}" fill="#9fa7b3">{escape(legend.removeprefix("Dask"))}</text>'
        return
    highest = max((value for _, points in drawn for _, value in points), default=0) or 1
    top, bottom = y + 26, y + height - 30
    for share in (0, 0.5, 1):
        line = bottom - share * (bottom - top)
        yield f'<line x1="{x + 58}" x2="{x + width - 8}" y1="{line}" y2="{line}" stroke="#2c3235"/>'
        text = escape(shown(share * highest, unit))
        yield f'<text x="{x + 54}" y="{line + 3}" fill="#9fa7b3" text-anchor="end">{text}</text>'
    for number, (_, points) in enumerate(drawn):
        path = " ".join(
            f"{x + 58 + (at - begin) / (end - begin) * (width - 66):.1f},"
            f"{bottom - value / highest * (bottom - top):.1f}"
            for at, value in points
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    left = x + 8.0
    for number, (legend, _) in enumerate(drawn):
        if left + len(legend) * 5.6 > x + width - 20:
            break
        yield f'<rect x="{left}" y="{y + height - 14}" width="8" height="3" fill="{COLOURS[number % 8]}"/>'
        yield f'<text x="{left + 11}" y="{y + height - 9}" fill="#9fa7b3">{escape(legend)}</text>'
        left += len(legend) * 5.6 + 24


def picture(dashboard: dict[str, Any], prometheus: Prometheus, begin: float, end: float) -> str:
    """Return a dashboard as SVG."""
    panels = dashboard["panels"]
    rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in panels)
    width, height = 24 * ACROSS + 8, rows * DOWN + HEADER
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="10" '
        'font-family="Inter, Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#111217"/>',
        f'<text x="8" y="25" font-size="16" fill="#d8d9da">{escape(dashboard["title"])}</text>',
    ]
    for one in panels:
        drawn = [each for target in one["targets"] for each in series(prometheus, target, begin, end)]
        shapes.append(f'<g transform="translate(4 0)">{"".join(panel(one, drawn, begin, end))}</g>')
    return "\n".join([*shapes, "</svg>"]) + "\n"


def main() -> None:
    program = program_path("prometheus")
    assert program is not None, "there is no prometheus: run make prometheus"
    with contextlib.ExitStack() as stack:
        port, own_port = (stack.enter_context(reserved_port()) for _ in range(2))
        os.environ["DASK_KUBERNETES__CONTROLLER__HEALTH_PORT"] = str(port)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kubernetes = stack.enter_context(LocalKubernetes(addons=()))
        kube = stack.enter_context(Kube.from_kubeconfig(kubernetes.kubeconfig))
        stack.enter_context(ControllerProcess(kubernetes.kubeconfig))
        kubernetes.apply(custom_resource_definitions())
        prometheus = Prometheus(program, folder, FILES / "alerts.yaml", own_port)
        stack.callback(prometheus.stop)
        operator = Target("operator", f"127.0.0.1:{port}", {"namespace": "dask-operator"})
        prometheus.scrape(operator)
        kube.create(make_cluster_spec(name="simple", n_workers=2), "default")
        kube.wait(
            "daskclusters.kubernetes.dask.org",
            "simple",
            "default",
            until=lambda found: found.get("status", {}).get("readyReplicas") == 2,
        )
        begin = time.time()
        scheduler = kube.get("pods", "simple-scheduler", "default")["status"]["podIP"]
        pods = kube.list("pods", "default", "dask.org/component=worker")
        labels = {"namespace": "default", "dask_org_cluster_name": "simple"}
        prometheus.scrape(
            operator,
            Target("scheduler", f"{scheduler}:8787", labels),
            *(Target("worker", f"{pod['status']['podIP']}:8788", labels) for pod in pods),
        )
        work(scheduler, kube)
        for path in sorted((FILES / "dashboards").glob("*.json")):
            dashboard = json.loads(path.read_text())
            text = picture(dashboard, prometheus, begin, time.time())
            (IMAGES / f"dashboard-{path.stem}.svg").write_text(text)


if __name__ == "__main__":
    main()
