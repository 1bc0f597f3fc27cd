"""Attempts on the machine: its files, network, processes, kernel and secrets. Each body raises where it is stopped and
comes to its end where it succeeds; payloads are harmless. `open_at` names the known gaps: levels at which it succeeds.

Names in capitals are put in by the test: SECRET (a file that everybody may read), FOLDER (one that everybody may write
to), PORT (of a listening server), SOCKET (the path of a listening server), PARENT (the judge's process), SLEEPER (a
process of the same user), REPOSITORY.
"""

from dataclasses import dataclass

# What is missing below full isolation. Landlock and the mount namespace close files each alone.
NO_FILES = frozenset({"syscalls", "limits"})
NOTHING = frozenset({"limits"})
UNCOUNTED = frozenset({"landlock", "syscalls", "limits"})  # only a namespace, or another user, has counts of its own
NOWHERE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Breach:
    body: str
    open_at: frozenset[str] = NOWHERE


def syscall(number: int, *arguments: object) -> str:
    given = ", ".join(map(str, (number, *arguments)))
    return f"import ctypes; assert ctypes.CDLL(None).syscall({given}) >= 0"


BREACHES: dict[str, Breach] = {
    # files
    "read a file": Breach("assert 'hunter2' in open('SECRET').read()", NO_FILES),
    "read it by descriptor": Breach("assert os.read(os.open('SECRET', os.O_RDONLY), 99)", NO_FILES),
    "read it through libc": Breach("import ctypes; assert ctypes.CDLL(None).open(b'SECRET', 0) >= 0", NO_FILES),
    "read it through a link": Breach("os.symlink('SECRET', 'link'); open('link').read()", NO_FILES),
    "read it through /proc/self/root": Breach("open('/proc/self/rootSECRET').read()", NO_FILES),
    "read it by a relative path": Breach("open('../' * 20 + 'SECRET').read()", NO_FILES),
    "map it into memory": Breach(
        "import mmap; mmap.mmap(os.open('SECRET', os.O_RDONLY), 0, prot=mmap.PROT_READ)", NO_FILES
    ),
    "link it into the own folder": Breach("os.link('SECRET', 'mine'); open('mine').read()", NO_FILES),
    "list the root": Breach("assert os.listdir('/')", NO_FILES | {"namespaces"}),
    "list a folder": Breach("assert os.listdir('FOLDER')", NO_FILES),
    "read the list of users": Breach("open('/etc/passwd').read()", NO_FILES),
    "read the repository": Breach("open('REPOSITORY/pyproject.toml').read()", NO_FILES),
    "write to a folder": Breach("open('FOLDER/mine', 'w').write('x')", NO_FILES),
    "write over a file": Breach("open('SECRET', 'a').write('')", NO_FILES),
    "empty a file": Breach("os.truncate('FOLDER/victim', 0)", NO_FILES),
    "delete a file": Breach("os.unlink('FOLDER/victim')", NO_FILES),
    "rename a file": Breach("os.rename('FOLDER/victim', 'FOLDER/gone')", NO_FILES),
    "make a folder elsewhere": Breach("os.mkdir('FOLDER/%d' % os.getpid())", NO_FILES),
    "write to /dev/shm": Breach("open('/dev/shm/mine', 'w').write('x'); os.unlink('/dev/shm/mine')", NO_FILES),
    "write to /var/tmp": Breach("open('/var/tmp/mine', 'w').write('x'); os.unlink('/var/tmp/mine')", NO_FILES),
    "change the library": Breach("open(random.__file__, 'a').close()", NO_FILES),
    "make a device": Breach("import stat; os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))"),
    "become the owner": Breach("os.chown('FOLDER/victim', 12345, 12345)"),
    "leave the folder for another root": Breach("os.mkdir('r'); os.chroot('r')"),
    "another package": Breach("import pip"),
    "the judge's own code": Breach("import reforge.sandbox.judge"),
    # secrets of other processes
    "the environment of the judge": Breach("open('/proc/PARENT/environ', 'rb').read()"),
    "the memory of the judge": Breach("open('/proc/PARENT/mem', 'rb')"),
    "the command line of the judge": Breach("assert open('/proc/PARENT/cmdline', 'rb').read()", NO_FILES),
    "the descriptors of the judge": Breach("open('/proc/PARENT/fd/0', 'rb')"),
    "the memory of the fork-server": Breach("open('/proc/%d/mem' % os.getppid(), 'rb')"),
    "the memory of another process by system call": Breach(
        "import ctypes; libc = ctypes.CDLL(None); b = ctypes.create_string_buffer(8)\n"
        "class V(ctypes.Structure): _fields_ = [('p', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
        "v = V(ctypes.addressof(b), 8)\n"
        "assert libc.process_vm_readv(SLEEPER, ctypes.byref(v), 1, ctypes.byref(v), 1, 0) >= 0"
    ),
    "secrets in the environment": Breach("assert 'hunter2' in str(os.environ)"),
    "secrets in /proc/self/environ": Breach("assert 'hunter2' in open('/proc/self/environ').read()"),
    # network
    "connect to a server": Breach("socket.create_connection(('127.0.0.1', PORT))", NOTHING),
    "send a datagram": Breach(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))", NOTHING
    ),
    "listen": Breach("s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()", NOTHING),
    "connect to a local socket": Breach("s = socket.socket(socket.AF_UNIX); s.connect('SOCKET')", NOTHING),
    "connect to an abstract socket": Breach("s = socket.socket(socket.AF_UNIX); s.connect('\\x00PORT')", NOTHING),
    "netlink": Breach("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", NOTHING),
    "raw packets": Breach("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    # processes
    "fork": Breach("pid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)", NOTHING),
    "spawn": Breach("os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)", NOTHING),
    "subprocess": Breach("import subprocess; subprocess.run(['/bin/true'])", NOTHING),
    "clone by system call": Breach(
        "import ctypes\npid = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)\n"
        "if pid == 0: os._exit(0)\nassert pid > 0; os.waitpid(pid, 0)", NOTHING
    ),
    "clone3 by system call": Breach(
        "import ctypes, struct\na = ctypes.create_string_buffer(struct.pack('11Q', 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))\n"
        "pid = ctypes.CDLL(None).syscall(435, a, 88)\n"
        "if pid == 0: os._exit(0)\nassert pid > 0; os.waitpid(pid, 0)", NOTHING
    ),
    "become another program": Breach(
        "if os.fork() == 0: os.execv('/bin/true', ['true'])\nassert os.wait()[1] == 0", NOTHING
    ),
    "a daemon": Breach("pid = os.fork()\nif pid == 0: os.setsid(); os._exit(0)\nos.waitpid(pid, 0)", NOTHING),
    "signal the judge": Breach("os.kill(PARENT, 0)", NOTHING),
    "signal a process of the same user": Breach("os.kill(SLEEPER, 0)", NOTHING),
    "signal the fork-server": Breach("assert os.getppid() > 0; os.kill(os.getppid(), 0)", NOTHING),
    "signal everybody": Breach("os.kill(-1, 0)", NOTHING),
    "signal by way of a descriptor": Breach(
        "import fcntl, signal; r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid() or 99)", NOTHING
    ),
    "signal by handle": Breach("import signal; signal.pidfd_send_signal(os.pidfd_open(SLEEPER), 0)", NOTHING),
    "trace a process": Breach("import ctypes; assert ctypes.CDLL(None).ptrace(16, SLEEPER, 0, 0) == 0"),
    "limits of the judge": Breach("import resource; resource.prlimit(PARENT, resource.RLIMIT_NOFILE)", NOTHING),
    "processors of the judge": Breach("os.sched_setaffinity(PARENT, [0])"),
    "priority of the judge": Breach("os.setpriority(os.PRIO_PROCESS, PARENT, 5)"),
    # privileges and the kernel
    "become root": Breach("os.setuid(0); open('/etc/shadow').read()", NO_FILES),
    "own user namespace": Breach(syscall(272, 0x10000000), NOTHING),
    "own mount namespace": Breach(syscall(272, 0x00020000)),
    "another's namespace": Breach(
        "import ctypes; assert ctypes.CDLL(None).setns(os.pidfd_open(SLEEPER), 0x40000000) == 0"
    ),
    "mount": Breach("import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0"),
    "load a BPF program": Breach(syscall(321, 0, "ctypes.create_string_buffer(128)", 128)),
    "io_uring": Breach(syscall(425, 4, "ctypes.create_string_buffer(256)"), NOTHING),
    "keyring": Breach(syscall(250, 0, -3, 0, 0, 0), NOTHING),
    "count the processor's events": Breach(syscall(298, "ctypes.create_string_buffer(128)", 0, -1, -1, 0)),
    "userfaultfd": Breach(syscall(323, 1), NOTHING),
    "raise a limit": Breach("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    "raise the time limit": Breach("import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))"),
    "host name": Breach("socket.sethostname('mine')"),
    "the clock": Breach("time.clock_settime(time.CLOCK_REALTIME, time.time())"),
    "the seccomp filter's architecture": Breach(
        "import ctypes, mmap\n"  # int 0x80: the 32-bit table, where 2 is fork; getpid (20) must not work either
        "m = mmap.mmap(-1, 4096, prot=7); m.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nassert f() > 0", NOTHING
    ),
    # what the next program could find
    "shared memory that stays": Breach(syscall(29, 0x5EC, 4096, 0o1600), NOTHING),
    "a semaphore that stays": Breach(syscall(64, 0x5EC, 1, 0o1600), NOTHING),
    "a message queue that stays": Breach(syscall(68, 0x5EC, 0o1600), NOTHING),
    # resources
    "three hundred threads": Breach(
        "threading.stack_size(65536); e = threading.Event()\n"
        "for _ in range(300): threading.Thread(target=e.wait, args=(9,), daemon=True).start()",
        UNCOUNTED,
    ),
    "200 open files": Breach("keep = [open('f', 'w') for _ in range(200)]"),
    "a large file": Breach("open('big', 'wb').write(bytes(1 << 20))"),
    "a large file with a hole": Breach("os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 30)"),
    "six hundred files": Breach(
        "for i in range(600): os.mknod(str(i))", UNCOUNTED
    ),
    "locked memory": Breach(
        "import ctypes; m = ctypes.create_string_buffer(1 << 22); assert ctypes.CDLL(None).mlock(m, 1 << 22) == 0"
    ),
    "real-time priority": Breach("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    "a core dump": Breach("import resource; resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))"),
}  # fmt: skip
