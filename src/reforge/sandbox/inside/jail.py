"""The fences that a fork-server puts up once, for all the programs it will start: namespaces with a small read-only
root, and a Landlock rule set. This takes Linux calls that Python has no names for.
"""

from __future__ import annotations

import ctypes
import glob
import os
import struct
import sys
import sysconfig
from contextlib import suppress

LIBC = ctypes.CDLL(None, use_errno=True)
for _name in ("prctl", "capset", "syscall"):
    getattr(LIBC, _name)  # looked up here, not in each process anew
_HOLDING = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock during a call

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_CLONE_PIDFD, _CLONE_CHILD_SETTID, _SIGCHLD = 0x1000, 0x01000000, 17
_CLONE = {"x86_64": 56, "aarch64": 220}
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_TID_ADDRESS, _SIGKILL = 1, 36, 40, 9
_ROUNDS = 200  # rounds of ending orphans at most
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 32, 4096
_MS_REC, _MS_PRIVATE = 16384, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = -100, 0x8000, 1, 2, 4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446

# Landlock's rights on files, by the version of its interface that brought them.
_READ, _LIST, _EXECUTE, _WRITE_FILE = 0b1100, 0b1000, 1, 0b10
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS, _SCOPES = 0b11, 0b11  # bind and connect TCP (4); abstract sockets and signals (6)

NOBODY = 65534
SCRATCH = "/scratch/program"  # in the jail: the one place to write, in memory
SCRATCH_BYTES, SCRATCH_FILES = 16 << 20, 512
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib")
_FILES = ("/etc/ld.so.cache", "/usr/share/zoneinfo")
_FOREIGN = ("site-packages", "dist-packages", "_bundled")  # folders in a library that hold what is not part of it


def readable(packages: list[str]) -> list[str]:
    """Return what a program may read: the interpreter's library, those it is linked with, and the packages given."""
    base = {"installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    library = [sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")]
    found = [*sorted({*library, *_LIBRARIES, *_FILES}), *packages]  # outer folders first: others are put into them
    return [path for path in dict.fromkeys(found) if os.path.exists(path)]


def foreign(source: str) -> list[str]:
    """Return the folders in a library whose packages may only be read where they are named."""
    if set(_FOREIGN) & set(source.split("/")):
        return []
    found = [glob.glob(f"{glob.escape(source)}/{inside}{name}") for name in _FOREIGN for inside in ("", "*/")]
    return [path for paths in found for path in paths if os.path.isdir(path) and not os.path.islink(path)]


