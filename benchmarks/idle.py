"""100 idle clusters for a minute: what the controller asks of the API server, and how much processor it uses.

Nothing but watches is expected. Run it by ``python -m benchmarks.idle``.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.scale_node import CLUSTERS, NAMESPACE, LoopLag, cluster, controller, is_ready, kubernetes
from tests.harness.proxy import ApiProxy


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with (
        kubernetes() as (local, kube),
        ApiProxy(local.kubeconfig) as proxy,
        controller(proxy.kubeconfig) as process,
    ):
        for number in range(arguments.clusters):
            kube.create(cluster(f"idle-{number}", 1), NAMESPACE)
        kube.wait_all(
            CLUSTERS, NAMESPACE, until=lambda found: all(map(is_ready, found.values())), timeout=300
        )
        seen = -1.0
        while (now := process.requests()) != seen:  # Until the last status is written.
            seen = now
            time.sleep(2)
        cpu, watches, writes = process.cpu_seconds(), proxy.requests, len(proxy.writes)
        with LoopLag(process) as lag:
            time.sleep(arguments.seconds)
        requests = process.requests() - seen
        print(
            f"{arguments.clusters} idle clusters, {arguments.seconds:g} s: "
            f"{requests:g} requests but watches, "
            f"{len(proxy.writes) - writes} writes, {proxy.requests - watches} with watches begun anew, "
            f"{process.cpu_seconds() - cpu:.2f} s of processor time; {lag}"
        )
    return int(requests > 0)


if __name__ == "__main__":
    sys.exit(main())
