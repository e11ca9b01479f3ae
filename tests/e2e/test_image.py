"""The image's recipe, followed step by step into an empty folder, and run from there as it says."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from image import lock
from tests.conftest import is_local
from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.e2e.test_plugins import HOST_NAME
from tests.harness.examples import EXAMPLES
from tests.harness.kube import Kube, Object
from tests.harness.pages import blocks_of

PROJECT = Path(__file__).parents[2]
IMAGE = PROJECT / "image"

pytestmark = pytest.mark.timeout(900)  # It is built from packages that come from the index.


@dataclass
class Stage:
    """One stage of a Dockerfile."""

    folder: str = "/"
    copies: list[list[str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    entry_point: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


def stages() -> list[Stage]:
    """Read the Dockerfile."""
    found: list[Stage] = []
    text = re.sub(r"\\\n\s*", "", (IMAGE / "Dockerfile").read_text())
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        match instruction:
            case "FROM":
                found.append(Stage())
            case "WORKDIR":
                found[-1].folder = rest
            case "COPY":
                found[-1].copies.append([word for word in rest.split() if word != "--from=build"])
            case "RUN":
                found[-1].commands.append(rest)
            case "ENV":
                found[-1].environment |= dict(pair.split("=", 1) for pair in rest.split())
            case "USER":
                found[-1].user = rest
            case "ENTRYPOINT":
                found[-1].entry_point = json.loads(rest)
            case "CMD":
                found[-1].arguments = json.loads(rest)
            case "" | "#" | "ARG" | "EXPOSE":
                pass
            case _:
                raise ValueError(f"no step is known for {line}")
    return found


def pinned(name: str) -> dict[str, str]:
    text = (IMAGE / name).read_text()
    assert re.findall(r"^\S+==\S+.*(?<!\\)$", text, re.MULTILINE) == [], "each pin has hashes"
    return {
        canonicalize_name(key): version for key, version in re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)
    }


def test_locks_have_all_that_the_project_requires() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    needed = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["controller"]
    for name, wanted in {
        "requirements.txt": needed,
        "build-requirements.txt": project["build-system"]["requires"],
    }.items():
        pins = pinned(name)
        for requirement in map(Requirement, wanted):
            version = pins.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement} is not in image/{name}: run make lock"
            assert requirement.specifier.contains(version), f"{requirement}, but {version}: run make lock"


class TestWheels:
    """The image is built for two machines, and nothing is compiled there."""

    LOCK = """\
# Generated
pure==1.0 \\
    --hash=sha256:a
stable==1.0 \\
    --hash=sha256:b
own==1.0 \\
    --hash=sha256:c \\
    --hash=sha256:d
one-machine==1.0 \\
    --hash=sha256:e
other-hash==1.0 \\
    --hash=sha256:f
alpine==1.0 \\
    --hash=sha256:0
newer-glibc==1.0 \\
    --hash=sha256:1
other-python==1.0 \\
    --hash=sha256:2
unneeded==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:3
unpublished==1.0 \\
    --hash=sha256:4
