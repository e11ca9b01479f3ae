"""Namespaces and mounts for a container's process. Standard library only, as the supervisor uses it.

Everything here degrades: where the system offers no namespaces (no user namespaces, a container without
privileges, macOS) the processes still run, but see the machine's own paths and host name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 1, 32, 4096, 8192, 16384, 1 << 18
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
KEPT_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048
"""Flags that statvfs reports under mount's numbers, and that a remount must keep (1024, 2048: noatime)."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    if not hasattr(_libc, "unshare"):
        raise OSError("this system has no namespaces")
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None)
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), None), f"mount {target}")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def enter_namespaces(body: Callable[[str], int]) -> int:
    """Run `body` as the first process of a PID namespace, or right here if that can't be had.

    When the first process of a PID namespace ends, however it ends, the kernel kills all others. `body` is
    told why there are no namespaces, or nothing if it has them; the exit code that it returns is returned.
    """
    error = ""
    with_user_namespace = (False, True) if os.geteuid() == 0 else (True,)
    for in_user_namespace in with_user_namespace:
        code, error = _run_in_namespaces(body, in_user_namespace)
        if code is not None:
            return code
    return body(error)


def _run_in_namespaces(body: Callable[[str], int], in_user_namespace: bool) -> tuple[int | None, str]:
    """Fork into new namespaces; return the exit code of `body`, or None and why there are no namespaces."""
    status_read, status_write = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        # A process of its own unshares: what it changes can't be undone if a later step fails.
        os.close(status_read)
        os._exit(_first_process(body, in_user_namespace, status_write))
    os.close(status_write)
    with os.fdopen(status_read, "rb") as status:
        message = status.read().decode()
    _, wait_status = os.waitpid(launcher, 0)
    if message == "ok":
        return os.waitstatus_to_exitcode(wait_status), ""
    return None, message or "the process that asked for them died"


def _first_process(body: Callable[[str], int], in_user_namespace: bool, status_write: int) -> int:
    outer = os.getppid()
    die_with_parent(outer)
    try:
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | (CLONE_NEWUSER if in_user_namespace else 0))
        if in_user_namespace:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        first = os.fork()
    except OSError as error:
        os.write(status_write, str(error).encode())
        return 1
    if first:
        os.close(status_write)
        _, wait_status = os.waitpid(first, 0)
        return os.waitstatus_to_exitcode(wait_status) & 0xFF
    try:
        die_with_parent(0)  # Its parent is outside of the namespace.
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        if os.readlink("/proc/self") != "1":
            raise OSError("/proc shows another PID namespace")
    except OSError as error:
        os.write(status_write, str(error).encode())
        os._exit(1)
    os.write(status_write, b"ok")
    os.close(status_write)
    os._exit(body(""))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def enter_container(hostname: str, mounts: list[dict[str, str]], scratch: str) -> None:
    """Give this process a host name and mounts of its own.

    Parameters
    ----------
    mounts : list of dict
        ``source``, ``target``, and ``readOnly`` if not empty.
    scratch : str
        An empty directory, where this process makes missing mount points appear. Nothing stays there, so that
        all processes may share it. The directory that it is in stays visible even below a volume at ``/tmp``,
        and so does the environment that this process runs in.
    """
    unshare(CLONE_NEWNS | CLONE_NEWUTS)
    name = os.fsencode(hostname)
    _check(_libc.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")
    if mounts:
        # Nothing to remove afterwards: it ends with the last process that sees it.
        mount("tmpfs", scratch, "tmpfs", 0)
    # Outer directories first here as well: with them those inside are back.
    paths = sorted({os.path.dirname(scratch), *_environment()}, key=len)
    kept = [(path, _held(path)) for path in paths]
    scratch = _held(scratch)
    # Outer mount points first, whatever the order in which they are listed.
    ordered = sorted(mounts, key=lambda entry: entry["target"].count("/"))
    sources = [_held(entry["source"]) for entry in ordered]
    for number, (entry, source) in enumerate(zip(ordered, sources, strict=True)):
        target = os.path.realpath(entry["target"])
        if not os.path.exists(target):
            _make_mount_point(source, target, os.path.join(scratch, str(number)))
        mount(source, target, None, MS_BIND | MS_REC)
        if entry.get("readOnly"):
            flags = os.statvfs(target).f_flag & KEPT_FLAGS
            mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
    for path, held in kept:
        if not os.path.exists(path):
            os.makedirs(path)
            mount(held, path, None, MS_BIND | MS_REC)


def _environment() -> list[str]:
    """Return where this Python and this package are: its virtual environment, the base of it, the source."""
    executables = (sys.executable, os.path.realpath(sys.executable))
    pythons = [os.path.dirname(os.path.dirname(path)) for path in executables]
    package = os.path.abspath(__file__).rpartition("/dask_k8s_local/")[0]
    return [path for path in (*pythons, package) if path and os.path.isdir(path)]


def _held(path: str) -> str:
    """Return another path of a file or directory, which stays right whatever is mounted over the first."""
    return f"/proc/self/fd/{os.open(path, os.O_PATH)}"


def _make_mount_point(source: str, target: str, mirror: str) -> None:
    """Make a path exist for this process alone, without touching the machine's files.

    The nearest directory that exists is replaced by a mirror of it: a directory with every entry bound into
    it, where more can be made.
    """
    existing = os.path.dirname(target)
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    if os.stat(existing).st_dev == os.stat(os.path.dirname(mirror)).st_dev:
        _make_point(source, target)  # It is in a mirror itself, not in an entry that is bound into it.
        return
    os.makedirs(mirror)
    with os.scandir(existing) as entries:
        for entry in entries:
            # An entry may vanish meanwhile.
            with contextlib.suppress(FileNotFoundError):
                _bind_entry(entry, os.path.join(mirror, entry.name))
    _make_point(source, os.path.join(mirror, os.path.relpath(target, existing)))
    _replace(existing, mirror)


def _make_point(source: str, point: str) -> None:
    if os.path.isdir(source):
        os.makedirs(point, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(point), exist_ok=True)
        _write(point, "")


def _bind_entry(entry: os.DirEntry[str], point: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), point)
        return
    if entry.is_dir(follow_symlinks=False):
        os.mkdir(point)
    else:
        _write(point, "")
    mount(entry.path, point, None, MS_BIND | MS_REC)


def _replace(directory: str, mirror: str) -> None:
    mount(mirror, mirror, None, MS_BIND | MS_REC)
    if directory != "/":
        mount(mirror, directory, None, MS_MOVE)
        return
    os.chdir(mirror)
    mount(mirror, "/", None, MS_MOVE)
    os.chroot(".")
    os.chdir("/")
