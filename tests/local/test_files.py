"""What the local Kubernetes writes on a machine that others use as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from dask_k8s_local.kubeconfig import write_private
from dask_k8s_local.node.pods.volumes import Files, VolumeError, write_atomically


def test_a_kubeconfig_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    for content in ("first", "second"):
        write_private(path, content)
        assert path.read_text() == content
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_is_there_is_replaced_rather_than_followed(tmp_path: Path) -> None:
    strangers = tmp_path / "strangers"
    strangers.write_text("theirs")
    path = tmp_path / "kubeconfig"
    path.symlink_to(strangers)

    write_private(path, "ours")

    assert (path.read_text(), path.is_symlink(), strangers.read_text()) == ("ours", False, "theirs")


def test_a_draft_that_somebody_laid_out_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    strangers = tmp_path / "strangers"
    (tmp_path / ".kubeconfig.guessed").symlink_to(strangers)

    with pytest.raises(FileExistsError):
        write_private(tmp_path / "kubeconfig", "secret")

    assert not strangers.exists()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/tmp/out-of-the-volume"])
def test_no_file_of_a_volume_is_written_outside_of_it(tmp_path: Path, name: str) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()

    with pytest.raises(VolumeError, match="leads out of the volume"):
        write_atomically(volume, Files({name: (b"content", 0o644)}))

    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []
    assert not Path(name).exists()
