"""The commands that write generated files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dask_k8s_models.writing import write_or_check

FILES = {Path("new/file.txt"): "ü\n", Path("kept.txt"): "as it is\n"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "kept.txt").write_text("as it is\n")
    return tmp_path


def test_what_differs_is_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["command"])
    before = (project / "kept.txt").stat().st_mtime_ns
    write_or_check(lambda: FILES, "make files", project)
    assert {path: (project / path).read_text(encoding="utf-8") for path in FILES} == FILES
    assert (project / "kept.txt").stat().st_mtime_ns == before


def test_a_check_names_what_differs_and_the_command_and_writes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["command", "--check"])
    with pytest.raises(SystemExit, match=r"new/file\.txt differ: run `make files`"):
        write_or_check(lambda: FILES, "make files", project)
    assert not (project / "new").exists()
    write_or_check(lambda: {Path("kept.txt"): "as it is\n"}, "make files", project)
