"""Many clusters created at once: seconds until each is ready.

Run it by ``python -m benchmarks.many_clusters``.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.scale_node import CLUSTERS, NAMESPACE, LoopLag, cluster, controller, is_ready, kubernetes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with kubernetes() as (local, kube), controller(local.kubeconfig) as process:
        before = process.requests(writes=True)
        ready: dict[str, float] = {}
        with LoopLag(process) as lag:
            start = time.perf_counter()
            for number in range(arguments.clusters):
                kube.create(cluster(f"many-{number}", arguments.workers), NAMESPACE)
            created = time.perf_counter() - start

            def all_are_ready(found: dict[str, object]) -> bool:
                for name, one in found.items():
                    assert isinstance(one, dict)
                    if name not in ready and is_ready(one):
                        ready[name] = time.perf_counter() - start
                return len(ready) == arguments.clusters

            kube.wait_all(CLUSTERS, NAMESPACE, until=all_are_ready, timeout=300)
        seconds = sorted(ready.values())
        writes = (process.requests(writes=True) - before) / arguments.clusters
        print(
            f"{arguments.clusters} clusters of {arguments.workers} workers, created within {created:.1f} s: "
            f"the first ready after {seconds[0]:.1f} s, half after {seconds[len(seconds) // 2]:.1f} s, "
            f"all after {seconds[-1]:.1f} s; {writes:.1f} writes a cluster; {lag}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
