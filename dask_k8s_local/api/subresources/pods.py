"""Which pod, container and node a request is about."""

from __future__ import annotations

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.kinds.pod_spec import containers
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import Kubelet, Object


def pod_of(call: Call) -> Object:
    pod: Object = clone(call.operations.get(call.served, call.namespace, call.target.name).object)
    return pod


def kubelet_of(call: Call, pod: Object) -> Kubelet:
    name = pod["metadata"]["name"]
    node = pod["spec"].get("nodeName")
    if not node:
        raise errors.bad_request(f"pod {name} does not have a host assigned")
    kubelet = call.kubelets.get(node)
    if kubelet is None:
        raise errors.service_unavailable(f'Get pods/{name}: node "{node}" does not answer')
    return kubelet


def container_of(call: Call, pod: Object) -> str:
    """Return the container that the query names, or else the only or the default one."""
    name = pod["metadata"]["name"]
    known = [container["name"] for container in containers(pod["spec"])]
    asked = call.http.query.get("container")
    if asked:
        if asked not in known:
            raise errors.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    main = [container["name"] for container in pod["spec"]["containers"]]
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in main:
        return str(default)
    if len(main) == 1:
        return str(main[0])
    raise errors.bad_request(
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    )
