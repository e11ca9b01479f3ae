# mypy: disallow-untyped-calls=False
"""How many workers a cluster has, and in which groups."""

from __future__ import annotations

from typing import Any

from dask_k8s_client import groups, pods
from dask_k8s_client.adaptivity import Adaptivity
from dask_k8s_client.errors import ValidationError
from dask_k8s_client.manager import Manager
from dask_k8s_models import make_worker_spec, names

Json = dict[str, Any]


class Scalable(Manager):
    """What of `KubeCluster` is about its workers."""

    def scale(self, n: int, worker_group: str = names.DEFAULT_GROUP) -> Any:
        """Scale a worker group to n workers, and end its autoscaling.

        Parameters
        ----------
        n : int
            Target number of workers.
        worker_group : str
            The group to scale.

        Examples
        --------
        >>> cluster.scale(10)  # doctest: +SKIP
        >>> cluster.scale(7, worker_group="high-mem-workers")  # doctest: +SKIP
        """
        return self._call(lambda: self._session.groups.scale(n, worker_group))

    def adapt(  # type: ignore[override]
        self, minimum: int | None = None, maximum: int | None = None, worker_group: str = names.DEFAULT_GROUP
    ) -> Any:
        """Let the operator choose the number of workers, by the work that is waiting.

        Parameters
        ----------
        minimum : int, optional
            Minimum number of workers, 0 if omitted.
        maximum : int, optional
            Maximum number of workers, unbounded if omitted.
        worker_group : str
            The group to adapt.

        Examples
        --------
        >>> cluster.adapt(minimum=1, maximum=10)  # doctest: +SKIP
        """
        least = minimum or 0
        effect = self._call(lambda: self._session.groups.adapt(least, maximum, worker_group))
        return Adaptivity(least, maximum, effect)

    def add_worker_group(
        self,
        name: str | None = None,
        n_workers: int = 3,
        image: str | None = None,
        resources: Json | None = None,
        worker_command: list[str] | str | None = None,
        env: list[Json] | Json | None = None,
        custom_spec: Json | None = None,
        n: int | None = None,
    ) -> Any:
        """Create a further worker group.

        Parameters
        ----------
        name : str, optional
            Name of the group; may be omitted if there is a ``custom_spec``.
        n_workers : int
            Workers to start with; ``n`` is short for it.
        image, resources, worker_command, env : optional
            As for `KubeCluster`; what is omitted is taken from the cluster.
        custom_spec : dict, optional
            A worker spec, as `make_worker_spec` returns it, instead of what the other parameters describe.

        Returns
        -------
        str
            The group's name.

        Examples
        --------
        >>> cluster.add_worker_group("high-mem-workers", n_workers=5)  # doctest: +SKIP
        """
        if name is None and custom_spec is None:
            raise ValidationError("add_worker_group needs a name, or a custom_spec.")
        given = {"image": image, "resources": resources, "worker_command": worker_command, "env": env}
        given = {key: value for key, value in given.items() if value is not None}

        async def add() -> str:
            spec = custom_spec
            if spec is None:
                assert self._session.resource is not None
                known = {"worker_command": self.worker_command, **groups.defaults(self._session.resource)}
                spec = make_worker_spec(n_workers=n_workers if n is None else n, **{**known, **given})
            return await self._session.groups.add(name, spec)

        return self._call(add)

    def delete_worker_group(self, name: str) -> Any:
        """Delete a worker group, after its workers have handed their results on.

        Parameters
        ----------
        name : str
            Name of the group.

        Raises
        ------
        TimeoutError
            Its workers don't go, e.g. as nobody could take over what they hold; then the group stays.

        Examples
        --------
        >>> cluster.delete_worker_group("high-mem-workers")  # doctest: +SKIP
        """
        return self._call(lambda: self._session.groups.delete(name, self.resource_timeout))

    @property
    def requested(self) -> set[str]:
        """Names of the worker pods that exist."""
        return {pod["metadata"]["name"] for pod in self._session.now.workers}

    @property
    def plan(self) -> set[str]:
        """Names of the workers that the groups' replicas ask for; those without a pod yet are numbered."""
        now = self._session.now
        planned = set()
        for name, group in now.groups.items():
            members = sorted(pod["metadata"]["name"] for pod in now.workers if pods.group(pod) == name)
            missing = int(group["spec"]["worker"].get("replicas", 1)) - len(members)
            planned |= {*members, *(f"{name}-worker-{number}" for number in range(missing))}
        return planned
