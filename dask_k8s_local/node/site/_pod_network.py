"""The pod's network in a Python process, see ``sitecustomize``. Standard library only."""

from __future__ import annotations

import binascii
import errno
import os
import socket

TYPE_CHECKING = False  # Every process imports this module: `typing` would cost it as much as all the rest.
if TYPE_CHECKING:
    from typing import Any

    Address = Any

_WILDCARDS = ("", "0.0.0.0", "::")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "ip6-localhost")
IP_BIND_ADDRESS_NO_PORT = 24


class Network:
    """What this process knows of the pod's network."""

    def __init__(self, facts: str) -> None:
        lines = binascii.a2b_base64(facts).decode().split("\n")
        self.pod_ip, self.hostname, self.namespace, server, self._names_path = lines
        # The API server stays reachable, although it is on the machine's own loopback.
        self._server = _host_and_port(server)
        self._stamp: object = None
        self._names: dict[str, list[str]] = {}
        self._routes: dict[str, list[tuple[str, int]]] = {}

    def names(self) -> dict[str, list[str]]:
        self._refresh()
        return self._names

    def _refresh(self) -> None:
        import json

        try:
            status = os.stat(self._names_path)
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                with open(self._names_path, encoding="utf-8") as file:
                    table = json.load(file)
                self._names, self._routes, self._stamp = table["names"], table["routes"], stamp
        except FileNotFoundError:
            pass  # The node is stopping.

    def resolve(self, name: str) -> list[str] | None:
        """Return the addresses of a name of this cluster, or None if it's another's to know."""
        if name in (self.hostname, f"{self.hostname}.{self.namespace}.pod"):
            return [self.pod_ip]
        if name == "localhost":
            return [self.pod_ip]
        labels = name.rstrip(".").lower().split(".")
        if not all(labels) or labels[-1].isdigit():
            return None
        names = self.names()
        own = names.get(f"{labels[0]}.{self.namespace}") if len(labels) == 1 else None
        if own is not None:
            return own
        if "svc" in labels[2:4]:
            return names.get(".".join(labels[: labels.index("svc", 2)]), [])
        return names.get(".".join(labels)) or names.get(".".join([*labels, self.namespace]))

    def destination(self, host: str, port: int) -> tuple[str, int]:
        """Return where a connection really goes; raise ConnectionRefusedError without an endpoint."""
        if (host, port) == self._server:
            return host, port
        if host in _LOOPBACK_NAMES or host in _WILDCARDS:
            return self.pod_ip, port
        self._refresh()
        endpoints = self._routes.get(f"{host}:{port}")
        if endpoints is None:
            return host, port
        if not endpoints:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"no ready endpoint behind {host}:{port}")
        chosen = endpoints[os.urandom(1)[0] % len(endpoints)] if len(endpoints) > 1 else endpoints[0]
        return chosen[0], chosen[1]

    def source(self, host: str) -> str:
        """Return the address to connect from, empty for the machine's choice."""
        return self.pod_ip if host.startswith("127.") else ""


def _host_and_port(server: str) -> tuple[str, int]:
    scheme, _, rest = server.partition("://")
    host, _, port = rest.split("/")[0].rpartition(":")
    return (
        (host.strip("[]"), int(port)) if host and port.isdigit() else (rest, 443 if scheme == "https" else 80)
    )


