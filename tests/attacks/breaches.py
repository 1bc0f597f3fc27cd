"""Attempts on the machine: its files, network, processes, kernel and secrets. Each body raises where it is stopped and
comes to its end where it succeeds; payloads are harmless. `open_at` names the known gaps: levels at which it succeeds.

Names in capitals are put in by the test: SECRET (a file that everybody may read), FOLDER (one that everybody may write
to), PORT (of a listening server), SOCKET (the path of a listening server), PARENT (the judge's process), SLEEPER (a
process of the same user), REPOSITORY.
"""


def syscall(number: int, *arguments: object) -> str:
    given = ", ".join(map(str, (number, *arguments)))
    return f"import ctypes; assert ctypes.CDLL(None).syscall({given}) >= 0"


BREACHES: dict[str, str] = {
    # files
    "read a file": "assert 'hunter2' in open('SECRET').read()",
    "read it by descriptor": "assert os.read(os.open('SECRET', os.O_RDONLY), 99)",
    "read it through libc": "import ctypes; assert ctypes.CDLL(None).open(b'SECRET', 0) >= 0",
    "read it through a link": "os.symlink('SECRET', 'link'); open('link').read()",
    "read it through /proc/self/root": "open('/proc/self/rootSECRET').read()",
    "read it by a relative path": "open('../' * 20 + 'SECRET').read()",
    "map it into memory": (
        "import mmap; mmap.mmap(os.open('SECRET', os.O_RDONLY), 0, prot=mmap.PROT_READ)"),
    "link it into the own folder": "os.link('SECRET', 'mine'); open('mine').read()",
    "list the root": "assert os.listdir('/')",
    "list a folder": "assert os.listdir('FOLDER')",
    "read the list of users": "open('/etc/passwd').read()",
    "read the repository": "open('REPOSITORY/pyproject.toml').read()",
    "write to a folder": "open('FOLDER/mine', 'w').write('x')",
    "write over a file": "open('SECRET', 'a').write('')",
    "empty a file": "os.truncate('FOLDER/victim', 0)",
    "delete a file": "os.unlink('FOLDER/victim')",
    "rename a file": "os.rename('FOLDER/victim', 'FOLDER/gone')",
    "make a folder elsewhere": "os.mkdir('FOLDER/%d' % os.getpid())",
    "write to /dev/shm": "open('/dev/shm/mine', 'w').write('x'); os.unlink('/dev/shm/mine')",
    "write to /var/tmp": "open('/var/tmp/mine', 'w').write('x'); os.unlink('/var/tmp/mine')",
    "change the library": "open(random.__file__, 'a').close()",
    "make a device": "import stat; os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))",
    "become the owner": "os.chown('FOLDER/victim', 12345, 12345)",
    "leave the folder for another root": "os.mkdir('r'); os.chroot('r')",
    "another package": "import pip",
    "the judge's own code": "import reforge.sandbox.judge",
    # what only a look, or a touch, at files outside needs
    "ask whether a file is there": "os.stat('SECRET')",
    "ask whether a process is there": "os.stat('/proc/PARENT')",
    "go to a folder": "os.chdir('FOLDER')",
    "read where a link points": "assert os.readlink('FOLDER/link')",
    "read the attributes of a file": "os.listxattr('SECRET')",
    "set an attribute of a file": "os.setxattr('SECRET', 'user.x', b'x')",
    "set the times of a file": "os.utime('SECRET')",
    "change the mode of a file": "os.chmod('FOLDER/victim', 0o777)",
    "lock a file": "import fcntl; fcntl.flock(open('SECRET'), fcntl.LOCK_EX | fcntl.LOCK_NB)",
    "watch a file": (
        "import ctypes; libc = ctypes.CDLL(None); assert libc.inotify_add_watch(libc.inotify_init(), b'SECRET', 2) >= 0"
    ),
    "read a file of the judge's user": "open('FOLDER/private').read()",
    "write to a file of the judge's user": "open('FOLDER/private', 'a').close()",
    "a setting of the kernel": "open('/proc/sys/kernel/core_pattern', 'a').close()",
    "change the mode of a device": "os.chmod('/dev/null', 0o666)",
    "set an attribute of a device": "os.setxattr('/dev/null', 'user.x', b'x')",
    "set the times of a device": "os.utime('/dev/null')",
    "another package by its path": "import sys; sys.path.append('PACKAGES'); import pip",
    "the judge's own code by its path": (
        "import sys; sys.path.append('REPOSITORY/src'); import reforge.records"),
    # secrets of other processes
    "the environment of the judge": "open('/proc/PARENT/environ', 'rb').read()",
    "the memory of the judge": "open('/proc/PARENT/mem', 'rb')",
    "the command line of the judge": "assert open('/proc/PARENT/cmdline', 'rb').read()",
    "the descriptors of the judge": "open('/proc/PARENT/fd/0', 'rb')",
    "the memory of the fork-server": "open('/proc/%d/mem' % os.getppid(), 'rb')",
    "the memory of another process by system call": (
        "import ctypes; libc = ctypes.CDLL(None); b = ctypes.create_string_buffer(8)\n"
        "class V(ctypes.Structure): _fields_ = [('p', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
        "v = V(ctypes.addressof(b), 8)\n"
        "assert libc.process_vm_readv(SLEEPER, ctypes.byref(v), 1, ctypes.byref(v), 1, 0) >= 0"
    ),
    "secrets in the environment": "assert 'hunter2' in str(os.environ)",
    "secrets in /proc/self/environ": "assert 'hunter2' in open('/proc/self/environ').read()",
    # network
    "connect to a server": "socket.create_connection(('127.0.0.1', PORT))",
    "send a datagram": (
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"),
    "listen": "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    "connect to a local socket": "s = socket.socket(socket.AF_UNIX); s.connect('SOCKET')",
    "connect to an abstract socket": "s = socket.socket(socket.AF_UNIX); s.connect('\\x00PORT')",
    "a datagram to an abstract socket from a pair": (
        "s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'x', '\\x00PORTd')"
    ),
    "a datagram to a local socket from a pair": (
        "s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'x', 'FOLDER/datagrams')"
    ),
    "an abstract name from a pair": "s, _ = socket.socketpair(); s.bind('\\x00PORTx')",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "raw packets": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    # processes
    "fork": "pid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
    "spawn": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    "subprocess": "import subprocess; subprocess.run(['/bin/true'])",
    "clone by system call": (
        "import ctypes\npid = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)\n"
        "if pid == 0: os._exit(0)\nassert pid > 0; os.waitpid(pid, 0)"),
    "clone3 by system call": (
        "import ctypes, struct\na = ctypes.create_string_buffer(struct.pack('11Q', 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))\n"
        "pid = ctypes.CDLL(None).syscall(435, a, 88)\n"
        "if pid == 0: os._exit(0)\nassert pid > 0; os.waitpid(pid, 0)"),
    "become another program": (
        "if os.fork() == 0: os.execv('/bin/true', ['true'])\nassert os.wait()[1] == 0"),
    "a daemon": "pid = os.fork()\nif pid == 0: os.setsid(); os._exit(0)\nos.waitpid(pid, 0)",
    "signal the judge": "os.kill(PARENT, 0)",
    "signal a process of the same user": "os.kill(SLEEPER, 0)",
    "signal the fork-server": "assert os.getppid() > 0; os.kill(os.getppid(), 0)",
    "signal everybody": "os.kill(-1, 0)",
    "signal by way of a descriptor": (
        "import fcntl, signal; r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid() or 99)"),
    "signal by handle": "import signal; signal.pidfd_send_signal(os.pidfd_open(SLEEPER), 0)",
    "trace a process": "import ctypes; assert ctypes.CDLL(None).ptrace(16, SLEEPER, 0, 0) == 0",
    "limits of the judge": "import resource; resource.prlimit(PARENT, resource.RLIMIT_NOFILE)",
    "processors of the judge": "os.sched_setaffinity(PARENT, [0])",
    "priority of the judge": "os.setpriority(os.PRIO_PROCESS, PARENT, 5)",
    "how likely the judge is ended for lack of memory": "open('/proc/PARENT/oom_score_adj', 'a').close()",
    "a handle of a process": "os.pidfd_open(SLEEPER)",
    "outlive the server": "import ctypes; assert ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0",
    "let others look in": "import ctypes; assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0",
    "adopt the orphans of others": "import ctypes; assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0",
    # privileges and the kernel
    "become root": "os.setuid(0); open('/etc/shadow').read()",
    "own user namespace": syscall(272, 0x10000000),
    "own mount namespace": syscall(272, 0x00020000),
    "another's namespace": (
        "import ctypes; assert ctypes.CDLL(None).setns(os.pidfd_open(SLEEPER), 0x40000000) == 0"
    ),
    "mount": "import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
    "load a BPF program": syscall(321, 0, "ctypes.create_string_buffer(128)", 128),
    "memory in files of memory": "os.write(os.memfd_create('mine'), b'x')",
    "io_uring": syscall(425, 4, "ctypes.create_string_buffer(256)"),
    "keyring": syscall(250, 0, -3, 0, 0, 0),
    "count the processor's events": syscall(298, "ctypes.create_string_buffer(128)", 0, -1, -1, 0),
    "userfaultfd": syscall(323, 1),
    "raise a limit": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); "
    "assert resource.getrlimit(resource.RLIMIT_AS)[1] == -1",
    "raise the time limit": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99)); "
    "assert resource.getrlimit(resource.RLIMIT_CPU)[0] == 99",
    "host name": "socket.sethostname('mine')",
    "the clock": "time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "the seccomp filter's architecture": (
        "import ctypes, mmap\n"  # int 0x80: the 32-bit table, where 2 is fork; getpid (20) must not work either
        "m = mmap.mmap(-1, 4096, prot=7); m.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nassert f() > 0"),
    # what the next program could find
    "shared memory that stays": syscall(29, 0x5EC, 4096, 0o1600),
    "a semaphore that stays": syscall(64, 0x5EC, 1, 0o1600),
    "a message queue that stays": syscall(68, 0x5EC, 0o1600),
    "shared memory of others": (
        "import ctypes; f = ctypes.CDLL(None).shmat; f.restype = ctypes.c_ssize_t; assert f(SEGMENT, None, 0) >= 0"
    ),
    "contexts of asynchronous reading": syscall(206, 1, "ctypes.byref(ctypes.c_ulong())"),
    # resources
    "three hundred threads": (
        "threading.stack_size(65536); e = threading.Event()\n"
        "for _ in range(300): threading.Thread(target=e.wait, args=(9,), daemon=True).start()"),
    "200 open files": "keep = [open('f', 'w') for _ in range(200)]",
    "a large file": "open('big', 'wb').write(bytes(17 << 20))",
    "a large file with a hole": "os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 30)",
    "six hundred files": (
        "for i in range(600): os.mknod(str(i))"),
    "locked memory": (
        "import ctypes; m = ctypes.create_string_buffer(1 << 22); assert ctypes.CDLL(None).mlock(m, 1 << 22) == 0"
    ),
    "real-time priority": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "a core dump": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)); "
    "assert resource.getrlimit(resource.RLIMIT_CORE)[0]",
}  # fmt: skip
