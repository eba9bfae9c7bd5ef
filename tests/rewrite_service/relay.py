"""A relay between client and server, that can be slow on chosen connections, and closed: what networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class Relay:
    """Passes on what comes to `address`, a port of this machine, to `target` (host:port). `delay_s`: seconds that each
    piece waits on the way there, by the number of the connection, from 0."""

    def __init__(self, target: str, delay_s: Callable[[int], float] = lambda number: 0.0, port: int = 0) -> None:
        host, _, to = target.rpartition(":")
        self._target, self._delay_s = (host, int(to)), delay_s
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in [self._listening, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                delay_s = self._delay_s(self.connections)
                self.connections += 1
                for source, sink, wait_s in ((near, far, delay_s), (far, near, 0.0)):
                    threading.Thread(target=self._pass_on, args=(source, sink, wait_s), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket, wait_s: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(wait_s)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