def install(facts: str) -> None:
    """Put the pod's network in place of the machine's, in `socket`."""
    network = Network(facts)
    original = socket.socket
    bind, connect, connect_ex = original.bind, original.connect, original.connect_ex
    getsockname, getaddrinfo = original.getsockname, socket.getaddrinfo
    sendto: Any = original.sendto
    gethostbyaddr, gethostbyname = socket.gethostbyaddr, socket.gethostbyname
    gethostbyname_ex = socket.gethostbyname_ex

    def pod_bind(self: socket.socket, address: Address) -> None:
        if self.family == socket.AF_INET and address[0] in (*_WILDCARDS, *_LOOPBACK_NAMES):
            return bind(self, (network.pod_ip, *address[1:]))
        if self.family == socket.AF_INET6 and address[0] in (*_WILDCARDS, *_LOOPBACK_NAMES):
            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            return bind(self, ("::ffff:" + network.pod_ip, *address[1:]))
        return bind(self, address)

    def prepared(self: socket.socket, address: Address) -> Address:
        if self.family == socket.AF_INET6 and address[0] in ("::1", "::"):
            return ("::ffff:" + network.pod_ip, *address[1:])
        if self.family != socket.AF_INET or not isinstance(address[0], str):
            return address
        host, port = address
        if host and not host[0].isdigit():
            host = pod_gethostbyname(host)
        host, port = network.destination(host, port)
        source = network.source(host)
        if source and getsockname(self) == ("0.0.0.0", 0):
            self.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            bind(self, (source, 0))
        return host, port

    def pod_sendto(self: socket.socket, data: Any, *rest: Any) -> Any:
        return sendto(self, data, *rest[:-1], prepared(self, rest[-1]))

    def pod_connect(self: socket.socket, address: Address) -> None:
        address = prepared(self, address)
        try:
            return connect(self, address)
        except OSError as error:
            # Who connects a datagram socket asks which address it has, and a pod always has one.
            if self.type & socket.SOCK_DGRAM and error.errno == errno.ENETUNREACH:
                return bind(self, (network.pod_ip, 0))
            raise

    def pod_connect_ex(self: socket.socket, address: Address) -> int:
        try:
            address = prepared(self, address)
        except ConnectionRefusedError:
            return errno.ECONNREFUSED
        return connect_ex(self, address)

    def pod_getsockname(self: socket.socket) -> Address:
        address = getsockname(self)
        if self.family == socket.AF_INET and not address[0].startswith(("127.", "0.")):
            # Connected to the world outside, from an address of the machine.
            return (network.pod_ip, *address[1:])
        return address

    def pod_getaddrinfo(
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in (None, "") and family in (socket.AF_UNSPEC, socket.AF_INET):
            # The pod has an IPv4 address only.
            return getaddrinfo(host, port, socket.AF_INET, type, proto, flags)
        addresses = network.resolve(name) if isinstance(name, str) else None
        if addresses is None:
            return getaddrinfo(host, port, family, type, proto, flags)
        if family not in (socket.AF_UNSPEC, socket.AF_INET) or not addresses:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {name}")
        return [
            found
            for address in addresses
            for found in getaddrinfo(
                address, port, socket.AF_INET, type, proto, flags & ~socket.AI_NUMERICHOST
            )
        ]

    def pod_gethostbyaddr(name: str) -> tuple[str, list[str], list[str]]:
        # The machine's resolver knows no pod, and may take long to say so.
        if name in (network.pod_ip, network.hostname):
            return network.hostname, [], [network.pod_ip]
        return gethostbyaddr(name)

    def pod_gethostbyname(name: str) -> str:
        addresses = network.resolve(name)
        if addresses is None:
            return gethostbyname(name)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {name}")
        return gethostbyname(addresses[0])

    def pod_gethostbyname_ex(name: str) -> tuple[str, list[str], list[str]]:
        addresses = network.resolve(name)
        if addresses is None:
            return gethostbyname_ex(name)
        return name, [], [pod_gethostbyname(name)] if len(addresses) == 1 else addresses

    patches: dict[str, Any] = {
        "bind": pod_bind,
        "connect": pod_connect,
        "connect_ex": pod_connect_ex,
        "getsockname": pod_getsockname,
        "sendto": pod_sendto,
    }
    for name, function in patches.items():
        setattr(original, name, function)
    patches = {
        "getaddrinfo": pod_getaddrinfo,
        "gethostbyaddr": pod_gethostbyaddr,
        "gethostbyname": pod_gethostbyname,
        "gethostbyname_ex": pod_gethostbyname_ex,
        "gethostname": lambda: network.hostname,
    }
    for name, function in patches.items():
        setattr(socket, name, function)