def enter_namespaces(root: str, sources: list[str]) -> bool:
    """Return in a new process, the first of its own process namespace, with `root` as its root: a tmpfs with `sources`
    bound read-only into it and a scratch folder. The old process only waits for it. Raises OSError where any step is
    refused; this process is then of no use any more. Returns True if it took a user namespace: there its user is a new
    one.
    """
    flags = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
    as_other_user = os.geteuid() != 0 or LIBC.unshare(flags) != 0
    if as_other_user:
        user, group = os.geteuid(), os.getegid()
        _check(LIBC.unshare(flags | _CLONE_NEWUSER), "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("gid_map", f"{NOBODY} {group} 1"),
            ("uid_map", f"{NOBODY} {user} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _check(LIBC.sethostname(b"sandbox", 7), "sethostname")
    _build_root(root, sources)
    _fork_as_first()
    return as_other_user


def _build_root(root: str, sources: list[str]) -> None:
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    covers = []
    for source in sources:
        _bind(source, root)
        for path in [] if os.path.islink(source) else foreign(source):
            covers.append(root + path)
            _mount("tmpfs", covers[-1], "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for cover in covers:
        _protect(cover, _ATTR_NODEV)
    os.mkdir(f"{root}/dev", 0o755)
    for device in _DEVICES:
        _bind(f"/dev/{device}", root)
    os.makedirs(root + SCRATCH, 0o755)
    _mount_scratch(root + SCRATCH)
    if not os.path.exists(root + "/tmp"):  # else something readable lies there
        os.symlink(SCRATCH, root + "/tmp")
    os.chdir(root)
    _check(LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(LIBC.umount2(b".", _MNT_DETACH), "umount2")
    os.chdir("/")
    _mount("none", "/", "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def drop_scratch() -> None:
    """Drop the folder of the jail: all that was in it is gone, with its times, attributes and numbers."""
    _check(LIBC.umount2(SCRATCH.encode(), _MNT_DETACH), "umount2")


def make_scratch() -> None:
    _mount_scratch(SCRATCH)


def _mount_scratch(path: str) -> None:
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES},mode=777")


def _bind(source: str, root: str) -> None:
    """Put `source` at its own name below `root`: a link as a link, the rest bound and made read-only."""
    target = root + source
    os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, target, "", _MS_BIND | _MS_REC)
    _protect(target, 0 if source.startswith("/dev/") else _ATTR_NODEV)


def _protect(target: str, nodev: int) -> None:
    attributes = struct.pack("<QQQQ", _ATTR_RDONLY | _ATTR_NOSUID | nodev, 0, 0, 0)
    result = LIBC.syscall(
        _MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE, ctypes.c_char_p(attributes), len(attributes)
    )
    _check(result, f"mount_setattr {target}")


def _fork_as_first() -> None:
    """Fork: the child goes on; the parent waits for it and ends when it does. If either is killed, so is the other."""
    alive, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        die_with_parent(alive)
        return
    os.closerange(3, ours)
    os.closerange(ours + 1, 1024)
    os.waitpid(pid, 0)
    os._exit(0)


def die_with_parent(alive: int = -1) -> None:
    """End this process when its parent ends. `alive` is a pipe's end that reports a hang-up once the parent is gone, as
    it may be already."""
    LIBC.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if alive < 0:
        return
    os.set_blocking(alive, False)
    with suppress(BlockingIOError):
        if os.read(alive, 1) == b"":
            os._exit(1)
    os.close(alive)


def spare_user() -> int:
    """Return a user that nobody else runs as, or nearly so where a container has only the first 65536."""
    pid = os.getpid()
    with open("/proc/self/uid_map") as file:
        highest = max(int(start) + int(count) for start, _, count in map(str.split, file))
    return 0x40000000 + pid if highest > 0x60000000 else 20_000 + pid % 40_000


def adopt_orphans() -> None:
    """Adopt, from now on, the processes that descendants of this one leave behind."""
    LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> bool:
    """End all children, and return whether all are gone: those of a program that goes on starting others faster than
    they can be ended are not."""
    for _ in range(_ROUNDS):
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            children = [int(pid) for pid in file.read().split()]
        if not children:
            return True
        for pid in children:
            os.kill(pid, _SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
    return False


class Forker:
    """Forks as `os.fork` does, less what Python and libc do around it for threads that this process has never had
    (locks anew, seeds anew): each page that they touch must be copied, and page faults are what a short process costs.
    """

    def __init__(self, own_processes: bool) -> None:
        """`own_processes`: each new process is the first of a process namespace of its own."""
        self._call = _CLONE[os.uname().machine]
        self._flags = _SIGCHLD | _CLONE_PIDFD | (_CLONE_NEWPID if own_processes else 0)
        # libc keeps a thread's number at an address that the kernel knows, too: a new process must find its own there.
        address = ctypes.c_void_p()
        if LIBC.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) == 0 and address:
            self._flags |= _CLONE_CHILD_SETTID
        # the kernel's order of the last two differs between machines
        last = (address, None) if os.uname().machine == "x86_64" else (None, address)
        self._handle = ctypes.c_int(-1)
        self._rest = (None, ctypes.byref(self._handle), *last)

    def fork(self) -> tuple[int, int]:
        """Return the new process's number, 0 in the new process itself, and its pidfd, -1 on a kernel that has none."""
        self._handle.value = -1
        pid = _HOLDING.syscall(self._call, self._flags, *self._rest)
        _check(pid, "clone")
        return pid, self._handle.value


def make_ruleset(sources: list[str], writable: str, jailed: bool) -> int:
    """Return a descriptor of a Landlock rule set: `sources` may be read, `writable` written, all other files neither.
    Raises OSError on a kernel without Landlock. In a jail foreign folders are covered and need no rules; few rules are
    sooner put on.
    """
    version = LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1)
    _check(version, "landlock_create_ruleset")
    rights = _FILE_RIGHTS[max(v for v in _FILE_RIGHTS if v <= version)]
    sizes = {1: 8, 4: 16, 6: 24}
    size = sizes[max(v for v in sizes if v <= version)]
    attributes = struct.pack("<QQQ", rights, _NET_RIGHTS, _SCOPES)
    ruleset = LIBC.syscall(_LANDLOCK_CREATE, ctypes.c_char_p(attributes), size, 0)
    _check(ruleset, "landlock_create_ruleset")
    for path in sources:
        _allow_library(ruleset, path, [] if jailed else foreign(path))
    for device in _DEVICES:
        _allow(ruleset, f"/dev/{device}", 0b100 | _WRITE_FILE)
    _allow(ruleset, writable, rights & ~_EXECUTE)
    return int(ruleset)


def _allow_library(ruleset: int, path: str, but: list[str]) -> None:
    """Allow the reading of `path` without the folders `but`. Rules only add up: to leave something out, all that is
    beside it is named."""
    if not any(other.startswith(f"{path}/") for other in but):
        _allow(ruleset, path, _READ)
        return
    _allow(ruleset, path, _LIST)
    for name in os.listdir(path):
        if f"{path}/{name}" not in but:
            _allow_library(ruleset, f"{path}/{name}", but)


def _allow(ruleset: int, path: str, rights: int) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            of_files = rights & ~0b1000 if not os.path.isdir(path) else rights
            rule = struct.pack("<Qi", of_files, descriptor)
            _check(LIBC.syscall(_LANDLOCK_ADD, ruleset, 1, ctypes.c_char_p(rule), 0), f"landlock_add_rule {path}")
        finally:
            os.close(descriptor)


def restrict(ruleset: int) -> None:
    """Restrict this process by the rule set, which needs `no_new_privs`."""
    _check(LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = LIBC.mount(source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    _check(result, f"mount {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
