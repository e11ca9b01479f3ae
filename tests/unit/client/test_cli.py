"""The commands that need no Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from click.testing import CliRunner, Result

from dask_k8s_client.cli import kubernetes
from dask_k8s_client.cli.completion import complete_for_kubectl
from dask_k8s_client.cli.top import Usage
from dask_k8s_models import KINDS, make_cluster_spec
from dask_k8s_models.manifests import parse_manifest


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(kubernetes, arguments, **options)


def test_gen_cluster_prints_what_the_builder_makes() -> None:
    result = run(
        "gen", "cluster", "--name", "foo", "--image", "mine", "--n-workers", "5", "-e", "A=b=c", "-e", "D=",
        "--resources", '{"limits": {"memory": "2Gi"}}', "--scheduler-service-type", "NodePort", "--jupyter",
        "--worker-command", "dask cuda worker", "--idle-timeout", "60",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout) == make_cluster_spec(
        "foo",
        image="mine",
        n_workers=5,
        env={"A": "b=c", "D": ""},
        resources={"limits": {"memory": "2Gi"}},
        scheduler_service_type="NodePort",
        jupyter=True,
        worker_command="dask cuda worker",
        idle_timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("cluster", "--name", "foo"),
        ("worker-group", "--cluster", "foo", "--name", "gpu"),
        ("job", "--name", "foo", "python", "train.py", "--epochs", "3"),
        ("autoscaler", "--cluster", "foo", "--maximum", "10"),
    ],
)
def test_what_is_generated_is_valid(arguments: tuple[str, ...]) -> None:
    result = run("gen", *arguments)
    assert result.exit_code == 0, result.output
    assert len(parse_manifest(result.stdout)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cluster", "--name", "Foo"), "lower-case"),
        (("cluster", "--name", "foo", "-e", "A"), "NAME=VALUE"),
        (("cluster", "--name", "foo", "--resources", "{"), "no JSON"),
        (("cluster", "--name", "foo", "--resources", '{"limit": {}}'), "unknown field 'limit'"),
        (("cluster", "--name", "foo", "--n-workers", "-1"), "n-workers"),
        (("autoscaler", "--cluster", "foo", "--minimum", "3", "--maximum", "1"), "maximum"),
    ],
)
def test_bad_options_are_refused(arguments: tuple[str, ...], message: str) -> None:
    result = run("gen", *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert result.stdout == ""


def test_validate_names_file_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "apiVersion: kubernetes.dask.org/v1\nkind: DaskAutoscaler\nmetadata: {name: a}\nspec:\n  minimum: 3\n"
    )
    result = run("validate", str(path))
    assert result.exit_code == 1
    assert "bad.yaml:" in result.output
    assert "spec.cluster" in result.output


def test_validate_reads_standard_input() -> None:
    manifest = run("gen", "cluster", "--name", "foo").stdout
    result = run("validate", "-", input=manifest)
    assert result.exit_code == 0, result.output


def test_crds_are_printed() -> None:
    kinds = [
        crd["spec"]["names"]["kind"] for crd in yaml.load_all(run("crds").stdout, Loader=yaml.CSafeLoader)
    ]
    assert kinds == list(KINDS)


@pytest.mark.parametrize(
    "arguments", [("ls",), ("logs", "foo"), ("scale", "foo", "1"), ("delete", "foo"), ("port-forward", "foo")]
)
def test_without_a_kubernetes_the_error_is_one_line_of_advice(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/does/not/exist")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: No Kubernetes credentials")


@pytest.mark.parametrize("command", sorted(kubernetes.commands))
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


class TestCompletion:
    def test_of_kubectl_tells_commands_and_options(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["kubectl_complete-dask", "sc"])
        complete_for_kubectl()
        assert capsys.readouterr().out == "scale\tSet the number of workers of a cluster.\n:4\n"
        monkeypatch.setattr("sys.argv", ["kubectl_complete-dask", "top", "--onc"])
        complete_for_kubectl()
        assert capsys.readouterr().out.startswith("--once\t")


class TestTop:
    WORKER: ClassVar[dict[str, Any]] = {
        "name": "w1",
        "memory_limit": 2**31,
        "metrics": {
            "cpu": 98.6,
            "memory": 2**30,
            "spilled_bytes": {"memory": 5, "disk": 2**20},
            "task_counts": {"executing": 2, "long-running": 1, "ready": 7},
        },
    }

    def test_tells_what_a_worker_does(self) -> None:
        assert Usage.of(self.WORKER).cells() == ["w1", "3", "7", "99%", "1.00 GiB", "2.00 GiB", "1.00 MiB"]

    def test_tells_what_a_worker_says_that_has_told_nothing_yet(self) -> None:
        assert Usage.of({"id": "tcp://w", "name": "w2"}).cells() == ["w2", "0", "0", "0%", "0 B", "-", "0 B"]

    def test_prints_for_programs_only_once(self) -> None:
        assert "add --once" in run("top", "c", "-o", "json").output
