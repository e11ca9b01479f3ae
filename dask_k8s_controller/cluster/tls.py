"""TLS of a cluster: what is wanted, what its scheduler speaks, and what makes a pod speak it. Pure.

The scheduler's pod decides for all that join it: workers and job runners get the Secret that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dask_k8s_controller.cache.certificate import Certificate, fingerprint
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.metadata import with_env
from dask_k8s_controller.settings import Policy, TLSMode
from dask_k8s_models import labels, names, pods
from dask_k8s_models.scalars import to_time
from dask_k8s_models.security import TLSSpec

VOLUME = "dask-tls"
DIRECTORY = "/var/run/secrets/dask.org/tls"

CERTIFICATE, KEY, AUTHORITY = (f"{DIRECTORY}/{name}" for name in ("tls.crt", "tls.key", "ca.crt"))

COMM = "DASK_DISTRIBUTED__COMM__"
VARIABLES = {
    f"{COMM}DEFAULT_SCHEME": "tls",
    f"{COMM}REQUIRE_ENCRYPTION": "True",
    f"{COMM}TLS__CA_FILE": AUTHORITY,
    **{f"{COMM}TLS__{role}__CERT": CERTIFICATE for role in ("SCHEDULER", "WORKER", "CLIENT")},
    **{f"{COMM}TLS__{role}__KEY": KEY for role in ("SCHEDULER", "WORKER", "CLIENT")},
}
"""https://distributed.dask.org/en/stable/tls.html"""

HTTPS = "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD__TLS__"
HTTPS_VARIABLES = {f"{HTTPS}CA_FILE": AUTHORITY, f"{HTTPS}CERT": CERTIFICATE, f"{HTTPS}KEY": KEY}

UNVERIFIED = "unverified"
"""Stands for a certificate that the controller can't know, as it reads no Secret."""


@dataclass(frozen=True)
class TLS:
    """How a pod speaks TLS."""

    secret: str
    """The Secret that it mounts."""
    https: str = ""
    """Empty if a scheduler serves plain HTTP; else the digest of its certificate, or `UNVERIFIED`."""
    ends: str = ""
    """When the certificate ends, if that is known."""

    @property
    def annotations(self) -> dict[str, str]:
        """What the pod tells of it."""
        said = {labels.TLS_SECRET: self.secret, labels.HTTPS: self.https, labels.CERTIFICATE_ENDS: self.ends}
        return {key: value for key, value in said.items() if value}


def is_refused(cluster: Cluster, policy: Policy) -> bool:
    """Whether a cluster wants no TLS where it is required."""
    return policy.tls is TLSMode.REQUIRED and wanted(cluster, policy) is None


def wanted(cluster: Cluster, policy: Policy) -> TLSSpec | None:
    """Return what TLS a cluster is to have: its own choice, else the controller's."""
    spec = cluster.spec.tls if cluster.spec else None
    if spec is not None:
        return None if spec.enabled is False else spec
    return None if policy.tls is TLSMode.OFF else TLSSpec()


def of_pod(pod: Pod) -> TLS | None:
    """Return how a pod speaks TLS; None if it speaks plain TCP."""
    said = pod.meta.annotations
    if not said.get(labels.TLS_SECRET):
        return None
    return TLS(said[labels.TLS_SECRET], said.get(labels.HTTPS, ""), said.get(labels.CERTIFICATE_ENDS, ""))


def of_new_scheduler(spec: TLSSpec | None, certificate: Certificate | None) -> TLS | None:
    """Return how a new scheduler is to speak TLS; None if it isn't, or while there is no certificate yet."""
    if spec is None:
        return None
    if spec.secretName is not None:
        return TLS(spec.secretName, UNVERIFIED if spec.dashboard else "")
    if certificate is None:
        return None
    digest = fingerprint(certificate.pem) if spec.dashboard else ""
    return TLS(certificate.secret, digest, to_time(certificate.not_after))


def are_settled(scheduler: Pod | None, cluster: Cluster, policy: Policy) -> bool:
    """Whether it is known how pods that join a cluster have to speak."""
    spec = wanted(cluster, policy)
    return scheduler is not None or spec is None or bool(spec.secretName or cluster.status.get("tls"))


def of_joining(scheduler: Pod | None, cluster: Cluster, policy: Policy) -> TLS | None:
    """Return how pods that join a cluster speak, once that is settled: as its scheduler, or the next one."""
    if scheduler is not None:
        return of_pod(scheduler)
    spec = wanted(cluster, policy)
    if spec is None:
        return None
    return TLS(spec.secretName or cluster.status["tls"]["secretName"], UNVERIFIED if spec.dashboard else "")


def is_cut_off(pod: Pod, scheduler: Pod | None) -> bool:
    """Whether a worker's pod can't speak to the present scheduler, and never will."""
    return scheduler is not None and _protocol(pod) != _protocol(scheduler)


def _protocol(pod: Pod) -> tuple[str, bool]:
    return pod.meta.annotations.get(labels.TLS_SECRET, ""), labels.HTTPS in pod.meta.annotations


def hosts(cluster: str, namespace: str) -> tuple[str, ...]:
    """Name the hosts that a cluster's certificate is good for; ports are forwarded to the last two."""
    name = names.scheduler(cluster)
    host = names.scheduler_host(cluster, namespace)
    return host, f"{name}.{namespace}", name, "localhost", "127.0.0.1"


def secured(
    spec: Mapping[str, Any],
    tls: TLS | None,
    containers: Iterable[int] | None = None,
    *,
    serves: bool = False,
) -> Object:
    """Return a pod spec with what makes these containers, by default all, speak TLS; what users set wins.

    A scheduler ``serves`` HTTPS, if ``tls`` says so.
    """
    if tls is None:
        return {**spec}
    chosen = set(range(len(spec["containers"])) if containers is None else containers)
    variables = {**VARIABLES, **(HTTPS_VARIABLES if serves and tls.https else {})}
    volumes = list(spec.get("volumes") or ())
    if not any(volume["name"] == VOLUME for volume in volumes):
        volumes.append({"name": VOLUME, "secret": {"secretName": tls.secret}})
    return {
        **spec,
        "volumes": volumes,
        "containers": [
            with_env(_with_mount(container), variables) if index in chosen else container
            for index, container in enumerate(spec["containers"])
        ],
    }


def _with_mount(container: Mapping[str, Any]) -> Object:
    mounts = list(container.get("volumeMounts") or ())
    if not any(mount["mountPath"].rstrip("/") == DIRECTORY for mount in mounts):
        mounts.append({"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True})
    return {**container, "volumeMounts": mounts}


PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def probed_by_https(container: Mapping[str, Any]) -> Object:
    """Let the probes of a scheduler ask its dashboard by HTTPS, unless they say by what."""
    port = pods.dashboard_port({"containers": [container]})
    probes = {name: container[name] for name in PROBES if name in container}
    return {**container, **{name: _by_https(probe, port) for name, probe in probes.items()}}


def _by_https(probe: Object, port: int) -> Object:
    asked = probe.get("httpGet")
    if not asked or "scheme" in asked or asked["port"] not in (pods.HTTP_DASHBOARD, port, str(port)):
        return probe
    return {**probe, "httpGet": {**asked, "scheme": "HTTPS"}}
