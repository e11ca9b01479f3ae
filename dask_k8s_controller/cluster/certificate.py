"""A cluster's certificate: made, renewed in good time, and taken into use when that costs nothing. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from dask_k8s_controller.cache.objects import Pod, moment
from dask_k8s_controller.cluster import children
from dask_k8s_controller.cluster.observe import ClusterPlan, ObservedCluster
from dask_k8s_controller.cluster.tls import TLS, hosts, of_pod, wanted
from dask_k8s_controller.plans.actions import Ask, CreateCertificate
from dask_k8s_controller.plans.conditions import Condition
from dask_k8s_controller.scheduler.answers import Problem, holds_nothing
from dask_k8s_models import labels
from dask_k8s_models.scalars import to_time

QUIET = 5.0
"""So many seconds a scheduler has been idle when it is replaced for the sake of its certificate."""

LONGEST_RENEWAL_POLL = 60.0

RENEW_AT_ONCE = (
    f"The annotation {labels.RESTART}, set to another value, replaces them at once: the results in memory "
    "are lost then."
)


def plan_certificate(draft: ClusterPlan) -> None:
    """Have a certificate made if the cluster has none of its own, or another in its last third."""
    observed, cluster = draft.observed, draft.observed.subject
    spec, known = wanted(cluster, draft.policy), observed.certificate
    if spec is None:
        return
    if spec.secretName is not None:
        # The scheduler tells it: it is in a Secret that we can't read.
        scheduler, answer = observed.scheduler, observed.served
        if scheduler is not None and scheduler.is_ready and (answer is None or answer.value is None):
            draft.ask_again(LONGEST_RENEWAL_POLL, Ask.CERTIFICATE, answer)
        return
    if known is not None and draft.waits_until(known.renew_at):
        return
    lifetime = timedelta(seconds=draft.policy.certificate_lifetime)
    draft.actions.append(
        CreateCertificate(
            body=children.tls_secret(cluster),
            is_first=known is None,
            hosts=hosts(cluster.name, cluster.meta.namespace),
            now=observed.now,
            not_after=observed.now + lifetime,
            renew_at=observed.now + lifetime * 2 / 3,
        )
    )
    draft.requeue_after(0)


def is_renewal(observed: ObservedCluster, present: TLS | None, desired: TLS | None) -> bool:
    """Whether a scheduler differs from what it is to be in nothing but its certificate, which we made."""
    known = observed.certificate
    return (
        present is not None
        and desired is not None
        and known is not None
        and known.secret == desired.secret
        and children.is_own_secret(observed.subject, present.secret)
        and bool(present.https) == bool(desired.https)
    )


def plan_renewal(draft: ClusterPlan, scheduler: Pod) -> None:
    """Replace a scheduler whose certificate is renewed when that loses nothing: it is idle and holds none."""
    observed, policy = draft.observed, draft.policy
    ends = observed.certificate.not_after if observed.certificate else observed.now
    poll = max(policy.idle_poll, min((ends - observed.now).total_seconds() / 100, LONGEST_RENEWAL_POLL))
    idle, workers = observed.idle, observed.workers
    is_quiet = idle is not None and idle.value is not None and idle.value >= QUIET
    if any(pod.is_live for pod in observed.runners) or not scheduler.is_ready:
        draft.requeue_after(poll)
    elif idle is None or not is_quiet or idle.age(observed.monotonic) > policy.answer_age:
        draft.ask_again(poll, Ask.IDLE, idle)
    elif workers is None or workers.age(observed.monotonic) > policy.answer_age:
        draft.ask(Ask.WORKERS)
    elif workers.problem is Problem.NONE and holds_nothing(workers.value or ()):
        draft.delete(scheduler, "its certificate is renewed, and it holds nothing")
    else:
        draft.ask_again(poll, Ask.IDLE, workers)


def certificate_condition(observed: ObservedCluster, next_ends: datetime | None) -> Condition:
    """Say whether the certificate that a cluster's scheduler uses is valid, and when it ends.

    That of new pods ends at ``next_ends``; None if it isn't known.
    """
    name = "CertificateValid"
    present = of_pod(observed.scheduler) if observed.scheduler else None
    ends = moment(present.ends) if present and present.ends else next_ends
    if ends is None:
        return Condition(name, False, "CertificateUnknown", "The certificate isn't known yet.")
    if ends <= observed.now:
        message = f"The certificate ended at {to_time(ends)}: nobody can connect any more. {RENEW_AT_ONCE}"
        return Condition(name, False, "CertificateExpired", message)
    message = f"The certificate ends at {to_time(ends)}."
    if next_ends is not None and ends < next_ends:
        message += (
            " Another is there: scheduler and workers are replaced by such with that one as soon as the "
            f"scheduler is idle and no results are held, and no job runs. {RENEW_AT_ONCE}"
        )
        return Condition(name, True, "RenewalPending", message)
    return Condition(name, True, "CertificateValid", message)
