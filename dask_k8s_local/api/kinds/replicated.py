"""Deployments and ReplicaSets: pods from a template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.pod_spec import default_pod_spec
from dask_k8s_local.api.kinds.pod_validation import pod_spec_problems
from dask_k8s_local.api.kinds.strategy import GenerationStrategy
from dask_k8s_local.interfaces import Object
from dask_k8s_local.workloads.selectors import selects


class ReplicatedStrategy(GenerationStrategy):
    """What Deployments and ReplicaSets have in common."""

    def default(self, body: Object) -> None:
        spec = body.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        template = spec.setdefault("template", {})
        template.setdefault("metadata", {})
        default_pod_spec(template.setdefault("spec", {}))

    def validate(self, body: Object) -> Sequence[Cause]:
        return list(self._problems(body["spec"]))

    def _problems(self, spec: Object) -> Iterator[Cause]:
        selector, template = spec.get("selector"), spec["template"]
        if selector is None:
            yield errors.required("spec.selector")
        elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
            detail = "empty selector is invalid for deployment"
            yield errors.invalid_value("spec.selector", selector, detail)
        else:
            labels = template["metadata"].get("labels") or {}
            if not selects(selector, labels):
                yield errors.invalid_value(
                    "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
                )
        if spec["replicas"] < 0:
            yield errors.invalid_value(
                "spec.replicas", spec["replicas"], "must be greater than or equal to 0"
            )
        policy = template["spec"]["restartPolicy"]
        if policy != "Always":
            yield errors.not_supported("spec.template.spec.restartPolicy", policy, ("Always",))
        yield from pod_spec_problems(template["spec"], "spec.template.spec")

    def validate_update(self, new: Object, old: Object) -> Sequence[Cause]:
        if new["spec"].get("selector") == old["spec"].get("selector"):
            return ()
        return (errors.invalid_value("spec.selector", new["spec"].get("selector"), "field is immutable"),)


class DeploymentStrategy(ReplicatedStrategy):
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"""

    def default(self, body: Object) -> None:
        super().default(body)
        spec = body["spec"]
        spec.setdefault("progressDeadlineSeconds", 600)
        spec.setdefault("revisionHistoryLimit", 10)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")

    def _problems(self, spec: Object) -> Iterator[Cause]:
        yield from super()._problems(spec)
        strategy = spec["strategy"]
        if strategy["type"] not in ("RollingUpdate", "Recreate"):
            yield errors.not_supported("spec.strategy.type", strategy["type"], ("Recreate", "RollingUpdate"))
        elif strategy["type"] == "Recreate" and strategy.get("rollingUpdate") is not None:
            yield errors.forbidden_field(
                "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
            )
