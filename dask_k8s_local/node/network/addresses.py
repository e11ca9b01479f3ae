"""Addresses for pods in 127.0.0.0/8, of which every node on the machine has a block of its own."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from itertools import cycle

RANGE = ipaddress.IPv4Network("127.64.0.0/11")
"""Beside the range of Services, which begins at 127.96.0.0."""
BLOCK_PREFIX = 20
KUBELET_PORT = 10250


class AddressBlock:
    """A block of loopback addresses, ours while this object or a process that inherited `lock` lives.

    Raises
    ------
    RuntimeError
        If the system has no addresses beside 127.0.0.1 (macOS), or all blocks are taken.
    """

    def __init__(self) -> None:
        blocks = list(RANGE.subnets(new_prefix=BLOCK_PREFIX))
        random.shuffle(blocks)
        for block in blocks:
            self.node_address = str(block[1])
            # The kernel frees it when the last process that holds it is gone, however that ends.
            self.lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.lock.bind((self.node_address, KUBELET_PORT))
            except OSError as error:
                self.lock.close()
                if error.errno == errno.EADDRINUSE:
                    continue
                raise RuntimeError(
                    f"this system can't bind {self.node_address} ({error}); pods need addresses of "
                    f"their own in {RANGE}: add them to the loopback interface (on Linux they are there)"
                ) from error
            break
        else:
            raise RuntimeError(
                f"all {len(blocks)} address blocks in {RANGE} are taken by other nodes of this machine"
            )
        # In turn, so that an address comes back as late as possible.
        self._candidates = cycle(str(address) for address in list(block)[2:-1])
        self._size = block.num_addresses - 3
        self._used: set[str] = set()

    def allocate(self) -> str:
        if len(self._used) >= self._size:
            raise RuntimeError("no pod address is left on this node")
        address = next(address for address in self._candidates if address not in self._used)
        self._used.add(address)
        return address

    def release(self, address: str) -> None:
        self._used.discard(address)

    def close(self) -> None:
        self.lock.close()
