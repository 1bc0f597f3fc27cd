"""Pairs of programs: what one might leave behind, and how the next would see it."""

# What one program does, and how the next would notice. Each pair is judged by the same server, one after the other.
TRACES = {
    "a file": (
        "open('left', 'w').write('x')",
        "import os; print(os.path.exists('left'))",
    ),
    "a file in /tmp": (
        "open('/tmp/left', 'w').write('x')",
        "import os\nprint(os.path.exists('/tmp/left'))\ntry: os.unlink('/tmp/left')\nexcept OSError: pass",
    ),
    "a folder nobody may enter": (
        "import os\nos.makedirs('a/b')\nopen('a/b/left', 'w').close()\nos.chmod('a', 0)",
        "import os; print(bool(os.listdir()))",
    ),
    "deep folders": (
        "import os\nfor _ in range(900):\n    os.mkdir('d'); os.chdir('d')",
        "import os; print(bool(os.listdir()))",
    ),
    "a folder closed to all": (
        "import os\nos.chmod('.', 0)",
        "open('mine', 'w').write('x'); print(open('mine').read() != 'x')",
    ),
    "a full disk": (
        "for i in range(999):\n    open(f'f{i}', 'wb').write(bytes(60_000))",
        "print(open('mine', 'w').write('x' * 60_000) != 60_000)",
    ),
    "a module": (
        "import sys, math\nmath.pi = 3\nsys.modules['left'] = sys",
        "import sys, math; print(math.pi == 3 or 'left' in sys.modules)",
    ),
    "a builtin": (
        "import builtins\nbuiltins.left = 1",
        "import builtins; print(hasattr(builtins, 'left'))",
    ),
    "an environment variable": (
        "import os\nos.environ['LEFT'] = 'x'",
        "import os; print('LEFT' in os.environ)",
    ),
    "a random state": (
        "import random\nrandom.seed(1)",
        "import random; print(random.random() != 0.8444218515250481)",
    ),
    "a descriptor": (
        "import os\nos.dup2(os.memfd_create('left'), 20)",
        "import os\ntry: os.fstat(20); print(True)\nexcept OSError: print(False)",
    ),
    "a limit": (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 9)",
    ),
    "a signal handler": (
        "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import signal; print(signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN)",
    ),
    "an attribute of the folder": (
        "import os\nos.setxattr('.', 'user.left', b'x')",
        "import os; print(bool(os.listxattr('.')))",
    ),
    "times of the folder": (
        "import os\nopen('f', 'w').close()\nos.unlink('f')\nos.utime('.', (7, 7))",
        "import os; s = os.stat('.'); print(s.st_mtime == 7 or s.st_mtime > s.st_ctime)",
    ),
    "flags of an open file": (
        "import fcntl, os\nfor d in range(3): fcntl.fcntl(d, fcntl.F_SETFL, os.O_NONBLOCK)",
        "import fcntl, os; print(any(fcntl.fcntl(d, fcntl.F_GETFL) & os.O_NONBLOCK for d in range(3)))",
    ),
    "a lock on an open file": (
        "import fcntl\nfor d in range(3): fcntl.flock(d, fcntl.LOCK_EX)",
        "import fcntl\ntry: fcntl.flock(open('/dev/null'), fcntl.LOCK_EX | fcntl.LOCK_NB); print(False)\n"
        "except BlockingIOError: print(True)",
    ),
    "a file in /dev/shm": (
        "open('/dev/shm/left', 'w').write('x')",
        "import os\nprint(os.path.exists('/dev/shm/left'))\ntry: os.unlink('/dev/shm/left')\nexcept OSError: pass",
    ),
    "a mask for new files": (
        "import os\nos.umask(0o777)",
        "import os; print(os.umask(0) == 0o777)",
    ),
}
