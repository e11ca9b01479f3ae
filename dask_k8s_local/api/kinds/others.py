"""Kinds with little of their own: RBAC bindings, Leases, disruption budgets, autoscalers, nodes."""

from __future__ import annotations

from collections.abc import Sequence

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.strategy import GenerationStrategy, Strategy
from dask_k8s_local.api.meta import metadata, names
from dask_k8s_local.interfaces import Object


class WithStatus(Strategy):
    """A kind with a status, whose generations aren't counted."""

    has_status = True


class RbacStrategy(Strategy):
    """Roles may be called nearly anything."""

    valid_name = staticmethod(names.path_segment_problem)


class BindingStrategy(RbacStrategy):
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

    def default(self, body: Object) -> None:
        if "roleRef" in body:
            body["roleRef"].setdefault("apiGroup", "rbac.authorization.k8s.io")
        for subject in body.get("subjects") or ():
            if subject.get("kind") in ("User", "Group"):
                subject.setdefault("apiGroup", "rbac.authorization.k8s.io")

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        if new.get("roleRef") == old.get("roleRef"):
            return ()
        return (errors.invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef"),)


class LeaseStrategy(Strategy):
    """https://kubernetes.io/docs/concepts/architecture/leases/"""

    unconditional_update = False

    def validate(self, body: Object) -> Sequence[Cause]:
        spec = body.get("spec") or {}
        causes = []
        if spec.get("leaseDurationSeconds", 1) <= 0:
            value = spec["leaseDurationSeconds"]
            causes.append(errors.invalid_value("spec.leaseDurationSeconds", value, "must be greater than 0"))
        if spec.get("leaseTransitions", 0) < 0:
            value = spec["leaseTransitions"]
            detail = "must be greater than or equal to 0"
            causes.append(errors.invalid_value("spec.leaseTransitions", value, detail))
        return causes


class BudgetStrategy(GenerationStrategy):
    """https://kubernetes.io/docs/concepts/workloads/pods/disruptions/"""

    unconditional_update = False

    def validate(self, body: Object) -> Sequence[Cause]:
        spec = body.get("spec") or {}
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            told = {key: spec[key] for key in ("minAvailable", "maxUnavailable")}
            return (errors.invalid_value("spec", told, "minAvailable and maxUnavailable cannot be both set"),)
        return ()


class AutoscalerStrategy(WithStatus):
    """https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/"""

    def default(self, body: Object) -> None:
        body.setdefault("spec", {}).setdefault("minReplicas", 1)


class PriorityClassStrategy(Strategy):
    """https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""

    def default(self, body: Object) -> None:
        body.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        if new.get("value") == old.get("value"):
            return ()
        return (errors.forbidden_field("value", "may not be changed in an update."),)


class NodeStrategy(WithStatus):
    """https://kubernetes.io/docs/concepts/architecture/nodes/"""

    def default(self, body: Object) -> None:
        for taint in (body.get("spec") or {}).get("taints") or ():
            if taint.get("effect") == "NoExecute":
                taint.setdefault("timeAdded", metadata.timestamp())
