"""Captures the connections that pods begin and the datagrams that they send, on the node."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_IPV4 = 0x0800  # of ETH_P_IP; https://www.man7.org/linux/man-pages/man7/packet.7.html
_TCP, _UDP = 6, 17
_SYN, _ACK = 0x02, 0x10
_LOOK = 0.2  # seconds


class Sniffer:
    """A capture on all interfaces of this network namespace during a block.

    Attributes:
        begun: Source address → (destination, port, protocol) of its TCP connections and UDP
            datagrams.
    """

    def __init__(self) -> None:
        self.begun: dict[str, set[tuple[str, int, str]]] = {}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IPV4))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.settimeout(_LOOK)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                self._see(self._socket.recv(256))

    def _see(self, packet: bytes) -> None:
        header = (packet[0] & 0x0F) * 4
        protocol = packet[9]
        sender, to = (str(ipaddress.IPv4Address(packet[at : at + 4])) for at in (12, 16))
        if protocol == _TCP and packet[header + 13] & (_SYN | _ACK) != _SYN:
            return
        if protocol in {_TCP, _UDP}:
            (port,) = struct.unpack_from("!H", packet, header + 2)
            one = (to, port, "tcp" if protocol == _TCP else "udp")
            self.begun.setdefault(sender, set()).add(one)
