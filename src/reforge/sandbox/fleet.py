"""The fork-servers of a judge: started when needed, replaced when lost."""

from __future__ import annotations

import os
import queue
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reforge.errors import InfrastructureError, UserError
from reforge.sandbox.forkserver import Refused, Server
from reforge.sandbox.inside.scratch import remove
from reforge.sandbox.isolation import LAYERS, NAMESPACES, Isolation, warning_of
from reforge.sandbox.packages import paths_of


class Fleet:
    """The servers of a judge: at most `size`, all alike. The first is started at once and settles which layers this
    machine offers.

    Raises UserError where their isolation is below `minimum`, or where a package is not installed.
    """

    def __init__(
        self, size: int, minimum: Isolation, layers: Sequence[str] = LAYERS, packages: Sequence[str] = ()
    ) -> None:
        self._packages = [path for package in packages for path in paths_of(package)]
        self._folders: dict[Server, str] = {}
        self._idle: queue.LifoQueue[Server | None] = queue.LifoQueue()  # None: a server that may yet be started
        self.refused: dict[str, str] = {}
        self._closed = False
        first = self._first(tuple(layers))
        self.layers, self.isolation, self.interpreter = first.layers, first.isolation, first.interpreter
        self.warning = warning_of(self.layers, os.geteuid() == 0, first.reads_all)
        for server in [*[None] * (size - 1), first]:
            self._idle.put(server)
        if self.isolation < minimum:
            self.close()
            why = "; ".join(f"{layer}: {reason}" for layer, reason in self.refused.items())
            raise UserError(
                f"This machine isolates programs at the level {self.isolation.label!r}, and sandbox.minimum_isolation "
                f"asks for {minimum.label!r} ({why or 'the rest was not asked for'}). Give it what is missing, or, for "
                "programs that you trust that far, lower the setting."
            )

    @contextmanager
    def borrow(self) -> Iterator[Server]:
        """Yield a server that nobody else uses meanwhile. One that was lost in between is not given back."""
        if self._closed:
            raise UserError("This judge is closed: judge inside its `with` block.")
        server = self._idle.get()
        try:
            if server is not None and server.gone():
                self._discard(server)
                server = None
            if server is None:
                server = self._start(self.layers)
            if server.layers != self.layers:  # the next attempt gets a new one
                raise InfrastructureError(f"a fork-server has {server.layers} of {self.layers}: {server.refused}")
            yield server
            if server.broken:
                self._discard(server)
                server = None
        except BaseException:
            if server is not None:
                self._discard(server)
            server = None
            raise
        finally:
            self._idle.put(server)

    def close(self) -> None:
        self._closed = True
        for server in list(self._folders):
            self._discard(server)

    def _first(self, layers: tuple[str, ...]) -> Server:
        """Return the first server. A layer is missing here if the system refuses it, or ends whoever asks for it three
        times in a row: a server that is ended once may have been so by chance, and programs would be fenced in less
        from then on."""
        for last in (False, False, True):
            try:
                server = self._start(layers)
            except Refused as error:
                return self._without_namespaces(layers, error)
            except InfrastructureError as error:
                if last:
                    return self._without_namespaces(layers, error)
            else:
                self.refused |= server.refused
                return server
        raise AssertionError

    def _without_namespaces(self, layers: tuple[str, ...], error: InfrastructureError) -> Server:
        if NAMESPACES not in layers:
            raise error
        self.refused[NAMESPACES] = str(error)
        return self._first(tuple(layer for layer in layers if layer != NAMESPACES))

    def _start(self, layers: tuple[str, ...]) -> Server:
        folder = tempfile.mkdtemp(prefix="reforge-")
        try:
            server = Server(layers, self._packages, folder)
        except BaseException:
            remove(folder)
            raise
        self._folders[server] = folder
        return server

    def _discard(self, server: Server) -> None:
        server.close()
        folder = self._folders.pop(server, None)
        if folder is not None:
            remove(folder)
