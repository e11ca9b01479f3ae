"""A pod's mounts in a Python process, where the machine can't mount. Standard library only."""

from __future__ import annotations

import binascii
import builtins
import importlib.abc
import importlib.machinery
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ONE_PATH = (
    "access",
    "chdir",
    "chmod",
    "chown",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "readlink",
    "remove",
    "rmdir",
    "scandir",
    "stat",
    "statvfs",
    "truncate",
    "unlink",
    "utime",
)
_TWO_PATHS = ("link", "rename", "replace", "symlink")


class Mounts:
    """Where mounted paths really are."""

    def __init__(self, facts: str) -> None:
        lines = binascii.a2b_base64(facts).decode().split("\n")
        pairs = {lines[i]: lines[i + 1] for i in range(0, len(lines), 2)}
        # A path may be named as it was mounted, or with its symbolic links followed.
        pairs |= {os.path.realpath(target): source for target, source in pairs.items()}
        self._sources = dict(sorted(pairs.items(), key=lambda pair: -len(pair[0])))

    def where(self, path: Any) -> Any:
        """Return the path to use in place of this one; what isn't mounted, or no path, stays as it is."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return path
        text = os.fsdecode(path)
        if not text.startswith("/"):
            return path
        normal = os.path.normpath(text)
        for target, source in self._sources.items():
            if normal == target or normal.startswith(target + "/"):
                found = source + normal[len(target) :]
                return os.fsencode(found) if isinstance(path, bytes) else found
        return path


def install(facts: str) -> None:
    """Let the functions of `os` and `open` find mounted paths."""
    mounts = Mounts(facts)
    for name in _ONE_PATH:
        _wrap(os, name, _with_first_path(getattr(os, name), mounts))
    for name in _TWO_PATHS:
        _wrap(os, name, _with_two_paths(getattr(os, name), mounts))
    opened = _with_first_path(io.open, mounts)
    builtins.open = io.open = opened
    sys.meta_path.insert(0, _SslFinder(mounts))


def _with_first_path(original: Callable[..., Any], mounts: Mounts) -> Callable[..., Any]:
    def redirected(*args: Any, **options: Any) -> Any:
        if args:
            return original(mounts.where(args[0]), *args[1:], **options)
        if "path" in options:
            options["path"] = mounts.where(options["path"])
        return original(**options)

    return redirected


def _with_two_paths(original: Callable[..., Any], mounts: Mounts) -> Callable[..., Any]:
    def redirected(*args: Any, **options: Any) -> Any:
        paths = [mounts.where(path) for path in args[:2]]
        options = {name: mounts.where(value) for name, value in options.items()}
        return original(*paths, *args[2:], **options)

    return redirected


def _wrap(module: Any, name: str, function: Callable[..., Any]) -> None:
    original = getattr(module, name)
    function.__name__ = name
    # Other modules ask by function what `os` can do.
    for able in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
        if original in able:
            able.add(function)
    setattr(module, name, function)


class _SslFinder(importlib.abc.MetaPathFinder):
    """Changes `ssl` when it is imported, which is seldom at the start: OpenSSL opens files by itself."""

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "ssl":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                self._change(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _change(self, ssl: Any) -> None:
        mounts, context = self._mounts, ssl.SSLContext
        load_locations, load_chain = context.load_verify_locations, context.load_cert_chain

        def load_verify_locations(
            self: Any, cafile: Any = None, capath: Any = None, cadata: Any = None
        ) -> None:
            load_locations(self, mounts.where(cafile), mounts.where(capath), cadata)

        def load_cert_chain(self: Any, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
            load_chain(self, mounts.where(certfile), mounts.where(keyfile), password)

        context.load_verify_locations = load_verify_locations
        context.load_cert_chain = load_cert_chain
