"""What a child does to itself before it meets a program: limits; no privileges, new processes, signals, network.

A deny list, not a jail: what is still open is listed in the package's docstring. Linux only; where the kernel refuses
the filter or the machine is of another kind, the limits still hold.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SIGKILL = 9
_CAPABILITY_VERSION_3 = 0x20080522

# Offsets in struct seccomp_data, and the four instructions of classic BPF that the filter is made of.
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
# fcntl F_SETOWN, F_SETSIG, F_SETOWN_EX and ioctl FIOSETOWN, SIOCSPGRP name a process that the kernel then signals.
_OWNING = (8, 10, 15, 0x8901, 0x8902)
_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000

# machine → audit architecture, clone, clone3, and three lists. fcntl and ioctl, which must name no owner of signals.
# Calls allowed on the process itself only (named by the first argument): kill, tgkill, prlimit64, sched_setaffinity,
# sched_setscheduler. Calls denied: fork, vfork, socket, ptrace, process_vm_readv, process_vm_writev, unshare, setns,
# mount, bpf, io_uring_setup, keyctl, userfaultfd, pidfd_getfd, pidfd_send_signal, rt_sigqueueinfo, rt_tgsigqueueinfo,
# tkill, setpriority.
_MACHINES = {
    "x86_64": (
        0xC000003E, 56, 435, (72, 16), (62, 234, 302, 203, 144),
        (57, 58, 41, 101, 310, 311, 272, 308, 165, 321, 425, 250, 323, 424, 438, 129, 297, 200, 141),
    ),
    "aarch64": (
        0xC00000B7, 220, 435, (25, 29), (129, 131, 261, 122, 119),
        (198, 117, 270, 271, 97, 268, 40, 280, 425, 219, 282, 424, 438, 138, 240, 130, 140),
    ),
}  # fmt: skip


def confine(cpu_seconds: int, memory_bytes: int, file_bytes: int, parent: int) -> None:
    """Irrevocable. From here on no other judged process can look into this one."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    # The soft limit kills by SIGXCPU, which tells its cause; a program that ignores the signal meets the hard one. The
    # kernel counts in ticks and can be early, so it gets a second more: the measured time is what decides.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds + 1, cpu_seconds + 2))
    # Without capabilities the user 0 can neither raise its limits again nor look into a parent that has them.
    libc.capset(struct.pack("<II", _CAPABILITY_VERSION_3, 0), bytes(24))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _install_filter(libc)


def _install_filter(libc: ctypes.CDLL) -> None:
    machine = os.uname().machine
    if machine not in _MACHINES:
        return
    code = _program(*_MACHINES[machine], os.getpid())
    buffer = ctypes.create_string_buffer(b"".join(code))
    fprog = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(fprog), 0, 0)


def _program(
    architecture: int,
    clone: int,
    clone3: int,
    ownerless: tuple[int, ...],
    own_only: tuple[int, ...],
    denied: tuple[int, ...],
    own: int,
) -> list[bytes]:
    """Each block either decides or falls through to the next; the accumulator holds the call's number in between."""
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
    for number in ownerless:
        code += [_op(_JUMP_EQ, number, 0, 2 + 2 * len(_OWNING)), _op(_LOAD, _ARG1)]
        for command in _OWNING:
            code += [_op(_JUMP_EQ, command, 0, 1), _op(_RETURN, _EPERM)]
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
    for number in denied:
        code += [_op(_JUMP_EQ, number, 0, 1), _op(_RETURN, _EPERM)]
    return [*code, _op(_RETURN, _ALLOW)]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
