"""A DaskJob, parsed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import moment
from dask_k8s_models import names
from dask_k8s_models.job import JobSpec

COMPLETE = "Complete"
FAILED = "Failed"
SUSPENDED = "Suspended"


@dataclass(frozen=True)
class Job(Custom[JobSpec]):
    """A DaskJob."""

    kind: ClassVar[str] = "DaskJob"
    model = JobSpec

    @property
    def has_own_cluster(self) -> bool:
        """The cluster is made for the job, and goes with it."""
        return not self.raw_spec.get("clusterRef")

    @property
    def cluster(self) -> str:
        """The name of the job's cluster, be it its own or not."""
        reference = self.raw_spec.get("clusterRef")
        return str(reference["name"]) if reference else names.job_cluster(self.name)

    @property
    def is_suspended(self) -> bool:
        """The user wants no pods for now."""
        return self.spec is not None and self.spec.suspend

    @property
    def restart_policy(self) -> str:
        """What the kubelet does when the job's container has failed."""
        written = self.raw_spec["job"]["spec"].get("restartPolicy")
        # The kubelet restarts a container at once, before anybody could tell it that this was one too many.
        return str(written or ("Never" if self.raw_spec.get("backoffLimit") == 0 else "OnFailure"))

    @property
    def backoff_limit(self) -> int | None:
        """How many failures the job survives; None if any number.

        Unset, a job is restarted until it completes successfully, unless its pod is never to be restarted.
        """
        limit = self.raw_spec.get("backoffLimit")
        if limit is not None:
            return int(limit)
        return 0 if self.restart_policy == "Never" else None

    @property
    def attempts(self) -> int:
        """How many pods were started, as far as that was noted."""
        return int(self.status.get("attempts") or 0)

    @property
    def has_started(self) -> bool:
        """A pod of the job has run, since the job was resumed if it was suspended."""
        return bool(self.status.get("startTime"))

    @property
    def has_finished(self) -> bool:
        """The end of the job has been written down: nothing changes it any more."""
        return self._holds(COMPLETE) or self._holds(FAILED)

    @property
    def was_successful(self) -> bool:
        """The job has finished and its pod succeeded."""
        return self._holds(COMPLETE)

    @property
    def was_suspended(self) -> bool:
        """The status says that the job is suspended."""
        return self._holds(SUSPENDED)

    @property
    def ended(self) -> datetime | None:
        """When the job finished."""
        return moment(self.status.get("endTime"))

    def active_since(self, now: datetime) -> datetime:
        """Return when the time began that ``activeDeadlineSeconds`` limits: anew with every resumption."""
        if self.was_suspended:
            return now
        suspended = self.condition(SUSPENDED)
        return moment(suspended.get("lastTransitionTime")) or self.meta.created or now

    def _holds(self, condition: str) -> bool:
        return self.condition(condition).get("status") == "True"
