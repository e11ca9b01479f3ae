"""What the controller makes of a spec: pods, Service, default group."""

from __future__ import annotations

import ast
from importlib import resources
from typing import Any

import pytest
import yaml

from dask_k8s_controller.cluster import children
from dask_k8s_controller.plans.actions import Create
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group import children as worker_children
from dask_k8s_controller.worker_group.children import worker_pod, worker_template
from dask_k8s_controller.worker_group.plan import plan
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from tests.unit.controller.builders import cluster, default_group, group, observed_group, pod_spec


def env_of(pod: dict[str, Any], container: int = 0) -> dict[str, Any]:
    variables = pod["spec"]["containers"][container].get("env", [])
    assert len({variable["name"] for variable in variables}) == len(variables), "a variable is there twice"
    return {variable["name"]: variable.get("value") for variable in variables}


ADDRESS = "tcp://c-scheduler.default.svc:8786"


def made(of: WorkerGroup, address: str = ADDRESS, port: int | None = None) -> dict[str, Any]:
    """A worker's pod of a group."""
    return worker_pod(worker_template(of, address, port), "w")


class TestWorkerPod:
    def test_finds_its_scheduler_at_the_services_own_port(self) -> None:
        env = env_of(made(group(), "tcp://c-scheduler.default.svc:9999"))
        assert env == {
            "DASK_WORKER_NAME": "w",
            "DASK_SCHEDULER_ADDRESS": "tcp://c-scheduler.default.svc:9999",
        }

    def test_speaks_what_its_scheduler_speaks(self) -> None:
        spec = pod_spec("scheduler", "dask", "scheduler", "--protocol=ws")
        growing = plan(observed_group(group(replicas=1), cluster=cluster(scheduler={"spec": spec})), Policy())
        (create,) = (action for action in growing.actions if isinstance(action, Create))
        assert env_of(create.body)["DASK_SCHEDULER_ADDRESS"] == "ws://c-scheduler.default.svc:8786"

    def test_keeps_the_users_environment(self) -> None:
        spec = pod_spec("worker")
        spec["containers"][0]["env"] = [
            {"name": "DASK_SCHEDULER_ADDRESS", "value": "tls://mine:1"},
            {"name": "OTHER", "value": "x"},
        ]
        env = env_of(made(group(spec=spec)))
        assert env == {"DASK_WORKER_NAME": "w", "DASK_SCHEDULER_ADDRESS": "tls://mine:1", "OTHER": "x"}

    def test_lets_the_users_variables_refer_to_ours(self) -> None:
        spec = pod_spec("worker")
        spec["containers"][0]["env"] = [{"name": "ALIAS", "value": "$(DASK_WORKER_NAME)"}]
        assert list(env_of(made(group(spec=spec))))[-1] == "ALIAS"

    def test_gives_the_environment_to_all_containers_but_init_containers(self) -> None:
        spec = pod_spec("worker", initContainers=[{"name": "init", "image": "x"}])
        spec["containers"].append({"name": "sidecar", "image": "y"})
        pod = made(group(spec=spec))
        assert env_of(pod, 1) == env_of(pod, 0)
        assert pod["spec"]["initContainers"] == [{"name": "init", "image": "x"}]

    def test_restarts_on_failure_unless_the_user_says_otherwise(self) -> None:
        assert made(group())["spec"]["restartPolicy"] == "OnFailure"
        always = group(spec=pod_spec("worker", restartPolicy="Always"))
        assert made(always)["spec"]["restartPolicy"] == "Always"

    def test_has_no_service_links_unless_the_user_wants_them(self) -> None:
        assert made(group())["spec"]["enableServiceLinks"] is False
        linked = group(spec=pod_spec("worker", enableServiceLinks=True))
        assert made(linked)["spec"]["enableServiceLinks"] is True

    def test_belongs_to_its_group(self) -> None:
        (owner,) = made(group())["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("DaskWorkerGroup", "c-default", "group")
        assert owner["controller"] is True

    def test_does_not_change_the_spec_that_it_is_made_from(self) -> None:
        of = group()
        before = repr(of.raw_spec)
        made(of)
        assert repr(of.raw_spec) == before

    def test_leaves_nulls_out(self) -> None:
        spec = pod_spec("worker")
        spec["containers"][0]["env"] = None
        assert env_of(made(group(spec=spec)))["DASK_WORKER_NAME"] == "w"


class TestSchedulerPod:
    def routes(self, pod: dict[str, Any], container: int = 0) -> Any:
        return env_of(pod, container).get(children.HTTP_ROUTES)

    def test_keeps_the_routes_of_its_configuration_to_which_the_preload_adds(self) -> None:
        pod = children.scheduler_pod(cluster())
        assert self.routes(pod) is None
        assert children.PRELOADS in env_of(pod)

    @pytest.mark.parametrize(
        "own",
        [{"env": [{"name": children.PRELOADS, "value": "['mine']"}]}, {"args": ["--preload", "mine.py"]}],
    )
    def test_with_preloads_of_the_users_serves_the_routes_that_workers_are_retired_by_beside_distributeds(
        self, own: dict[str, Any]
    ) -> None:
        # A scheduler that runs in this process adds to the configuration that is loaded.
        written = resources.files("distributed").joinpath("distributed.yaml").read_text()
        routes = yaml.safe_load(written)["distributed"]["scheduler"]["http"]["routes"]
        spec = {"containers": [{"name": "scheduler", "image": "dask", **own}]}
        pod = children.scheduler_pod(cluster(scheduler={"spec": spec}))
        assert ast.literal_eval(self.routes(pod)) == [
            *routes,
            "distributed.http.scheduler.api",
        ]

    def test_loads_the_controllers_routes_with_a_short_line(self) -> None:
        env = env_of(children.scheduler_pod(cluster()))
        (line,) = ast.literal_eval(env[children.PRELOADS])
        assert len(line) < 100
        compile(env[children.PRELOAD_SOURCE], "preload", "exec")
        assert "$(" not in env[children.PRELOAD_SOURCE], "Kubernetes would expand it"

    def test_keeps_the_users_preloads(self) -> None:
        spec = pod_spec("scheduler")
        spec["containers"][0]["env"] = [{"name": children.PRELOADS, "value": "['mine']"}]
        env = env_of(children.scheduler_pod(cluster(scheduler={"spec": spec})))
        assert env[children.PRELOADS] == "['mine']"

    def test_keeps_the_users_routes(self) -> None:
        spec = pod_spec("scheduler")
        spec["containers"][0]["env"] = [{"name": children.HTTP_ROUTES, "value": "['mine']"}]
        assert self.routes(children.scheduler_pod(cluster(scheduler={"spec": spec}))) == "['mine']"

    def test_the_container_called_scheduler_gets_the_preload(self) -> None:
        spec = pod_spec("sidecar")
        spec["containers"].append({"name": "scheduler", "image": "dask"})
        pod = children.scheduler_pod(cluster(scheduler={"spec": spec}))
        assert children.PRELOADS not in env_of(pod, 0)
        assert children.PRELOADS in env_of(pod, 1)

    def test_else_the_first_one_does(self) -> None:
        spec = pod_spec("main")
        spec["containers"].append({"name": "sidecar", "image": "dask"})
        pod = children.scheduler_pod(cluster(scheduler={"spec": spec}))
        assert children.PRELOADS in env_of(pod, 0)
        assert children.PRELOADS not in env_of(pod, 1)


def test_what_the_scheduler_needs_goes_to_dasks_container_not_to_sidecars() -> None:
    agent = {"name": "agent", "image": "x", "command": ["sleep", "1000"]}
    main = {"name": "dask-scheduler", "image": "x", "args": ["dask", "scheduler"]}

    pod = children.scheduler_pod(cluster(scheduler={"spec": {"containers": [agent, main]}}))

    assert env_of(pod, 0) == {}
    assert children.PRELOADS in env_of(pod, 1)


class TestService:
    def test_gets_selector_and_ports_if_it_has_none(self) -> None:
        spec = children.scheduler_service(cluster())["spec"]
        assert spec["selector"] == {labels.CLUSTER_NAME: "c", labels.COMPONENT: "scheduler"}
        assert [(port["name"], port["port"], port["targetPort"]) for port in spec["ports"]] == [
            ("tcp-comm", 8786, 8786),
            ("http-dashboard", 8787, 8787),
        ]

    def test_points_to_the_containers_named_ports(self) -> None:
        spec = pod_spec("scheduler")
        spec["containers"][0]["ports"] = [{"name": "tcp-comm", "containerPort": 9786}]
        ports = children.scheduler_service(cluster(scheduler={"spec": spec}))["spec"]["ports"]
        assert [port["targetPort"] for port in ports] == ["tcp-comm", 8787]

    def test_keeps_what_the_user_wrote(self) -> None:
        wanted = {"type": "NodePort", "ports": [{"name": "tcp-comm", "port": 1234}], "selector": {"a": "b"}}
        of = cluster(scheduler={"spec": pod_spec("scheduler"), "service": wanted})
        assert children.scheduler_service(of)["spec"] == wanted

    @pytest.mark.parametrize(
        ("words", "ports", "scheduler", "dashboard"),
        [
            ([], None, "tcp://c-scheduler.default.svc:8786", "http://c-scheduler.default.svc:8787"),
            ([], [("tcp-comm", 1)], "tcp://c-scheduler.default.svc:1", None),
            ([], [("a", 1), ("b", 2)], "tcp://c-scheduler.default.svc:8786", None),
            (
                ["--protocol", "ws"],
                None,
                "ws://c-scheduler.default.svc:8786",
                "http://c-scheduler.default.svc:8787",
            ),
            (
                ["--dashboard-prefix", "/me"],
                None,
                "tcp://c-scheduler.default.svc:8786",
                "http://c-scheduler.default.svc:8787/me",
            ),
        ],
    )
    def test_addresses_follow_the_command_and_the_service(
        self,
        words: list[str],
        ports: list[tuple[str, int]] | None,
        scheduler: str,
        dashboard: str | None,
    ) -> None:
        service = ports and {"ports": [{"name": name, "port": port} for name, port in ports]}
        spec = pod_spec("scheduler", "dask", "scheduler", *words)
        of = cluster(scheduler={"spec": spec, **({"service": service} if service else {})})

        assert children.scheduler_address(of) == scheduler
        assert children.dashboard_address(of) == dashboard


class TestLabelsAndAnnotations:
    """As the documentation writes it, word for word."""

    def test_the_example(self) -> None:
        example = cluster(
            "example",
            metadata={"annotations": {"hello": "cache"}},
            worker={"metadata": {"annotations": {"foo": "bar"}}},
            scheduler={"metadata": {"annotations": {"fizz": "buzz"}}},
        )
        annotations = children.scheduler_pod(example)["metadata"]["annotations"]
        assert annotations.items() >= {"fizz": "buzz", "hello": "cache"}.items()
        assert "foo" not in annotations

    def test_sub_resource_wins_over_top_level(self) -> None:
        of = cluster(metadata={"labels": {"foo": "bar"}}, worker={"metadata": {"labels": {"foo": "baz"}}})
        assert made(default_group(of))["metadata"]["labels"]["foo"] == "baz"
        assert children.scheduler_pod(of)["metadata"]["labels"]["foo"] == "bar"
        assert children.scheduler_service(of)["metadata"]["labels"]["foo"] == "bar"

    def test_reserved_labels_can_not_be_set(self) -> None:
        of = cluster(
            metadata={"labels": {labels.COMPONENT: "superworker"}},
            worker={"metadata": {"labels": {labels.COMPONENT: "superworker", labels.CLUSTER_NAME: "x"}}},
        )
        found = made(default_group(of))["metadata"]["labels"]
        assert found[labels.COMPONENT] == "worker"
        assert found[labels.CLUSTER_NAME] == "c"

    @pytest.mark.parametrize(
        "key",
        [
            "kubectl.kubernetes.io/last-applied-configuration",
            "kopf.zalando.org/last-handled-configuration",
            "argocd.argoproj.io/tracking-id",
            "kustomize.toolkit.fluxcd.io/name",
            "meta.helm.sh/release-name",
        ],
    )
    def test_what_speaks_of_the_object_itself_stays_there(self, key: str) -> None:
        of = cluster(metadata={"annotations": {key: "x"}})
        assert key not in children.scheduler_pod(of)["metadata"]["annotations"]
        assert key not in children.scheduler_service(of)["metadata"]["annotations"]
        made = children.default_group(of)["metadata"]["annotations"]
        assert key not in made

    def test_istio_is_kept_out_unless_the_user_wants_it(self) -> None:
        assert made(group())["metadata"]["labels"][labels.ISTIO_INJECT] == "false"
        wanted = group(metadata={"labels": {labels.ISTIO_INJECT: "true"}})
        assert made(wanted)["metadata"]["labels"][labels.ISTIO_INJECT] == "true"

    def test_the_clusters_replicas_are_not_handed_on_to_pods(self) -> None:
        found = made(default_group(cluster()))["metadata"]["annotations"]
        assert labels.CLUSTER_REPLICAS not in found


class TestLeaving:
    def hook(self, spec: dict[str, Any] | None = None) -> Any:
        of = group(spec=spec) if spec else group()
        (container, *_) = made(of, port=8787)["spec"]["containers"]
        return container.get("lifecycle")

    def test_a_worker_asks_its_scheduler_before_it_ends(self) -> None:
        command = self.hook()["preStop"]["exec"]["command"]
        assert command[:2] == ["python", "-c"]
        assert command[3:] == ["c-scheduler.default.svc", "8787", "/dask-k8s/v1/leave", "115", "false"]
        assert made(group(), port=8787)["spec"]["terminationGracePeriodSeconds"] == 120

    def test_within_the_time_that_the_user_gives_it(self) -> None:
        spec = pod_spec("worker")
        spec["terminationGracePeriodSeconds"] = 60
        assert self.hook(spec)["preStop"]["exec"]["command"][-2] == "55"
        spec["terminationGracePeriodSeconds"] = 1
        assert self.hook(spec) is None

    def test_the_users_own_hook_wins(self) -> None:
        spec = pod_spec("worker")
        hook = {"preStop": {"exec": {"command": ["true"]}}}
        spec["containers"][0]["lifecycle"] = hook
        assert self.hook(spec) == hook

    def test_beside_what_the_user_has_done_after_the_start(self) -> None:
        spec = pod_spec("worker")
        hook = {"postStart": {"exec": {"command": ["true"]}}}
        spec["containers"][0]["lifecycle"] = hook
        assert self.hook(spec) == {**hook, **self.hook()}

    @pytest.mark.parametrize(
        ("command", "python"),
        [
            ([], "python"),
            (["dask", "worker"], "python"),
            (["tini", "-g", "--", "/opt/venv/bin/dask", "worker"], "/opt/venv/bin/python"),
            (["/opt/venv/bin/python3", "-m", "distributed.cli.dask_worker"], "/opt/venv/bin/python3"),
            (["sh", "-c", "exec python3.12 -m dask worker"], "python3.12"),
        ],
    )
    def test_by_the_python_that_runs_the_worker(self, command: list[str], python: str) -> None:
        spec = pod_spec("worker")
        spec["containers"][0] = {**spec["containers"][0], "command": command, "args": []}
        assert self.hook(spec)["preStop"]["exec"]["command"][0] == python

    def test_by_its_name_alone_where_others_have_its_address(self) -> None:
        spec = pod_spec("worker", hostNetwork=True)
        assert self.hook(spec)["preStop"]["exec"]["command"][-1] == "true"

    def test_nobody_is_asked_where_the_service_has_no_port_for_it(self) -> None:
        assert "lifecycle" not in made(group())["spec"]["containers"][0]


def test_new_template_code_alone_changes_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made(group())
    monkeypatch.setattr(worker_children, "with_env", lambda container, variables: {**container, "env": []})
    after = made(group())
    assert after["spec"] != before["spec"]
    assert (
        after["metadata"]["annotations"][labels.TEMPLATE_HASH]
        == before["metadata"]["annotations"][labels.TEMPLATE_HASH]
    )
