"""From ``KubeCluster(n_workers=2)`` to the first result, beside the same pods and processes without it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, Figure, Found, benchmark
from benchmarks.places import Place
from benchmarks.sides import Side, controller
from tests.harness.kube import Object
from tests.harness.ports import reserved_port

CLIENT = Path(__file__).with_name("first_result_client.py")
FORWARDS = {"port_forward_cluster_ip": True}
"""Spares dask-kubernetes' client from outside twenty attempts to resolve a Service's name, twice."""

IMPATIENT = {"resource_timeout": 15}


@benchmark("first-result", "from KubeCluster(n_workers=2) to the first result, from outside of the cluster")
def first_result(bench: Bench) -> Iterator[Found]:
    """Measure all ways in turns."""
    runs = bench.few(5)
    with bench.place() as place:
        place.apply(bench.ours.definitions())
        with controller(bench.ours, place), Program(bench.ours, place) as program:
            ours: list[float] = []
            pods: list[float] = []
            processes: list[float] = []
            program.kube_cluster("warm-up")
            for number in range(runs):
                ours += program.kube_cluster(f"first-{number}")
                pods += program.bare_pods(f"bare-{number}")
                if place.local and number % 2 == 0:  # They vary little.
                    processes += program.run(way="processes")
    theirs: list[float] = []
    told: list[float] = []
    failed = 0
    if bench.theirs is not None:
        with bench.place() as place:
            place.apply(bench.theirs.definitions())
            with controller(bench.theirs, place), Program(bench.theirs, place) as program:
                program.kube_cluster("warm-up", FORWARDS)
                theirs += program.kube_cluster("first")
                for number in range(bench.few(2)):
                    told += program.kube_cluster(f"told-{number}", FORWARDS)
                failed = program.failed
    hung = f"; {failed} more were not there after {IMPATIENT['resource_timeout']} s" if failed else ""
    yield Figure("beside the same pods, by hand", "s", ours, theirs, pods, goal=1.25)
    yield Figure(
        "beside it told to forward ports", "s", ours, told, note=f"port_forward_cluster_ip=True{hung}"
    )
    if processes:
        yield Figure("beside bare processes", "s", ours, bare=processes)


class Program:
    """A user's program that makes clusters, one after the other."""

    def __init__(self, side: Side, place: Place) -> None:
        self.side, self.place = side, place
        self.failed = 0

    def __enter__(self) -> Program:
        self._process = subprocess.Popen(
            [self.side.python, str(CLIENT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "KUBECONFIG": str(self.place.kubeconfig)},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def kube_cluster(self, name: str, options: dict[str, Any] | None = None) -> list[float]:
        """Return the seconds of a run by ``KubeCluster``; nothing if it didn't come to a result."""
        return self.run(
            way="kube_cluster",
            package=self.side.package,
            cluster=self.side.cluster(self.place, name, 2),
            options=IMPATIENT | (options or {}),
        )

    def bare_pods(self, name: str) -> list[float]:
        """Return the seconds of a run that makes the same pods itself."""
        return self.run(way="bare_pods", objects=_objects(self.side.cluster(self.place, name, 2)))

    def run(self, **order: Any) -> list[float]:
        """Order a run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with reserved_port() as port:
            order |= {"namespace": self.place.namespace, "port": port}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = next((line for line in self._process.stdout if line.startswith("answer ")), None)
        if answer is None:
            raise RuntimeError(f"the program of {self.side.name} has ended")
        found = json.loads(answer.removeprefix("answer "))
        if "seconds" in found:
            return [found["seconds"]]
        if self.side.package == "dask_k8s_client" or order["way"] != "kube_cluster":
            raise RuntimeError(found["error"])
        self.failed += 1
        return []


def _objects(cluster: Object) -> list[Object]:
    """Return the pods of a cluster and its Service as manifests that need no operator."""
    name, spec = cluster["metadata"]["name"], cluster["spec"]
    scheduler, worker = spec["scheduler"], spec["worker"]
    service = f"{name}-scheduler"
    labels = {"bare": name}

    def pod(pod_name: str, pod_spec: Object, role: str, **env: str) -> Object:
        containers = [
            {**one, "env": [*(one.get("env") or []), *({"name": k, "value": v} for k, v in env.items())]}
            for one in pod_spec["containers"]
        ]
        metadata = {"name": pod_name, "labels": {**labels, "role": role}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {**pod_spec, "containers": containers},
        }

    address = f"tcp://{service}:8786"
    return [
        pod(service, scheduler["spec"], "scheduler"),
        *(
            pod(
                f"{name}-{number}",
                worker["spec"],
                "worker",
                DASK_SCHEDULER_ADDRESS=address,
                DASK_WORKER_NAME=str(number),
            )
            for number in range(2)
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service},
            "spec": {
                "selector": {**labels, "role": "scheduler"},
                "ports": [{"name": "tcp-comm", "port": 8786}],
            },
        },
    ]
