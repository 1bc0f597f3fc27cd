"""Confine a process before it meets a program: limits; no privileges, new processes, signals, network.

This is irrevocable, and inherited by all threads. Namespaces and Landlock, where there are any, were set up before
(jail.py); this filter is a deny list on top of them, and all there is on a machine without them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import struct
from resource import getrlimit, setrlimit  # before programs get theirs (idioms.py)

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 8, 22, 38
_CAPABILITY_VERSION_3 = 0x20080522

# Offsets in struct seccomp_data, and the instructions of classic BPF that the filter is made of.
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_LOAD, _AND, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS, _ENOTSUP = 0x7FFF0000, 0x00050001, 0x00050026, 0x0005005F
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
# fcntl F_SETOWN, F_SETSIG, F_SETOWN_EX and ioctl FIOSETOWN, SIOCSPGRP name a process that the kernel then signals;
# ioctl TIOCSTI types into a terminal; fcntl F_SETLEASE, F_NOTIFY and ioctl FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR act on
# files that are only open for reading.
_OWNING = (8, 10, 15, 0x8901, 0x8902, 0x5412, 1024, 1026, 0x40086602, 0x401C5820)
# prctl PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_SET_MM, PR_SET_CHILD_SUBREAPER,
# PR_CAP_AMBIENT, PR_SCHED_CORE, PR_SET_PTRACER: a process that outlives its server, or lets others look into it.
_FREEING = (1, 4, 8, 28, 35, 36, 47, 62, 0x59616D61)

# machine → audit architecture, clone, clone3, socketpair, prctl, and five lists. fcntl and ioctl, with those commands
# forbidden. Calls allowed on the process itself only (named by the first argument): kill, tgkill, prlimit64,
# sched_setaffinity, sched_setscheduler, sched_setparam, sched_setattr. Calls denied: execve, execveat, fork, vfork,
# socket, ptrace, process_vm_readv, process_vm_writev, unshare, setns, mount, umount2, pivot_root, chroot, bpf,
# io_uring_setup, keyctl, add_key, request_key, userfaultfd, pidfd_getfd, pidfd_send_signal, rt_sigqueueinfo,
# rt_tgsigqueueinfo, tkill, setpriority, ioprio_set, perf_event_open, shmget, msgget, semget, mq_open, memfd_secret,
# kcmp, process_madvise, quotactl, fanotify_init, open_by_handle_at, personality;
# bind, connect, listen, accept, accept4, sendmsg, sendmmsg, shmat, shmctl, semop, semctl, semtimedop, msgsnd, msgrcv,
# msgctl, mq_unlink, io_setup, inotify_init, inotify_init1, syslog, migrate_pages, move_pages, pidfd_open,
# name_to_handle_at, mincore, cachestat, sync, syncfs, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick,
# mount_setattr, statmount, listmount; memfd_create, whose files no limit on memory counts;
# file_setattr, which leaves marks on a folder that no event reports.
# And outside a jail, where Landlock does not cover them: chmod, chown and utime in all their forms; setxattr and
# removexattr in theirs.
_MACHINES = {
    "x86_64": (
        0xC000003E, 56, 435, 53, 157, (72, 16), (62, 234, 302, 203, 144, 142, 314),
        (59, 322, 57, 58, 41, 101, 310, 311, 272, 308, 165, 166, 155, 161, 321, 425, 250, 248, 249, 323, 438, 424,
         129, 297, 200, 141, 251, 298, 29, 68, 64, 240, 447, 312, 440, 179, 300, 304, 135,
         49, 42, 50, 43, 288, 46, 307, 30, 31, 65, 66, 220, 69, 70, 71, 241, 206, 253, 294, 103, 256, 279, 434, 303,
         27, 451, 162, 306, 428, 429, 430, 431, 432, 433, 442, 457, 458, 319, 469),
        (90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280), (188, 189, 190, 463, 197, 198, 199, 466),
    ),
    "aarch64": (
        0xC00000B7, 220, 435, 199, 167, (25, 29), (129, 131, 261, 122, 119, 118, 274),
        (221, 281, 198, 117, 270, 271, 97, 268, 40, 39, 41, 51, 280, 425, 219, 217, 218, 282, 438, 424, 138, 240,
         130, 140, 30, 241, 194, 186, 190, 180, 447, 272, 440, 60, 262, 265, 92,
         200, 203, 201, 202, 242, 211, 269, 196, 195, 193, 191, 192, 189, 188, 187, 181, 0, 26, 116, 238, 239, 434,
         264, 232, 451, 81, 267, 428, 429, 430, 431, 432, 433, 442, 457, 458, 279, 469),
        (53, 52, 452, 54, 55, 88), (5, 6, 7, 463, 14, 15, 16, 466),
    ),
}  # fmt: skip


def limit(cpu_seconds: int, memory_bytes: int, file_bytes: int, threads: int) -> None:
    """Limit what this process may use. `threads` 0: not limited. Soft limits equal the hard ones: a program can neither
    raise nor catch them."""
    limits = [
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_STACK, 64 << 20),
        (resource.RLIMIT_MEMLOCK, 1 << 16),
    ]
    for what, value in limits + [(resource.RLIMIT_NPROC, threads)] * bool(threads):
        hard = getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        setrlimit(what, (value, value))


def keep_capabilities(libc: ctypes.CDLL, kept: int) -> None:
    """Drop all capabilities of this process but `kept`, which has a bit for each."""
    if libc.capset(struct.pack("<II", _CAPABILITY_VERSION_3, 0), struct.pack("<6I", kept, kept, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")


def change_user(libc: ctypes.CDLL, user: int, kept: int) -> None:
    """Become that user for good, with none but the capabilities `kept`."""
    if kept:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if kept:
        keep_capabilities(libc, kept)


def drop_privileges(libc: ctypes.CDLL, kept: int = 0) -> None:
    """Drop all capabilities but `kept`. From then on no process of the same user may look into this one, and no program
    started from here could regain anything."""
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    keep_capabilities(libc, kept)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


def filter_calls(libc: ctypes.CDLL, jailed: bool) -> None:
    """Put the filter of system calls on this process. Raises OSError where this machine has no such filter."""
    if libc.prctl(_PR_SET_SECCOMP, 2, prepared_filter(os.getpid(), jailed)[1], 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


@functools.cache
def prepared_filter(own: int, jailed: bool, /) -> tuple[ctypes.Array[ctypes.c_char], ctypes.c_char_p]:
    """Return the filter's instructions, and what the kernel takes: how many there are, and where. Cached: in process
    namespaces of their own, the processes of all programs have the same number.
    """
    code = ctypes.create_string_buffer(filter_program(os.uname().machine, own, jailed))
    return code, ctypes.c_char_p(struct.pack("@HP", len(code) // 8, ctypes.addressof(code)))


def filter_program(machine: str, own: int, jailed: bool) -> bytes:
    """Return the filter's instructions. Each block either decides or falls through to the next; the accumulator holds
    the call's number in between. Raises OSError for a machine whose system calls are not listed here."""
    if machine not in _MACHINES:
        raise OSError(f"no list of system calls for {machine}")
    architecture, clone, clone3, pair, prctl, ownerless, own_only, denied, changing, attributes = _MACHINES[machine]
    code = [
        _op(_LOAD, _ARCH),
        _op(_JUMP_EQ, architecture, 1, 0),
        _op(_RETURN, _EPERM),
        _op(_LOAD, _NR),
        _op(_JUMP_GE, _X32, 0, 1),
        _op(_RETURN, _EPERM),
        _op(_JUMP_EQ, clone3, 0, 1),
        _op(_RETURN, _ENOSYS),  # glibc then starts threads with clone, whose flags a filter can read
        _op(_JUMP_EQ, clone, 0, 4),
        _op(_LOAD, _ARG0),
        _op(_JUMP_SET, _CLONE_THREAD, 1, 0),
        _op(_RETURN, _EPERM),
        _op(_RETURN, _ALLOW),
    ]
    code += [  # two ends of a stream can only talk to each other; a datagram finds whoever has an address
        _op(_JUMP_EQ, pair, 0, 7),
        _op(_LOAD, _ARG0),
        _op(_JUMP_EQ, _AF_UNIX, 0, 3),
        _op(_LOAD, _ARG1),
        _op(_AND, _SOCK_TYPE),
        _op(_JUMP_EQ, _SOCK_STREAM, 1, 0),
        _op(_RETURN, _EPERM),
        _op(_RETURN, _ALLOW),
    ]
    for number, argument, forbidden in (*((n, _ARG1, _OWNING) for n in ownerless), (prctl, _ARG0, _FREEING)):
        code += [_op(_JUMP_EQ, number, 0, 2 + 2 * len(forbidden)), _op(_LOAD, argument)]
        for value in forbidden:
            code += [_op(_JUMP_EQ, value, 0, 1), _op(_RETURN, _EPERM)]
        code += [_op(_RETURN, _ALLOW)]
    for number in own_only:
        code += [
            _op(_JUMP_EQ, number, 0, 5),
            _op(_LOAD, _ARG0),
            _op(_JUMP_EQ, own, 2, 0),
            _op(_JUMP_EQ, 0, 1, 0),  # itself, or its group, which nobody else is in
            _op(_RETURN, _EPERM),
            _op(_RETURN, _ALLOW),
        ]
    refused = dict.fromkeys(denied, _EPERM)
    if not jailed:
        refused |= dict.fromkeys(changing, _EPERM) | dict.fromkeys(attributes, _ENOTSUP)
    answers = [(0, refused.get(0, _ALLOW))]
    for number in range(1, max(refused) + 2):
        if refused.get(number, _ALLOW) != answers[-1][1]:
            answers.append((number, refused.get(number, _ALLOW)))
    return b"".join([*code, *_search(answers)])


def _search(answers: list[tuple[int, int]]) -> list[bytes]:
    """Return instructions that give each answer from its number up to the next one's. They halve the list and do not
    take it one by one: the kernel walks through all of it for each number when a process puts the filter on.
    """
    if len(answers) == 1:
        return [_op(_RETURN, answers[0][1])]
    lower, upper = answers[: len(answers) // 2], answers[len(answers) // 2 :]
    before = _search(lower)
    return [_op(_JUMP_GE, upper[0][0], len(before), 0), *before, *_search(upper)]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