"""
    WHEELS: ClassVar[dict[str, dict[str, str]]] = {
        "pure": {"pure-1.0-py3-none-any.whl": "a"},
        "stable": {"stable-1.0-cp311-abi3-manylinux_2_28_aarch64.whl": "b"},
        "own": {
            "own-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": "c",
            "own-1.0-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl": "d",
        },
        "one-machine": {"one_machine-1.0-cp313-cp313-manylinux_2_28_x86_64.whl": "e"},
        "other-hash": {"other_hash-1.0-cp313-cp313-manylinux_2_28_aarch64.whl": "9"},
        "alpine": {"alpine-1.0-cp313-cp313-musllinux_1_2_aarch64.whl": "0"},
        "newer-glibc": {"newer_glibc-1.0-cp313-cp313-manylinux_2_39_aarch64.whl": "1"},
        "other-python": {"other_python-1.0-cp312-cp312-manylinux_2_28_aarch64.whl": "2"},
        "unneeded": {"unneeded-1.0-cp311-cp311-manylinux_2_28_x86_64.whl": "3"},
    }

    def test_a_package_without_a_wheel_for_a_machine_is_named(self) -> None:
        missing = ["one-machine", "other-hash", "alpine", "newer-glibc", "other-python", "unpublished"]
        found = lock.without_a_wheel(self.LOCK, self.WHEELS, "3.13", "aarch64")
        assert found == [f"{name}==1.0" for name in missing]

    @pytest.mark.parametrize("path", lock.LOCKS, ids=lambda path: path.stem)
    def test_each_pin_has_a_wheel_for_each_machine(self, path: Path) -> None:
        """As the index has it now; ``make lock`` asks the same."""
        try:
            wheels = lock.published_wheels(path)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"the index can't be asked here: {error}")
        for machine in lock.MACHINES:
            assert lock.without_a_wheel(path.read_text(), wheels, lock.image_python(), machine) == []

    def test_these_are_the_machines_that_a_release_builds_for(self) -> None:
        names = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
        release = (PROJECT / ".github" / "workflows" / "release.yaml").read_text()
        assert f"platforms: {','.join(names[machine] for machine in lock.MACHINES)}\n" in release


def test_all_packages_are_copied() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {source for copy in stages()[0].copies for source in copy[:-1]}
    assert set(packages) <= copied


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("python:3.13-slim", "python:3.13-slim@sha256:aa"),
        ("python:3.13-slim@sha256:bb", "python:3.13-slim@sha256:bb"),
    ],
)
def test_a_release_is_built_on_a_digest(tmp_path: Path, written: str, built: str) -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "release.yaml").read_text())
    steps = {step["id"]: step for step in workflow["jobs"]["image"]["steps"] if "id" in step}
    assert steps["build"]["with"]["build-args"] == "PYTHON_IMAGE=${{ steps.base.outputs.image }}"
    text, number = re.subn(
        r"(?m)^ARG PYTHON_IMAGE=.*", f"ARG PYTHON_IMAGE={written}", (IMAGE / "Dockerfile").read_text()
    )
    assert number == 1
    assert set(re.findall(r"(?m)^FROM (\S+)", text)) == {"${PYTHON_IMAGE}"}
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text(text)
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$4" = python:3.13-slim ] && echo sha256:aa\n')
    docker.chmod(0o755)
    output = tmp_path / "output"
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "GITHUB_OUTPUT": str(output)}
    subprocess.run(["bash", "-e", "-c", steps["base"]["run"]], cwd=tmp_path, env=environment, check=True)
    assert output.read_text() == f"image={built}\n"


def test_it_is_not_roots_and_has_no_shell_steps_but_the_script() -> None:
    build, final = stages()
    assert final.user == "1000:1000"
    assert final.commands == []
    assert build.commands == ["sh image/build.sh /opt/dask-operator"]


def an_interpreter(folder: Path) -> str:
    """Copy the interpreter, which the base image has: this machine's may be for its owner alone."""
    release = f"python{sys.version_info.major}.{sys.version_info.minor}"
    unneeded = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), folder / "lib" / release, ignore=unneeded)
    (folder / "bin").mkdir()
    target = folder / "bin" / release
    shutil.copy(Path(sys.base_prefix) / "bin" / release, target)
    for library in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
        shutil.copy(library, folder / "lib")
    return str(target)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder with what the last stage has, which anybody may read."""
    folder = Path(tempfile.mkdtemp(prefix="dask-operator-image-"))
    folder.chmod(0o755)
    build, final = stages()
    workspace = folder / "build"
    workspace.mkdir()
    for *sources, target in build.copies:
        for source in sources:
            there = PROJECT / source
            into = workspace / target
            if there.is_dir():
                shutil.copytree(there, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(there, into)
    python = an_interpreter(folder / "usr")
    for command in build.commands:
        *words, prefix = command.split()
        subprocess.run([*words, f"{folder}{prefix}", python], cwd=workspace, check=True, timeout=800)
    copied = [copy[-2:] for copy in final.copies]
    assert copied == [[path, path] for path in ("/opt/dask-operator", "/opt/dask-operator-plugins")]
    shutil.rmtree(workspace)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


@dataclass
class Container:
    """What the image's processes have, run by a user without a name where the tests may choose one."""

    root: Path
    home: Path
    environment: dict[str, str]
    user: dict[str, Any]

    def own(self, *paths: Path) -> None:
        for path in paths:
            if self.user:
                os.chown(path, self.user["user"], self.user["group"])

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a ``RUN`` of a Dockerfile that begins with the image."""
        there = {"cwd": "/", "env": self.environment, **self.user}
        return subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False, **there
        )

    @contextmanager
    def operator(self, kubeconfig: Path, namespace: str) -> Iterator[None]:
        login = self.home / "kubeconfig"
        content = yaml.safe_load(kubeconfig.read_text())
        for cluster in content["clusters"]:
            authority = cluster["cluster"].pop("certificate-authority", None)
            if authority is not None:
                shutil.copy(kubeconfig.parent / authority, self.home / "ca.crt")
                cluster["cluster"]["certificate-authority"] = str(self.home / "ca.crt")
        login.write_text(yaml.safe_dump(content))
        self.own(*self.home.iterdir())
        environment = {**self.environment, "KUBECONFIG": str(login)}
        with tempfile.TemporaryFile() as log:
            command = [*stages()[-1].entry_point, f"--namespace={namespace}"]
            process = subprocess.Popen(command, cwd="/", env=environment, stdout=log, stderr=log, **self.user)
            try:
                yield
            finally:
                process.terminate()
                process.wait(30)
                log.seek(0)
                print(log.read().decode())


@pytest.fixture
def container(root: Path) -> Iterator[Container]:
    home = Path(tempfile.mkdtemp(prefix="dask-operator-home-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        number = a_user_without_a_name()
        user = {"user": number, "group": number, "extra_groups": []}
    environment = {
        key: value.replace("/opt/", f"{root}/opt/").replace("$PATH", os.defpath)
        for key, value in stages()[-1].environment.items()
    }
    environment |= {"HOME": str(home), "TMPDIR": str(home), "LD_LIBRARY_PATH": f"{root}/usr/lib"}
    container = Container(root, home, environment, user)
    for options, _, target in [copy for copy in stages()[-1].copies if len(copy) == 3]:
        assert options == f"--chown={stages()[-1].user}"
        container.own(Path(f"{root}{target}"), *Path(f"{root}{target}").rglob("*"))
    container.own(home)
    yield container
    shutil.rmtree(home)


@pytest.mark.full
def test_the_operator_runs_from_it_as_another_user_and_writes_nothing(
    container: Container,
    kube: Kube,
    kubeconfig: Path,
    namespace: str,
    crds: None,
    pytestconfig: pytest.Config,
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    if not is_local(pytestconfig):
        pytest.skip("the operator's process is run beside the local Kubernetes")
    before = everything_in(container.root)
    with container.operator(kubeconfig, namespace):
        kube.create(idle_cluster_manifest("imaged", n_workers=1), namespace)
        kube.wait(DASK_CLUSTERS, "imaged", namespace, until=is_running, timeout=60)
    assert everything_in(container.root) == before


@pytest.mark.full
def test_plugins_are_installed_by_pip_and_replace_nothing_that_is_pinned(
    container: Container,
    kube: Kube,
    kubeconfig: Path,
    namespace: str,
    crds: None,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    idle_cluster_manifest: Callable[..., Object],
) -> None:
    """As the documentation of dask-kubernetes has it."""
    if not is_local(pytestconfig):
        pytest.skip("the operator's process is run beside the local Kubernetes")
    [dockerfile] = blocks_of("docs/installing.md", "dockerfile")
    image, step = dockerfile.text.splitlines()
    assert image.startswith("FROM ")
    install = step.removeprefix("RUN ")
    wheels = container.home / "wheels"
    wheels.mkdir(mode=0o755)
    greedy = tmp_path / "greedy"
    greedy.mkdir()
    (greedy / "setup.cfg").write_text("[metadata]\nname = PyYAML\nversion = 99\n")
    for project in (shutil.copytree(EXAMPLES / "plugin", tmp_path / "plugin"), greedy):
        build = f"from setuptools.build_meta import build_wheel; build_wheel({str(wheels)!r})"
        subprocess.run([sys.executable, "-c", build], cwd=project, check=True, timeout=60)
    container.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    of_the_image = everything_in(container.root / "opt" / "dask-operator")

    refused = container.run("pip install PyYAML==99")
    assert refused.returncode != 0
    assert "Permission denied" in refused.stderr
    installed = container.run(install.replace("my-controller-plugin", "dask-dashboard-names"))
    assert installed.returncode == 0, installed.stderr

    with container.operator(kubeconfig, namespace):
        kube.create(idle_cluster_manifest("plugged", n_workers=0), namespace)
        kube.wait(
            "services",
            "plugged-scheduler",
            namespace,
            until=lambda service: HOST_NAME in service["metadata"].get("annotations", {}),
            timeout=60,
        )
    assert everything_in(container.root / "opt" / "dask-operator") == of_the_image


@pytest.mark.full
def test_the_command_line_runs_from_it(root: Path) -> None:
    """Why it has what the client requires: definitions and migration of the same version as the operator."""
    environment = {"LD_LIBRARY_PATH": f"{root}/usr/lib", "PATH": os.defpath, "HOME": "/nowhere"}
    for arguments, shown in ((["crds"], "kind: CustomResourceDefinition"), (["migrate", "--help"], "-A")):
        command = [f"{root}/opt/dask-operator/bin/dask", "kubernetes", *arguments]
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def a_user_without_a_name() -> int:
    """The image's has none in a container, though perhaps on this machine, and OpenShift chooses others."""
    named = {entry.pw_uid for entry in pwd.getpwall()}
    return next(user for user in itertools.count(1000) if user not in named)


def everything_in(folder: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for path in folder.rglob("*")}
