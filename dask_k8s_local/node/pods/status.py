"""A pod's status, from the states of its containers: pure, in kubelet's words.

See https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.amounts import is_sidecar
from dask_k8s_local.node.times import timestamp

OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@dataclass
class ContainerRecord:
    """What kubelet knows about one container of a pod."""

    spec: Object
    state: Object
    last_state: Object = field(default_factory=dict)
    is_ready: bool = False
    is_started: bool = False
    restart_count: int = 0
    container_id: str = ""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def terminated(self) -> Object | None:
        return self.state.get("terminated")


@dataclass
class PodRecord:
    """What kubelet knows about one pod."""

    pod: Object
    start_time: datetime
    host_ip: str
    pod_ip: str = ""
    init_containers: list[ContainerRecord] = field(default_factory=list)
    containers: list[ContainerRecord] = field(default_factory=list)
    is_ending: bool = False
    """Whether no container will be restarted, as the pod is being deleted."""
    failure: tuple[str, str] | None = None
    """Reason and message of a failure that isn't a container's, e.g. DeadlineExceeded."""

    @property
    def has_failed(self) -> bool:
        """Whether the pod has failed as a whole: not before its containers have ended."""
        everyone = [*self.init_containers, *self.containers]
        return self.failure is not None and not any("running" in container.state for container in everyone)


def first_record(container: Object, has_init_containers: bool) -> ContainerRecord:
    reason = "PodInitializing" if has_init_containers else "ContainerCreating"
    return ContainerRecord(container, {"waiting": {"reason": reason}})


def container_status(record: ContainerRecord) -> Object:
    image = record.spec.get("image") or ""
    status: Object = {
        "name": record.name,
        "image": image,
        "imageID": image if record.container_id else "",
        "ready": record.is_ready,
        "started": record.is_started,
        "restartCount": record.restart_count,
        "state": record.state,
        "lastState": record.last_state,
    }
    if record.container_id:
        status["containerID"] = record.container_id
    return status


def restart_policy(pod: Object) -> str:
    return str(pod["spec"].get("restartPolicy") or "Always")


def is_initialized(record: PodRecord) -> bool:
    """Return whether all init containers have succeeded and all sidecars have started."""
    return all(
        init.is_started if is_sidecar(init.spec) else (init.terminated or {}).get("exitCode") == 0
        for init in record.init_containers
    )


def pod_phase(record: PodRecord) -> str:
    if record.has_failed:
        return "Failed"
    policy = restart_policy(record.pod)
    plain_init = [init for init in record.init_containers if not is_sidecar(init.spec)]
    if policy == "Never" and any((init.terminated or {}).get("exitCode") for init in plain_init):
        return "Failed"
    states = record.containers
    is_over = all(container.terminated for container in states)
    if not is_over and not _was_initialized(record):
        return "Pending"
    if any("waiting" in container.state and not container.last_state for container in states):
        return "Pending"
    # Sidecars may still have to end.
    is_over = is_over and not any("running" in init.state for init in record.init_containers)
    if not is_over or (policy == "Always" and not record.is_ending):
        return "Running"
    if all((container.terminated or {})["exitCode"] == 0 for container in states):
        return "Succeeded"
    return "Failed" if policy == "Never" or record.is_ending else "Running"


def _was_initialized(record: PodRecord) -> bool:
    return is_initialized(record) or any(
        "running" in container.state or container.last_state for container in record.containers
    )


def pod_status(record: PodRecord, moment: datetime) -> Object:
    """Return the whole status, conditions of others included."""
    phase = pod_phase(record)
    status: Object = {
        "phase": phase,
        "conditions": _conditions(record, phase, moment),
        "hostIP": record.host_ip,
        "hostIPs": [{"ip": record.host_ip}],
        "startTime": timestamp(record.start_time),
        "containerStatuses": [container_status(container) for container in record.containers],
    }
    if record.init_containers:
        status["initContainerStatuses"] = [
            container_status(container) for container in record.init_containers
        ]
    if record.pod_ip:
        status |= {"podIP": record.pod_ip, "podIPs": [{"ip": record.pod_ip}]}
    if record.has_failed and record.failure is not None:
        status |= dict(zip(("reason", "message"), record.failure, strict=True))
    return status


def _conditions(record: PodRecord, phase: str, moment: datetime) -> list[Object]:
    before: list[Object] = (record.pod.get("status") or {}).get("conditions") or []
    others = [condition for condition in before if condition["type"] not in OWN_CONDITIONS]
    is_over = phase in ("Succeeded", "Failed")
    initialized = is_initialized(record) or phase == "Succeeded"
    wanted = {
        "PodReadyToStartContainers": _truth(bool(record.pod_ip) and not is_over),
        "Initialized": _initialized_condition(record) if not initialized else _initialized_truth(phase),
        "ContainersReady": _containers_ready(record, phase),
        "PodScheduled": _truth(True),
    }
    wanted["Ready"] = _ready(record, wanted["ContainersReady"], {c["type"]: c["status"] for c in others})
    current = {condition["type"]: condition for condition in before}
    own = []
    for type_ in OWN_CONDITIONS:
        condition = {"type": type_, **wanted[type_]}
        same = current.get(type_, {}).get("status") == condition["status"]
        condition["lastTransitionTime"] = current[type_]["lastTransitionTime"] if same else timestamp(moment)
        own.append(condition)
    return [*own, *others]


def _truth(is_true: bool) -> dict[str, str]:
    return {"status": "True" if is_true else "False"}


def _initialized_truth(phase: str) -> dict[str, str]:
    return {"status": "True", **({"reason": "PodCompleted"} if phase == "Succeeded" else {})}


def _initialized_condition(record: PodRecord) -> dict[str, str]:
    incomplete = [
        init.name
        for init in record.init_containers
        if not (init.is_started if is_sidecar(init.spec) else (init.terminated or {}).get("exitCode") == 0)
    ]
    return {
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(incomplete)}]",
    }


def _containers_ready(record: PodRecord, phase: str) -> dict[str, str]:
    if phase == "Succeeded":
        return {"status": "False", "reason": "PodCompleted"}
    if phase == "Failed":
        return {"status": "False", "reason": "PodFailed"}
    watched = [*(init for init in record.init_containers if is_sidecar(init.spec)), *record.containers]
    unready = [container.name for container in watched if not container.is_ready]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return {"status": "False", "reason": "ContainersNotReady", "message": message}
    return {"status": "True"}


def _ready(record: PodRecord, containers_ready: dict[str, str], others: Mapping[str, Any]) -> dict[str, str]:
    if containers_ready["status"] != "True":
        return containers_ready
    gates = [gate["conditionType"] for gate in record.pod["spec"].get("readinessGates") or []]
    missing = [gate for gate in gates if others.get(gate) != "True"]
    if missing:
        first = missing[0]
        state = "does not exist" if first not in others else f'has status of "{others[first]}"'
        verb = f'corresponding condition of pod readiness gate "{first}" {state}'
        if first in others:
            verb = f'the status of pod readiness gate "{first}" is not "True", but {others[first]}'
        return {"status": "False", "reason": "ReadinessGatesNotReady", "message": verb}
    return {"status": "True"}
