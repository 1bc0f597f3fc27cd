"""A fork-server: a small warm interpreter that starts a fenced-in process for each program it is asked to.

It meets neither programs nor tests: those go from the judge straight to the new process, through pipes of their own
that are only handed over here. forkserver.py starts it, and fleet.py replaces it when it dies.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from reforge.sandbox.inside import child, confine, idioms, jail
from reforge.sandbox.inside.scratch import Scratch
from reforge.sandbox.isolation import LANDLOCK, NAMESPACES, SECCOMP
from reforge.sandbox.packages import interpreter, load

# Modules that competitive programs import, loaded once: forks share them.
_WARM = """
abc array ast bisect cmath collections copy dataclasses datetime decimal enum fractions functools hashlib heapq io
itertools json keyword math numbers operator queue random re statistics string struct sys textwrap threading time
traceback typing unicodedata
"""
THREADS = 64  # threads of all programs of a server together, of which one runs at a time
_MESSAGE = 1 << 16
_TARGETS = (0, 1, 2, child.REQUESTS, child.ANSWERS)  # where a child finds the descriptors that come with its order
_STACKS_BYTES = 576 << 20  # address space for stacks that programs reserve and do not fill (`stack_size(2**29)`)
_RULESET = 1 + max(_TARGETS)  # the descriptor of the Landlock rule set, here and in a child
_READ_ALL = 1 << 2  # CAP_DAC_READ_SEARCH
_BLIND_PAUSE = 1  # ms between looks at processes that no pidfd watches


def main(control: str, asked: str) -> None:
    """Run a fork-server. `control`: a descriptor. `asked`: JSON of layers, packages (paths outside the library) and
    scratch (a folder)."""
    door = _out_of_the_way(int(control))
    try:
        server = ForkServer(door, **json.loads(asked))
    except (OSError, ImportError) as error:
        door.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    server.serve()


class ForkServer:
    def __init__(self, door: socket.socket, layers: list[str], packages: list[str], scratch: str) -> None:
        self._door = door
        self._jailed = NAMESPACES in layers
        self._refused: dict[str, str] = {}
        self._running: dict[int, tuple[int, int]] = {}  # the judge's number → the process's, and its pidfd
        self._user = self._kept = 0  # the programs' own user, and its capabilities
        self._spare_user = jail.spare_user()
        for name in _WARM.split():
            importlib.import_module(name)
        load(packages)
        with open("/proc/self/statm") as file:
            self._own_memory = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        self._sources = jail.readable(packages)
        counted = False  # whether the kernel counts these processes apart from those of everybody else
        if self._jailed:
            counted = jail.enter_namespaces(scratch, self._sources)
        self._forker = jail.Forker(self._jailed)
        self._alive, self._ours = os.pipe()  # hangs up when this server dies
        self._scratch = Scratch(scratch, self._jailed)
        os.environ["TMPDIR"] = self._scratch.path
        if os.geteuid() == 0 and self._becomes_another_user():
            self._user, counted = self._spare_user, True
        self._scratch.give_to(self._user)
        self._restricted = LANDLOCK in layers and self._works(LANDLOCK, self._try_landlock)
        if self._restricted:
            ruleset = jail.make_ruleset(self._sources, self._scratch.around, self._jailed)
            os.dup2(ruleset, _RULESET, inheritable=False)
            os.close(ruleset)
        self._filtered = SECCOMP in layers and self._works(SECCOMP, self._try_seccomp)
        if self._filtered:
            self._scratch.watch()
        self._open = not (self._filtered or self._jailed)  # programs can start processes that may outlive them
        if self._open:
            jail.adopt_orphans()
        self._threads = THREADS if counted and self._works("a limit on threads", self._try_threads) else 0
        self._own_layers = [NAMESPACES] * self._jailed + [LANDLOCK] * self._restricted + [SECCOMP] * self._filtered

    def serve(self) -> NoReturn:
        if self._filtered and self._jailed:
            confine.prepared_filter(1, True)  # now, so that no child has to
        child.rehearse()
        idioms.look_new()
        gc.collect()
        gc.freeze()
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # each process starts with a copy of it
        report = {"layers": self._own_layers, "refused": self._refused, "interpreter": interpreter()}
        self._tell({**report, "resident_kb": resident, "reads_all": bool(self._kept)})
        door = self._door.fileno()
        watched = select.poll()
        watched.register(door, select.POLLIN)
        while True:
            blind = any(handle < 0 for _, handle in self._running.values())
            for descriptor, _ in watched.poll(_BLIND_PAUSE if blind else None):
                if descriptor == door:
                    self._obey(watched)
            for name, (pid, handle) in list(self._running.items()):
                reaped, status, usage = os.wait4(pid, os.WNOHANG)
                if reaped:
                    if handle >= 0:
                        watched.unregister(handle)
                        os.close(handle)
                    del self._running[name]
                    self._report(name, os.waitstatus_to_exitcode(status), usage)

    def _obey(self, watched: select.poll) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._door, _MESSAGE, len(_TARGETS))
        if not data:  # the judge has closed its end, or died
            for pid, _ in self._running.values():
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        message = json.loads(data)
        name = message["process"]
        if message["order"] == "start":
            pid, handle = self._fork(lambda: self._become(message, descriptors))
            for descriptor in descriptors:
                os.close(descriptor)
            self._running[name] = (pid, handle)
            if handle >= 0:
                watched.register(handle, select.POLLIN)
            return
        pid, handle = self._running.get(name, (0, -1))
        if message["order"] == "kill" and pid:
            os.kill(pid, signal.SIGKILL)
        elif message["order"] == "handle":
            self._tell({"handle": name}, [handle] if handle >= 0 else [])

    def _report(self, name: int, code: int, usage: resource.struct_rusage) -> None:
        broken = "" if self._running else self._clean()
        cpu = usage.ru_utime + usage.ru_stime
        self._tell({"ended": name, "code": code, "cpu_seconds": cpu, "memory_kb": usage.ru_maxrss, "broken": broken})

    def _tell(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        with suppress(BrokenPipeError):  # the judge has gone; the next look at the door says so
            socket.send_fds(self._door, [json.dumps(message).encode()], descriptors)

    def _fork(self, then: Callable[[], None]) -> tuple[int, int]:
        """Start a process, in a new process namespace if there are any, that does `then` and ends. Return its number
        and its pidfd."""
        pid, handle = self._forker.fork()
        if pid:
            return pid, handle
        try:
            if not self._jailed:  # there, the kernel ends all of a namespace with the server
                os.close(self._ours)
                jail.die_with_parent(self._alive)
            then()
            os._exit(0)
        finally:
            os._exit(1)

    def _become(self, order: dict[str, Any], descriptors: list[int]) -> None:
        for source, target in zip(descriptors, _TARGETS, strict=True):
            os.dup2(source, target)
        os.closerange(_RULESET + 1, 1 << 16)
        channel = child.Channel()
        try:
            self._fence(order)
        except OSError as error:
            channel.send("unfenced", json.dumps(str(error)))
            return
        child.run(channel, order["role"], order["value_bytes"])

    def _fence(self, what: dict[str, Any]) -> None:
        """Fence in the calling process, for good."""
        os.setsid()
        self._change_user()
        os.chdir(self._scratch.path if what["role"] == "program" else "/")
        memory = what["memory_bytes"] + self._own_memory + _STACKS_BYTES
        confine.limit(what["cpu_seconds"], memory, what["file_bytes"], self._threads)
        confine.drop_privileges(jail.LIBC, self._kept)
        if self._restricted:
            jail.restrict(_RULESET)
        os.close(_RULESET)
        if self._filtered:
            confine.filter_calls(jail.LIBC, self._jailed)

    def _change_user(self) -> None:
        if self._user:
            confine.change_user(jail.LIBC, self._user, self._kept)
            if not self._jailed:
                jail.die_with_parent()  # a change of user has undone it

    def _clean(self) -> str:
        """Remove what a program left: it must not meet the next one. Return why that failed, so that the server must
        go; empty if it did not. Where a new folder cannot be had, that is no program's doing: this server ends, and a
        new one judges anew.
        """
        try:
            if self._open and not jail.end_children():
                return "it goes on starting processes"
            if not self._scratch.touched():
                return ""
            self._scratch.clear()
        except OSError as error:
            return f"it broke the folder that it ran in: {type(error).__name__}: {error}"
        self._scratch.make()
        return ""

    def _works(self, what: str, attempt: Callable[[], None]) -> bool:
        """Return whether a process like those to come can do what `attempt` does; if not, why not is kept under `what`.
        One that is ended from outside has said nothing, unless that happens three times in a row."""
        for last in (False, False, True):
            reason, status = self._tried(attempt)
            if not reason and not status:
                return True
            if reason or last:
                self._refused[what] = reason or f"a trial process ended with status {status}"
                break
        return False

    def _tried(self, attempt: Callable[[], None]) -> tuple[str, int]:
        """Return what a trial process said of its failure, and the status that it ended with."""
        reader, writer = os.pipe()

        def trial() -> None:
            try:
                attempt()
            except Exception as error:
                os.write(writer, f"{type(error).__name__}: {error}"[:500].encode())

        pid, handle = self._fork(trial)
        os.close(writer)
        if handle >= 0:
            os.close(handle)
        with open(reader, errors="replace") as file:
            reason = file.read()
        _, status = os.waitpid(pid, 0)
        return reason, status

    def _becomes_another_user(self) -> bool:
        """Return whether programs can run as a different user: where the library lies in a folder of root's, with the
        right to read like root, and never to write."""
        what = "another user"
        for self._kept in (0, _READ_ALL):
            if self._works(what, self._try_user):
                self._refused.pop(what, None)
                return True
        self._kept = 0
        return False

    def _try_user(self) -> None:
        self._user = self._spare_user
        self._change_user()
        for path in self._sources:
            os.listdir(path) if os.path.isdir(path) else open(path).close()

    def _try_landlock(self) -> None:
        ruleset = jail.make_ruleset(self._sources, self._scratch.around, self._jailed)
        confine.drop_privileges(jail.LIBC)
        jail.restrict(ruleset)

    def _try_seccomp(self) -> None:
        confine.drop_privileges(jail.LIBC)
        confine.filter_calls(jail.LIBC, self._jailed)

    def _try_threads(self) -> None:
        self._change_user()
        confine.limit(10, 1 << 40, 1 << 20, THREADS)
        confine.drop_privileges(jail.LIBC)
        threads = [threading.Thread(target=int) for _ in range(THREADS // 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _out_of_the_way(control: int) -> socket.socket:
    """Return the control socket at a descriptor above those that a child uses. This leaves none of this server's own
    where a child puts one of its, so no child needs detours."""
    door = fcntl.fcntl(control, fcntl.F_DUPFD_CLOEXEC, _RULESET + 1)
    os.close(control)
    for number in range(2, _RULESET + 1):
        os.dup2(0, number, inheritable=False)
    return socket.socket(fileno=door)
