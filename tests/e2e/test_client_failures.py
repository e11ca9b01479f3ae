"""What a KubeCluster says when something is wrong, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dask_k8s_client import KubeCluster, SchedulerStartupError, ValidationError, make_cluster_spec
from dask_k8s_client.errors import ForbiddenError, MissingCRDsError
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, Patience, is_running
from tests.harness.accounts import DOCUMENTED_ROLE, grant, kubeconfig_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object

# --- before anything is sent ---


@pytest.mark.parametrize("name", ["a" * 54, "invalid.chars.in.name", "Upper", "1st", "under_score", "end-"])
def test_a_name_that_kubernetes_refuses_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValidationError, match="name") as caught:
        KubeCluster(name=name, quiet=True)
    assert isinstance(caught.value, ValueError)
    assert name in caught.value.message


def test_a_typo_in_resources_is_named() -> None:
    with pytest.raises(ValueError, match=r"limit.*limits"):
        KubeCluster(name="foo", resources={"limit": {"CPU": "1"}}, quiet=True)


@pytest.mark.parametrize("resources", ["2Gi", {"limits": "2Gi"}])
def test_resources_of_a_wrong_type_are_a_type_error(resources: Any) -> None:
    with pytest.raises(TypeError, match="resources"):
        KubeCluster(name="foo", resources=resources, quiet=True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"create_mode": "CREATE"}, "CREATE_OR_CONNECT"),
        ({"n_workers": -1}, "n_workers"),
        ({"resource_timeout": "soon"}, "resource_timeout"),
        ({"scheduler_service_type": "Ingress"}, "LoadBalancer"),
        ({"custom_cluster_spec": {"kind": "DaskJob"}}, "DaskCluster"),
        ({"idle_timeout": 0.5}, "whole number"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        KubeCluster(name="foo", **options, quiet=True)


def test_a_typo_deep_in_a_spec_is_named_with_its_path() -> None:
    spec = make_cluster_spec(name="foo")
    spec["spec"]["worker"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(ValidationError, match=r"spec\.worker\.spec\.containers\[0\]\.imagePullPolice"):
        KubeCluster(custom_cluster_spec=spec, quiet=True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere\.yaml"):
        KubeCluster(custom_cluster_spec=str(tmp_path / "nowhere.yaml"), quiet=True)


def test_without_kubernetes_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(RuntimeError, match=r"nowhere.*KUBECONFIG|KUBECONFIG.*nowhere"):
        KubeCluster(name="foo", quiet=True)


# --- what the API server refuses ---


def test_an_unknown_namespace_is_named_with_the_remedy(crds: None) -> None:
    with pytest.raises(ValidationError, match="kubectl create namespace no-such-namespace"):
        KubeCluster(name="foo", namespace="no-such-namespace", quiet=True)


def test_without_crds_it_says_how_to_install_them(request: pytest.FixtureRequest) -> None:
    if not is_local(request.config):
        pytest.skip("others' clusters would go with the CRDs")
    from dask_k8s_local import LocalKubernetes

    with LocalKubernetes(addons=()), pytest.raises(MissingCRDsError, match="dask kubernetes crds") as caught:
        KubeCluster(name="foo", quiet=True)
    assert isinstance(caught.value, RuntimeError)


@pytest.fixture
def account(kube: Kube, kubeconfig: Path, namespace: str, tmp_path: Path) -> Iterator[Any]:
    """Become a service account with these rules."""
    with pytest.MonkeyPatch.context() as patch:

        def become(rules: list[Object]) -> None:
            grant(kube, namespace, rules)
            path = tmp_path / "kubeconfig"
            path.write_text(yaml.safe_dump(kubeconfig_of(kube, kubeconfig, namespace)))
            patch.setenv("KUBECONFIG", str(path))

        yield become


@pytest.mark.parametrize(
    ("missing", "verb", "what"),
    [
        (("kubernetes.dask.org", "daskclusters"), "create", "daskclusters"),
        (("", "pods"), "watch", "pods"),
        (("", "services"), "watch", "services"),
    ],
)
def test_who_may_not_is_told_which_rule_is_missing_and_leaves_nothing_behind(
    account: Any, kube: Kube, controller: Any, namespace: str, missing: tuple[str, str], verb: str, what: str
) -> None:
    group, resource = missing
    rules = []
    for rule in DOCUMENTED_ROLE:
        left = [r for r in rule["resources"] if not (rule["apiGroups"] == [group] and r == resource)]
        rules += [{**rule, "resources": left}] if left else []
    account(rules)

    with pytest.raises(ForbiddenError, match=f'cannot (list|{verb}) resource "{what}"') as caught:
        KubeCluster(name="forbidden", image="example.invalid/dask", quiet=True)

    assert isinstance(caught.value, PermissionError)
    assert "A rule like this in a Role" in str(caught.value)
    assert "dask-sa" in str(caught.value)
    kube.gone(DASK_CLUSTERS, "forbidden", namespace)


def test_from_outside_forwarding_takes_a_rule_of_its_own(
    account: Any, kube: Kube, controller: Any, namespace: str, dask_image: str
) -> None:
    account(DOCUMENTED_ROLE)
    with pytest.raises(ForbiddenError, match="pods/portforward"):
        KubeCluster(name="forbidden", image=dask_image, quiet=True)
    kube.gone(DASK_CLUSTERS, "forbidden", namespace)


# --- what never starts ---


def test_without_a_controller_it_asks_whether_one_runs(
    controller: ControllerProcess, kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    controller.stop()
    try:
        with pytest.raises(TimeoutError, match="is the Dask Operator running"):
            KubeCluster(name="noop", namespace=namespace, n_workers=1, resource_timeout=1, quiet=True)
    finally:
        controller.start()
    kube.gone(DASK_CLUSTERS, "noop", namespace)
    # Other tests rely on one that acts within their seconds.
    kube.create(idle_cluster_manifest("after", n_workers=0), namespace)
    kube.wait(DASK_CLUSTERS, "after", namespace, until=is_running)


@pytest.mark.usefixtures("controller_at_work")
def test_a_scheduler_that_crashes_shows_its_logs(
    kube: Kube, namespace: str, dask_image: str, patience: Patience
) -> None:
    spec = make_cluster_spec(name="crashloopbackoff", image=dask_image, n_workers=1)
    container = spec["spec"]["scheduler"]["spec"]["containers"][0]
    container["args"] = ["python", "-c", "import sys; sys.exit('my plugin is not installed')"]
    container.pop("command", None)

    with pytest.raises(SchedulerStartupError, match=r"Scheduler failed to start\.") as caught:
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, resource_timeout=patience(3), quiet=True)

    assert "exit code 1" in str(caught.value)
    assert "my plugin is not installed" in str(caught.value)
    kube.gone(DASK_CLUSTERS, "crashloopbackoff", namespace)


@pytest.mark.usefixtures("controller_at_work")
def test_a_command_of_old_images_is_explained(namespace: str, dask_image: str, patience: Patience) -> None:
    spec = make_cluster_spec(name="old", image=dask_image)
    spec["spec"]["scheduler"]["spec"]["containers"][0]["args"] = ["dask-scheduler", "--host", "0.0.0.0"]
    with (
        pytest.raises(SchedulerStartupError, match="use `dask scheduler`"),
        KubeCluster(custom_cluster_spec=spec, namespace=namespace, resource_timeout=patience(3), quiet=True),
    ):
        pytest.skip("the image is old enough to have this command")


@pytest.mark.usefixtures("controller_at_work")
def test_an_image_that_cannot_be_pulled_is_named(kube: Kube, namespace: str, patience: Patience) -> None:
    with pytest.raises(SchedulerStartupError, match=r"Image.*registry\.invalid/dask/dask:none"):
        KubeCluster(
            name="no-image",
            namespace=namespace,
            image="registry.invalid/dask/dask:none",
            resource_timeout=patience(4),
            quiet=True,
        )
    kube.gone(DASK_CLUSTERS, "no-image", namespace)


@pytest.mark.usefixtures("controller_at_work")
def test_a_scheduler_that_fits_nowhere_is_told_in_kubernetes_words(
    kube: Kube, namespace: str, patience: Patience
) -> None:
    with pytest.raises(SchedulerStartupError, match=r"Unschedulable: .*Insufficient memory"):
        KubeCluster(
            name="too-big",
            namespace=namespace,
            resources={"requests": {"memory": "900Ti"}},
            resource_timeout=patience(2),
            quiet=True,
        )
    kube.gone(DASK_CLUSTERS, "too-big", namespace)


@pytest.mark.usefixtures("controller_at_work")
def test_what_was_half_created_stays_if_the_user_wants_it(
    kube: Kube, namespace: str, patience: Patience
) -> None:
    with pytest.raises(SchedulerStartupError):
        KubeCluster(
            name="kept",
            namespace=namespace,
            resources={"requests": {"memory": "900Ti"}},
            resource_timeout=patience(1),
            shutdown_on_close=False,
            quiet=True,
        )
    assert "deletionTimestamp" not in kube.get(DASK_CLUSTERS, "kept", namespace)["metadata"]


@pytest.fixture
def quota(kube: Kube, namespace: str) -> Iterator[Any]:
    """Limit the namespace to so many pods."""

    def limit(pods: int) -> None:
        kube.create(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "few-pods"},
                "spec": {"hard": {"pods": str(pods)}},
            },
            namespace,
        )
        kube.wait(
            "resourcequotas", "few-pods", namespace, until=lambda found: found.get("status", {}).get("hard")
        )

    return limit


@pytest.mark.usefixtures("controller_at_work")
def test_an_exceeded_quota_is_told_with_the_remedy(
    kube: Kube, namespace: str, quota: Any, patience: Patience
) -> None:
    quota(0)
    with pytest.raises(SchedulerStartupError, match=r"exceeded quota: few-pods.*ResourceQuota raised"):
        KubeCluster(name="over-quota", namespace=namespace, resource_timeout=patience(3), quiet=True)
    kube.gone(DASK_CLUSTERS, "over-quota", namespace)


@pytest.mark.usefixtures("controller_at_work")
def test_scaling_beyond_the_quota_does_not_hang_and_tells_why(
    kube: Kube, namespace: str, dask_image: str, quota: Any
) -> None:
    quota(1)
    with KubeCluster(name="small", namespace=namespace, image=dask_image, quiet=True) as cluster:
        cluster.scale(2)
        kube.wait(
            "daskworkergroups.kubernetes.dask.org",
            "small-default",
            namespace,
            until=lambda group: "exceeded quota" in str(group.get("status")),
        )
        with pytest.raises(TimeoutError) as caught:
            cluster.wait_for_workers(2, timeout=1)
        assert any("exceeded quota" in note for note in caught.value.__notes__)


@pytest.mark.usefixtures("controller_at_work")
def test_warnings_are_written_while_it_waits(
    namespace: str, capsys: pytest.CaptureFixture[str], patience: Patience
) -> None:
    with pytest.raises(SchedulerStartupError):
        KubeCluster(
            name="loud",
            namespace=namespace,
            resources={"requests": {"memory": "900Ti"}},
            resource_timeout=patience(1),
        )
    written = capsys.readouterr().out.splitlines()
    assert "Created cluster loud" in written
    assert any(line.startswith("Scheduler Pod: Unschedulable: ") for line in written)
