"""A fork-server: a small warm interpreter that starts a fenced-in process for each program it is asked to.

It meets neither programs nor tests: those go from the judge straight to the new process, through pipes of their own
that are only handed over here. Started, and started anew when it dies, by process.py.
"""

from __future__ import annotations

import builtins
import fcntl
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import Any, NoReturn

from reforge.sandbox import child, confine, jail
from reforge.sandbox.isolation import LANDLOCK, NAMESPACES, SECCOMP

# What competitive programs import, loaded once: forks share it.
_WARM = """
abc array ast bisect cmath collections copy dataclasses datetime decimal enum fractions functools hashlib heapq io
itertools json keyword math numbers operator queue random re statistics string struct sys textwrap threading time
traceback typing unicodedata
"""
THREADS = 64  # of all programs of a server together, of which one runs at a time
_MESSAGE = 1 << 16
_TARGETS = (0, 1, child.REQUESTS, child.ANSWERS)  # where a child finds the descriptors that come with its order
_RULESET = 1 + max(_TARGETS)


def main(control: str, asked: str) -> None:
    """`control`: a descriptor. `asked`: JSON of layers, packages (paths outside the library), scratch (a folder)."""
    door = socket.socket(fileno=int(control))
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
        self._user = self._namespace = 0
        self._spare_user = jail.spare_user()
        _warm_up(packages)
        with open("/proc/self/statm") as file:
            self._own_memory = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        self._sources = jail.readable(packages)
        counted = False  # by the kernel, apart from the processes of everybody else
        if self._jailed:
            counted = jail.enter_namespaces(scratch, self._sources)
            self._namespace = os.pidfd_open(os.getpid())
        self._alive, self._ours = os.pipe()  # hangs up when this server dies
        self._scratch = os.environ["TMPDIR"] = jail.SCRATCH if self._jailed else scratch
        if os.geteuid() == 0 and self._works("another user", self._try_user):
            self._user, counted = self._spare_user, True
            if not self._jailed:
                os.chown(scratch, self._user, self._user)
        self._mode = os.stat(self._scratch).st_mode
        self._ruleset = -1
        if LANDLOCK in layers and self._works(LANDLOCK, self._try_landlock):
            self._ruleset = jail.make_ruleset(self._sources, self._scratch)
        self._filtered = SECCOMP in layers and self._works(SECCOMP, self._try_seccomp)
        self._threads = THREADS if counted and self._works("a limit on threads", self._try_threads) else 0
        self._own_layers = [NAMESPACES] * self._jailed + [LANDLOCK] * (self._ruleset >= 0) + [SECCOMP] * self._filtered

    def serve(self) -> NoReturn:
        if self._filtered and self._jailed:
            confine.filter_program(os.uname().machine, 1)  # now, so that no child has to
        _look_new()
        gc.collect()
        gc.freeze()
        interpreter = f"{sys.implementation.name} {sys.version.split()[0]}"
        self._tell({"layers": self._own_layers, "refused": self._refused, "interpreter": interpreter})
        running: set[int] = set()
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._door, _MESSAGE, len(_TARGETS))
            if not data:  # the judge has closed its end, or died
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            ((order, what),) = json.loads(data).items()
            if order == "start":
                running.add(self._start(what, descriptors))
            else:
                running.remove(what["pid"])
                ended = _end(**what)
                spent = not running and not self._clean()
                self._tell({**ended, "spent": spent})

    def _tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        socket.send_fds(self._door, [json.dumps(message).encode()], descriptors or [])

    def _start(self, what: dict[str, Any], descriptors: list[int]) -> int:
        pid = self._fork(lambda: self._become(what, descriptors))
        handle = _handle(pid)
        self._tell({"pid": pid}, handle)
        for descriptor in descriptors + handle:
            os.close(descriptor)
        return pid

    def _fork(self, then: Callable[[], None]) -> int:
        """A process, in a new process namespace if there are any, that does `then` and ends."""
        if self._jailed:
            jail.new_process_namespace(self._namespace)
        pid = os.fork()
        if pid:
            return pid
        try:
            os.close(self._ours)
            self._door.close()
            if not self._jailed:  # there, the kernel ends all of a namespace with the server
                jail.die_with_parent(self._alive)
            then()
            os._exit(0)
        finally:
            os._exit(1)

    def _become(self, what: dict[str, Any], descriptors: list[int]) -> None:
        spare = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in [*descriptors, max(self._ruleset, 0)]]
        for source, target in zip(spare, (*_TARGETS, _RULESET), strict=True):
            os.dup2(source, target)
        os.closerange(_RULESET + 1, 1 << 16)
        channel = child.Channel()
        try:
            self._fence(what)
        except OSError as error:
            channel.send("unfenced", json.dumps(str(error)))
            return
        channel.send("ready", "true")
        child.run(channel, what["role"], what["value_bytes"])

    def _fence(self, what: dict[str, Any]) -> None:
        """The calling process, for good."""
        os.setsid()
        self._change_user()
        os.chdir(self._scratch if what["role"] == "program" else "/")
        memory = what["memory_bytes"] + self._own_memory
        confine.limit(what["cpu_seconds"], memory, what["file_bytes"], self._threads)
        confine.drop_privileges(jail.LIBC)
        if self._ruleset >= 0:
            jail.restrict(_RULESET)
        os.close(_RULESET)
        if self._filtered:
            confine.filter_calls(jail.LIBC)

    def _change_user(self) -> None:
        if self._user:
            os.setgroups([])
            os.setresgid(self._user, self._user, self._user)
            os.setresuid(self._user, self._user, self._user)
            if not self._jailed:
                jail.die_with_parent()  # which a change of user had undone

    def _clean(self) -> bool:
        """What a program left must not meet the next one. A server that cannot tidy up must make way for another."""
        if not os.listdir(self._scratch) and os.stat(self._scratch).st_mode == self._mode:
            return True
        try:
            if self._jailed:
                jail.renew_scratch()
                if self._ruleset >= 0:
                    os.close(self._ruleset)
                    self._ruleset = jail.make_ruleset(self._sources, self._scratch)
            else:
                os.chmod(self._scratch, self._mode)
                for entry in os.scandir(self._scratch):
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
        except (OSError, RecursionError):
            return False
        return True

    def _works(self, what: str, attempt: Callable[[], None]) -> bool:
        """Whether a process like those to come can do it; if not, why not is kept."""
        reader, writer = os.pipe()

        def trial() -> None:
            try:
                attempt()
            except Exception as error:
                os.write(writer, f"{type(error).__name__}: {error}"[:500].encode())

        pid = self._fork(trial)
        os.close(writer)
        with open(reader, errors="replace") as file:
            reason = file.read()
        _, status = os.waitpid(pid, 0)
        if reason or status:
            self._refused[what] = reason or f"a trial process ended with status {status}"
        return not (reason or status)

    def _try_user(self) -> None:
        self._user = self._spare_user
        self._change_user()
        for path in self._sources:
            os.listdir(path) if os.path.isdir(path) else open(path).close()

    def _try_landlock(self) -> None:
        ruleset = jail.make_ruleset(self._sources, self._scratch)
        confine.drop_privileges(jail.LIBC)
        jail.restrict(ruleset)

    def _try_seccomp(self) -> None:
        confine.drop_privileges(jail.LIBC)
        confine.filter_calls(jail.LIBC)

    def _try_threads(self) -> None:
        self._change_user()
        confine.limit(10, 1 << 40, 1 << 20, THREADS)
        confine.drop_privileges(jail.LIBC)
        threads = [threading.Thread(target=int) for _ in range(THREADS // 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _look_new() -> None:
    """What programs find of this server: done here, because every page that a fork writes to must be copied for it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "reforge"]:
        del sys.modules[name]  # with the package goes the path to the rest of it
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # else made by `site`, which is not loaded
    sys.argv = ["program.py"]


def _handle(pid: int) -> list[int]:
    try:
        return [os.pidfd_open(pid)]
    except OSError:  # an old kernel, or one of the imitations
        return []


def _end(pid: int, seconds: float) -> dict[str, Any]:
    """Wait so long for a process to end by itself, then end it with all its threads; how it ended and what it used."""
    _wait(pid, seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    used = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "memory_kb": usage.ru_maxrss}
    return {"ended": os.waitstatus_to_exitcode(status), **used}


def _wait(pid: int, seconds: float) -> None:
    handle = _handle(pid)
    if handle:
        select.select(handle, [], [], seconds)
        os.close(*handle)
        return
    deadline = time.monotonic() + seconds
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) and time.monotonic() < deadline:
        time.sleep(0.001)


class Packages:
    """Makes importable, beside the interpreter's own library, what is at these paths and nothing next to it."""

    def __init__(self, paths: list[str]) -> None:
        self.folders = {os.path.basename(path).removesuffix(".py"): os.path.dirname(path) for path in paths}

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return PathFinder.find_spec(name, [self.folders[name]]) if name in self.folders else None


def _warm_up(paths: list[str]) -> None:
    """Load what programs often import, and all packages: where one is broken, better now than in a verdict."""
    packages = Packages(paths)
    sys.meta_path.append(packages)  # type: ignore[arg-type]
    for name in [*_WARM.split(), *(name for name in packages.folders if name.isidentifier())]:
        importlib.import_module(name)
