"""Real Dask processes run as pods, unchanged."""

from __future__ import annotations

import json
from typing import Any

from tests.local.node.kit import Cluster, a_pod, a_service, is_over, phase

CLIENT = """
import json, distributed
with distributed.Client("tcp://scheduler.default.svc:8786") as client:
    client.wait_for_workers(2)
    workers = client.scheduler_info()["workers"]
    total = client.submit(sum, client.map(lambda x: x * x, range(100))).result()
print(json.dumps([sorted(worker["name"] for worker in workers.values()), sorted(workers), total]))
"""


def dask(name: str, *args: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "tcp-comm", "containerPort": 8786}, {"name": "http-dashboard", "containerPort": 8787}]
    image = "ghcr.io/dask/dask:latest"
    return a_pod(name, {"name": "main", "image": image, "args": list(args), "ports": ports}, **spec)


async def test_scheduler_workers_and_client_meet(cluster: Cluster) -> None:
    await cluster.add_node()
    ports = [{"name": "tcp-comm", "port": 8786, "targetPort": "tcp-comm"}]
    await cluster.create(a_service("scheduler", {"app": "scheduler"}, *ports))
    await cluster.create(dask("scheduler", "dask", "scheduler"))
    for name in ("one", "two"):
        command = ["dask", "worker", "tcp://scheduler.default.svc:8786", "--name", "$(NAME)"]
        worker = dask(name, *command, "--nthreads", "1")
        worker["spec"]["containers"][0]["env"] = [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        ]
        await cluster.create(worker)
    await cluster.create(dask("client", "python", "-c", CLIENT, restartPolicy="Never"))
    pod = await cluster.until("client", is_over, limit=60)
    log = await cluster.log("client")
    assert phase(pod) == "Succeeded", log
    names, addresses, total = json.loads(log.splitlines()[-1])
    assert names == ["one", "two"]
    assert total == sum(x * x for x in range(100))
    pods = [await cluster.pod(name) for name in names]
    assert {address.split("/")[2].split(":")[0] for address in addresses} == {
        pod["status"]["podIP"] for pod in pods
    }
