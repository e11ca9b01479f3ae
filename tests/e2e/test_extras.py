"""An environment without the extras: nothing breaks, and what needs one says how to get it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from dask_k8s_local import LocalKubernetes

PROJECT = Path(__file__).parents[2]
COMMAND = "pip install 'dask-k8s[controller,local]'"

HIDING = """\
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {modules!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""

TEST_THAT_NEEDS_NOTHING = "def test_nothing():\n    pass\n"
TEST_OF_THE_FIXTURE = "def test_it(local_kubernetes):\n    pass\n"


def modules_of(*extras: str) -> set[str]:
    """The modules that the requirements of extras are imported as."""
    needed = [line for line in requires("dask-k8s") or [] if any(f"extra == '{e}'" in line for e in extras)]
    assert needed, extras
    return {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in needed}


class Environment:
    """This environment without what some extras bring."""

    def __init__(self, folder: Path, *without: str) -> None:
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(HIDING.format(modules=modules_of(*without)))
        self.folder = folder

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "site")},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )

    def pytest(self, test: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "test_theirs.py").write_text(test)
        return self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_theirs.py")


@pytest.fixture
def bare(tmp_path: Path) -> Environment:
    return Environment(tmp_path, "controller", "local", "rich")


def test_other_peoples_pytest_runs_do_not_need_the_extras(bare: Environment) -> None:
    done = bare.pytest(TEST_THAT_NEEDS_NOTHING)

    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_fixture_names_the_command_that_installs_what_it_needs(bare: Environment) -> None:
    done = bare.pytest(TEST_OF_THE_FIXTURE)

    assert done.returncode == 1
    assert COMMAND in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("without", ["local", "controller"])
def test_starting_a_local_kubernetes_names_the_command(tmp_path: Path, without: str) -> None:
    environment = Environment(tmp_path, without)

    done = environment.run("-m", "dask", "kubernetes", "local", "up", "--kubeconfig", "config")

    assert done.returncode == 1
    assert COMMAND in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "config").exists()


def test_starting_the_controller_names_the_command(bare: Environment) -> None:
    done = bare.run("-m", "dask_k8s_controller")

    assert done.returncode == 1
    assert done.stdout.startswith("error: the controller needs ")
    assert done.stdout.rstrip().endswith("pip install 'dask-k8s[controller]'")


def test_importing_it_in_python_names_the_command(bare: Environment) -> None:
    done = bare.run("-c", "from dask_k8s_local import LocalKubernetes")

    assert done.stdout.splitlines()[-1].startswith("ImportError: the local Kubernetes needs ")
    assert COMMAND in done.stdout


@pytest.mark.parametrize("arguments", [["-m", "dask", "kubernetes", "gen", "cluster", "--name", "a"]])
def test_what_needs_no_extra_works_without(bare: Environment, arguments: list[str]) -> None:
    done = bare.run(*arguments)

    assert done.returncode == 0, done.stdout


def test_registered_plugins_import_nothing_of_ours_before_it_is_asked_for() -> None:
    names = "import dask_k8s_local.pytest_plugin; import sys; print(*sys.modules)"

    loaded = subprocess.check_output([sys.executable, "-c", names], text=True).split()

    assert {name for name in loaded if name.startswith("dask")} == {
        "dask_k8s_local",
        "dask_k8s_local.pytest_plugin",
    }
    assert not {"aiohttp", "yaml", "pydantic", "kopf", "distributed"} & set(loaded)


def test_elsewhere_than_on_linux_the_local_kubernetes_says_where_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(RuntimeError, match=r"runs on Linux only, not on darwin: .* kind"):
        LocalKubernetes().start()


@pytest.mark.full
def test_a_plain_installation_leaves_pytest_as_it_was(tmp_path: Path) -> None:
    """The real thing: an environment of its own, without any extra."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(PROJECT), "pytest"], check=True)
    (tmp_path / "test_theirs.py").write_text(TEST_THAT_NEEDS_NOTHING + TEST_OF_THE_FIXTURE)

    done = subprocess.run(
        [python, "-m", "pytest", "-q", "test_theirs.py"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )

    assert "1 passed, 1 error" in done.stdout
    assert COMMAND in done.stdout
