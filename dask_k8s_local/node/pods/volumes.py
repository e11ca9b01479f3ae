"""A pod's volumes, as directories of the machine that are mounted into its containers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.node.pods.environment import (
    ConfigError,
    PodFacts,
    config_map_data,
    expand,
    pod_field,
    resource_field,
    secret_data,
)
from dask_k8s_local.node.runtime.command import Mount

SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class VolumeError(Exception):
    """A volume can't be mounted: an Event ``FailedMount``, and another try later."""


class Files(dict[str, tuple[bytes, int]]):
    """Contents and modes by relative path."""


async def volume_path(
    api: Api, pod: Object, volume: Object, facts: PodFacts, directory: Path, token_files: Files
) -> Path:
    """Make a volume, or bring it up to date, and return where it is.

    Raises
    ------
    VolumeError
        If what it refers to isn't there, or it's of a kind that needs more than this machine.
    """
    path = directory / str(volume["name"])
    if "hostPath" in volume:
        return _host_path(volume["hostPath"])
    path.mkdir(parents=True, exist_ok=True)
    if "emptyDir" in volume or set(volume) == {"name"}:
        return path
    try:
        files = await _files(api, pod, volume, facts, token_files)
    except (ConfigError, ApiError) as error:
        raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error
    write_atomically(path, files)
    return path


async def _files(api: Api, pod: Object, volume: Object, facts: PodFacts, token_files: Files) -> Files:
    if "projected" in volume:
        projected = volume["projected"]
        files = Files()
        for source in projected.get("sources") or []:
            files |= await _source_files(api, pod, source, facts, projected.get("defaultMode"), token_files)
        return files
    kinds = [kind for kind in ("configMap", "secret", "downwardAPI") if kind in volume]
    if not kinds:
        kind = next(key for key in volume if key != "name")
        raise VolumeError(
            f'volume "{volume["name"]}" of the kind {kind} can\'t be mounted on this node: use emptyDir, '
            "configMap, secret, downwardAPI, projected or hostPath"
        )
    return await _source_files(api, pod, volume, facts, volume[kinds[0]].get("defaultMode"), token_files)


async def _source_files(
    api: Api, pod: Object, source: Object, facts: PodFacts, mode: int | None, token_files: Files
) -> Files:
    namespace = pod["metadata"]["namespace"]
    mode = 0o644 if mode is None else mode
    if "configMap" in source:
        return _selected(
            await config_map_data(api, namespace, source["configMap"]), source["configMap"], mode
        )
    if "secret" in source:
        return _selected(await secret_data(api, namespace, source["secret"]), source["secret"], mode)
    if "serviceAccountToken" in source:
        path = source["serviceAccountToken"]["path"]
        return Files({path: token_files["token"]}) if "token" in token_files else Files()
    if "downwardAPI" in source:
        files = Files()
        for item in source["downwardAPI"].get("items") or []:
            if "fieldRef" in item:
                text = pod_field(pod, item["fieldRef"]["fieldPath"], facts)
            else:
                text = resource_field(pod, {}, item["resourceFieldRef"], facts)
            files[item["path"]] = (text.encode(), item.get("mode") or mode)
        return files
    raise ConfigError(f"projected source {', '.join(source)} is not supported")


def _selected(data: Mapping[str, bytes] | None, reference: Object, mode: int) -> Files:
    if data is None:
        return Files()
    if not reference.get("items"):
        return Files({name: (content, mode) for name, content in data.items()})
    files = Files()
    for item in reference["items"]:
        if item["key"] in data:
            files[item["path"]] = (data[item["key"]], item.get("mode") or mode)
        elif not reference.get("optional"):
            raise ConfigError(f"references non-existent config key: {item['key']}")
    return files


def _host_path(host_path: Object) -> Path:
    path = Path(host_path["path"])
    match host_path.get("type") or "":
        case "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        case "FileOrCreate":
            path.touch()
        case "Directory" if not path.is_dir():
            raise VolumeError(f"hostPath type check failed: {path} is not a directory")
        case "File" if not path.is_file():
            raise VolumeError(f"hostPath type check failed: {path} is not a file")
    if not path.exists():
        raise VolumeError(f"hostPath {path} does not exist")
    return path


def write_atomically(directory: Path, files: Files) -> None:
    """Show all changed files of a volume at once, by a symbolic link that is replaced, as kubelet does."""
    data = directory / "..data"
    current = data.resolve() if data.is_symlink() else None
    if current is not None and _holds(current, files):
        return
    fresh = directory / datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f")
    for name, (content, mode) in files.items():
        path = fresh / name
        if ".." in path.parts or not path.is_relative_to(fresh):
            raise VolumeError(f"the path {name!r} leads out of the volume: name one inside it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    fresh.mkdir(exist_ok=True)
    link = directory / "..data_tmp"
    link.symlink_to(fresh.name)
    os.replace(link, data)
    wanted = {Path(name).parts[0] for name in files}
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
    for name in wanted:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path("..data", name))
    if current is not None:
        shutil.rmtree(current)


def _holds(directory: Path, files: Files) -> bool:
    present = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    return present.keys() == files.keys() and all(
        path.read_bytes() == files[name][0] for name, path in present.items()
    )


def mounts(container: Object, paths: Mapping[str, Path], env: Mapping[str, str]) -> list[Mount]:
    """Return what a container mounts; a missing subPath is made as a directory."""
    result = []
    for entry in container.get("volumeMounts") or []:
        if entry["name"] not in paths:
            raise ConfigError(f'volume "{entry["name"]}" is not one of the pod\'s volumes')
        source = paths[entry["name"]]
        sub_path = entry.get("subPath") or expand(entry.get("subPathExpr") or "", env)
        if sub_path:
            volume = source.resolve()
            # What a container has linked may lead anywhere.
            source = (volume / sub_path).resolve()
            if not source.is_relative_to(volume):
                act = "prepare subPath" if source.exists() else "create subPath directory"
                which = f'for volumeMount "{entry["name"]}" of container "{container["name"]}"'
                raise ConfigError(f"failed to {act} {which}: {sub_path} leads out of its volume")
            if not source.exists():
                source.mkdir(parents=True)
        result.append(Mount(str(source), entry["mountPath"], bool(entry.get("readOnly"))))
    return result
