# ruff: noqa: E501
"""Wrong programs that try to be judged right, or not to be judged: by messages, by what their process is made of, by
objects that pretend, by what they leave for the checker. SECRET is what the tests expect; no program computes it.
"""

SECRET = 918273645

_SAY = "import os\ndef say(text):\n    for d in range(3, 9):\n        try: os.write(d, text.encode() + b'\\n')\n        except OSError: pass\n"
_FORGED = (
    'ANY = [\'{"passed": true}\', \'{"value": 1}\', \'{"value": {"root": true, "nodes": [], "states": []}}\', \'{"ready": true}\',\n'
    '       \'{"verdict": "AC"}\', \'{"failed": ["", ""]}\', \'{"unusable": ["", ""]}\', \'{"stumbled": ["", ""]}\']\n'
)
_FOUND = (  # what any object reveals that might be the answer
    "def found(things):\n    for thing in things:\n        try: text = thing if type(thing) is str else repr(thing)\n        except BaseException: continue\n"
    "        secret = ''.join(['91827', '3645'])\n        if secret in text: return int(secret)\n    return 0\n"
)

# Programs of one function. Each is tried with a call, with a lone assertion and with other test code.
FUNCTIONS: dict[str, str] = {
    # messages at the wrong time, or from the wrong place
    "messages from a thread": _SAY + _FORGED + "import threading, time\ndef run():\n    for text in ANY * 9:\n        say(text); time.sleep(0.001)\n"
    "def f(x):\n    threading.Thread(target=run, daemon=True).start(); time.sleep(0.02); return 0",
    "messages at exit": _SAY + _FORGED + "import atexit, sys\natexit.register(lambda: [say(t) for t in ANY])\ndef f(x): sys.exit(0)",
    "messages from a signal handler": _SAY + _FORGED + "import signal, time\nsignal.signal(signal.SIGALRM, lambda *a: [say(t) for t in ANY])\n"
    "def f(x):\n    signal.setitimer(signal.ITIMER_REAL, 0.005); time.sleep(0.02); return 0",
    "messages from a finalizer": _SAY + _FORGED + "class D:\n    def __del__(self): [say(t) for t in ANY]\ndef f(x): return [D()] and 0",
    "messages from a weak reference": _SAY + _FORGED + "import weakref\nclass D: pass\ndef f(x):\n    d = D(); w = weakref.finalize(d, lambda: [say(t) for t in ANY]); return 0",
    "messages before the end": _SAY + _FORGED + "def f(x):\n    for t in ANY: say(t)\n    os._exit(0)",
    "half a message": _SAY + "def f(x):\n    os.write(4, b'{\"value\": '); os._exit(0)",
    "a message with NULs": _SAY + "def f(x): os.write(4, b'\\0\\0{\"passed\": true}\\0\\n'); return 0",
    "messages in other encodings": _SAY + "def f(x):\n    os.write(4, '{\"passed\": true}\\n'.encode('utf-16')); return 0",
    "a reply to a question nobody asked": _SAY + "say('{\"loaded\": true}')\nfor _ in range(3): say('{\"value\": {\"root\": true, \"nodes\": [], \"states\": []}}')\nos._exit(0)",
    "questions out of turn": _SAY + "def f(x):\n    for n in (-1, 0, 1, 10**30): say('{\"ask\": [%d, \"__call__\", {\"root\": [0], \"nodes\": [[\"list\", [[1], [2]]], [\"list\", []], [\"dict\", []]], \"states\": []}]}' % n)\n    return 0",
    "questions without an answer": _SAY + "def f(x):\n    say('{\"ask\": [0, \"__call__\", {\"nodes\": []}]}'); os._exit(0)",
    "names that nobody asked for": _SAY + "say('{\"loaded\": true}')\nsay('{\"value\": {\"root\": [3], \"nodes\": [[\"list\", [[4], [5]]], [\"dict\", [[\"f\", [6]], [\"__builtins__\", [6]], [\"a\", 918273]]], [\"dict\", []], [\"remote\", 1, \"object\", \"f\", [\"__call__\"]]], \"states\": []}}')\nimport time\nwhile True: time.sleep(0.01); say('{\"value\": {\"root\": [3], \"nodes\": [[\"remote\", 2, \"object\", \"T\", []]], \"states\": []}}')",
    "values of the deepest kind": "def f(x): os.write(4, b'{\"value\": ' + b'[' * 990 + b']' * 990 + b'}\\n')\nimport os",
    "values of almost the deepest kind": "import os\ndef f(x): os.write(4, b'{\"value\": {\"root\": ' + b'[' * 970 + b']' * 970 + b', \"nodes\": [], \"states\": []}}\\n')",
    # descriptors
    "channels exchanged": "import os\nos.dup2(3, 9); os.dup2(4, 3); os.dup2(9, 4)\ndef f(x): return 0",
    "answers to standard output": "import os\nos.dup2(1, 4)\ndef f(x): return 0",
    "answers to itself": "import os\nr, w = os.pipe(); os.dup2(r, 3); os.dup2(w, 4)\ndef f(x): return 0",
    "channels closed": "import os\nfor d in range(5): os.close(d)\ndef f(x): return 0",
    "channels closed in the call": "import os\ndef f(x):\n    os.closerange(0, 64)\n    return 0",
    "its orders read twice": "import os, fcntl\n" + _FOUND + "def f(x):\n    seen = []\n    for d in range(9):\n        try:\n            fcntl.fcntl(d, fcntl.F_SETFL, os.O_NONBLOCK); seen.append(os.read(d, 1 << 16).decode(errors='replace'))\n        except OSError: pass\n    return found(seen)",
    "its memory": _FOUND + "def f(x):\n    try: maps = open('/proc/self/maps').read()\n    except OSError: return 0\n    return found([maps])",
    # what its own process is made of
    "the channel's class": "import gc, os\ndef f(x):\n    for o in gc.get_objects():\n        if type(o).__name__ == 'Channel':\n            type(o).send = lambda self, kind, content: os.write(4, b'{\"passed\": true}\\n')\n    return 0",
    "the judge's modules": "import gc, types\ndef f(x):\n    for o in gc.get_objects():\n        if isinstance(o, types.ModuleType) and o.__name__.startswith('reforge'):\n            for name in ('dumps', 'encode', 'build', 'send', 'loads', 'everything'):\n                if hasattr(o, name): setattr(o, name, lambda *a, **k: 'true')\n    return 0",
    "the judge's functions": "import gc, types\ndef f(x):\n    for o in gc.get_objects():\n        if isinstance(o, types.FunctionType) and 'reforge' in o.__code__.co_filename and o.__name__ in ('_describe', '_refuse', 'same_value'):\n            o.__code__ = (lambda *a, **k: True).__code__\n    return 0",
    "sys.modules": "import sys\nfor name in ('json', 'operator', 'builtins', 'os', 'types'): sys.modules[name] = sys\ndef f(x): return 0",
    "builtins": "import builtins\nbuiltins.type = lambda *a: int\nbuiltins.isinstance = builtins.issubclass = lambda *a: True\nbuiltins.len = lambda a: 1\nbuiltins.str = repr\ndef f(x): return 0",
    "__builtins__ of the module": "__builtins__['AssertionError'] = SystemExit\n__builtins__['__build_class__'] = None\ndef f(x): return 0",
    "json's own parts": "import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\njson.encoder.c_make_encoder = None\njson.loads = lambda *a: {'call': [[1], {}]}\ndef f(x): return 0",
    "numbers written over": "import ctypes, sys\ndef f(x):\n    n = 257\n    ctypes.memmove(id(n) + 24, (ctypes.c_uint32 * 1)(918273), 4)\n    return n",
    "the type of an object written over": "import ctypes\nclass A:\n    def __eq__(s, o): return True\ndef f(x):\n    a = A(); ctypes.c_void_p.from_address(id(a) + 8).value = id(int); return a",
    "frames through a trace": "import sys\n" + _FOUND + "seen = []\ndef look(frame, what, of):\n    while frame: seen.extend([frame.f_locals, frame.f_globals]); frame = frame.f_back\nsys.setprofile(look)\ndef g(): pass\ndef f(x):\n    sys.setprofile(None); g(); return found([v for s in seen[:99] for v in s.values() if type(v) in (str, int, bytes, tuple)])",
    "audit hooks": "import sys\n" + _FOUND + "seen = []\nsys.addaudithook(lambda name, args: seen.append(args))\ndef f(x): return found(seen)",
    "exceptions of others": "import sys, gc\n" + _FOUND + "def f(x):\n    try: raise KeyError\n    except KeyError as e: t = e.__traceback__\n    seen = [sys.exc_info(), sys.exception() if hasattr(sys, 'exception') else 0]\n    while t: seen += [t.tb_frame.f_locals, t.tb_frame.f_back.f_locals, t.tb_frame.f_back.f_globals]; t = t.tb_next\n    return found(seen)",
    "import hooks": "import sys, builtins\nclass F:\n    def find_spec(s, *a): raise SystemExit(0)\nsys.meta_path.insert(0, F()); sys.path_hooks.clear()\nbuiltins.__import__ = lambda *a, **k: sys\ndef f(x): return 0",
    # objects that pretend
    "a class by property": "class A:\n    __class__ = property(lambda s: int)\n    def __eq__(s, o): return True\n    def __index__(s): return 1\n    __int__ = __index__\n    __hash__ = None\ndef f(x): return A()",
    "a metaclass that knows everybody": "class M(type):\n    def __instancecheck__(c, o): return True\n    def __subclasscheck__(c, o): return True\n    def __eq__(c, o): return True\n    def __hash__(c): return hash(int)\nclass A(metaclass=M):\n    def __eq__(s, o): return True\ndef f(x): return A()",
    "an integer that is equal": "class A(int):\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    __hash__ = int.__hash__\n    def __bool__(s): return True\n    def item(s): return 5\ndef f(x): return A(7)",
    "a scalar of a false numpy": "import sys, types\nclass generic:\n    def item(self): return type('int', (), {'__eq__': lambda s, o: True})()\nm = types.ModuleType('numpy'); m.generic = generic; sys.modules['numpy'] = m\ndef f(x): return generic()",
    "a class that equals its value": "class M(type):\n    def __eq__(c, o): return True\n    __hash__ = type.__hash__\nclass A(metaclass=M): pass\ndef f(x): return A",
    "true objects": "class T: pass\nclass A:\n    def __getattr__(s, n): return lambda *a: T()\n    def __eq__(s, o): return T()\n    __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __and__ = __sub__ = __eq__\n    __hash__ = None\ndef f(x): return A()",
    "what a list says of itself": "class A(list):\n    def __iter__(s): return iter([1])\n    def __len__(s): return 1\n    def __eq__(s, o): return True\ndef f(x): return A([2])",
    "NotImplemented": "def f(x): return NotImplemented",
    "surrogates": "def f(x): return '\\ud800' * 9",
    "NULs": "def f(x): return '\\0' * 9",
    "colliding numbers": "def f(x): return {(2**61 - 1) * i for i in range(1, 3000)}",
    "a power without an end": "def f(x): return 1 << 10**8",
    # exceptions that pretend, and ends
    "AssertionError by name": "class AssertionError(BaseException): pass\ndef f(x): raise AssertionError('passed')",
    "an exception with another's ancestors": "class M(type):\n    def mro(c): return [c, StopIteration, Exception, BaseException, object]\nclass E(Exception, metaclass=M): pass\ndef f(x): raise StopIteration from StopAsyncIteration()",
    "an exception that cannot be shown": "class E(Exception):\n    def __str__(s): raise s\n    __repr__ = __str__\nE.__name__ = 'passed'\ndef f(x): raise E",
    "an exception shown without an end": "class E(Exception):\n    def __str__(s): return str(s)\ndef f(x): raise E",
    "an exception with surrogates": "def f(x): raise type('\\ud800' * 5000, (Exception,), {})('\\udfff' * 5000)",
    "GeneratorExit": "def f(x): raise GeneratorExit",
    "KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "SystemExit of a thread": "import threading\ndef f(x): threading.Thread(target=exit).start()",
    "an exit without an end": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit",
    "its own death": "import os, signal\ndef f(x): signal.raise_signal(signal.SIGKILL)",
    "an alarm": "import signal, time\ndef f(x):\n    signal.setitimer(signal.ITIMER_REAL, 0.001); time.sleep(0.1); return 0",
    "recursion while it is shown": "class A:\n    def __repr__(s): return repr([s])\n    __str__ = __repr__\ndef f(x): raise ValueError(A())",
    # its folder
    "its folder removed": "import os\nos.rmdir(os.getcwd())\ndef f(x): return 0",
    "its folder closed": "import os\ntry: os.chmod('.', 0)\nexcept OSError: pass\ndef f(x): return 0",
    "its folder replaced": "import os\np = os.getcwd()\ntry: os.chdir('..'); os.rename(p, p + 'x'); os.symlink('/', p)\nexcept OSError: pass\ndef f(x): return 0",
    "its folder full": "for i in range(300):\n    try: open(str(i), 'wb').write(bytes(60_000))\n    except OSError: break\ndef f(x): return 0",
    "library names in its folder": "import sys\nfor name in ('json', 'typing', 'sitecustomize', 'operator', 'math', 'collections'): open(name + '.py', 'w').write('raise SystemExit(0)')\nsys.path.insert(0, '.'); sys.modules.pop('math', None); sys.modules.pop('json', None)\ndef f(x): return 0",
}  # fmt: skip

# They wait for their limit: with one kind of tests is enough.
WAITING = {"answers to itself", "answers to standard output"}

# The same with a program that prints; the input is "1".
PRINTS: dict[str, str] = {
    "standard output truncated to a size": "import os\nos.truncate(1, 1 << 40)",
    "a hole in standard output": "import os\nos.pwrite(1, b'x', 1 << 50)",
    "standard output sealed": "import fcntl, os\nfor s in range(1, 32):\n    try: fcntl.fcntl(1, 1033, s)\n    except OSError: pass\nprint(0)",
    "standard output mapped": "import mmap, os\nos.truncate(1, 4096)\nm = mmap.mmap(1, 4096); m[:] = b'9' * 4096",
    "standard output is its input": "import os\nos.dup2(0, 1)\nprint(0)",
    "input and output exchanged": "import os\nos.dup2(1, 0); print(1, flush=True); os.lseek(0, 0, 0); print(input())",
    "input written over": "import os\nos.pwrite(0, b'7' * 99, 0); print(0)",
    "standard output replaced": "import sys\nclass W:\n    def write(s, t): return len(t)\n    def flush(s): pass\n    closed = False\nsys.stdout = sys.__stdout__ = W()\nprint(0)",
    "standard output is nothing": "import sys\nsys.stdout = sys.__stdout__ = None\nprint(0)",
    "print replaced": "import builtins\nbuiltins.print = lambda *a: True\nprint(0)",
    "an exit before the answer": "import os\nprint(0); os._exit(0)",
    "an exit by a thread": "import threading, os\nthreading.Thread(target=lambda: os._exit(0)).start()\nwhile True: pass",
    "an exit code": "raise SystemExit('918273')",
    "an exit of another class": "class S(SystemExit):\n    code = property(lambda s: 0)\nraise S(1)",
    "an exit by a hook": "import sys\nsys.excepthook = lambda *a: sys.exit(0)\nraise ValueError",
    "a finalizer prints": "class D:\n    def __del__(s): print(0)\nd = D()",
    "everything it can see": "import gc, sys\n" + _FOUND + "print(found(gc.get_objects()) or found([sys._getframe().f_back.f_locals]))",
    "all descriptors": "import os\n" + _FOUND + "seen = []\nfor d in range(64):\n    try: seen.append(os.pread(d, 1 << 16, 0).decode(errors='replace'))\n    except OSError: pass\nprint(found(seen))",
    "main's own name": "import __main__, sys\n__main__.__name__ = 'program'; sys.argv[:] = ['-c']; print(0)",
    "messages": _SAY + _FORGED + "for t in ANY: say(t)\nprint(0)",
    "a pipe filled": "import os, fcntl\nfcntl.fcntl(4, fcntl.F_SETFL, os.O_NONBLOCK)\ntry:\n    while True: os.write(4, b'x' * 4096)\nexcept OSError: pass",
    "surrogates": "import os\nos.write(1, '\\ud800'.encode('utf-8', 'surrogatepass') * 9)",
    "NULs": "print('\\0' * 99)",
    "its folder removed": "import os\nos.rmdir(os.getcwd()); print(0)",
    "a fifo for the checker": "import os\nfor name in ('answer', 'output', 'json.py'):\n    try: os.mkfifo(name)\n    except OSError: pass\nprint(0)",
    "links for the checker": "import os\nfor name in ('answer', 'output', 'json.py'): os.symlink('expected', name)\nopen('expected', 'w').write('1')\nprint(0)",
    "modules for the checker": "for name in ('json', 'check', 'sitecustomize', 'typing', 'checker'): open(name + '.py', 'w').write('def check(*a): return True\\nloads = dumps = check')\nprint(0)",
    "a return before the answer": "print(0)\nif True: raise SystemExit",
    "redefined names of the preamble": "def print(*a): pass\nint = map = input = Counter = defaultdict = lambda *a: 918273\nsys = json = None",
}  # fmt: skip

# What the tests do → a right program, the setup, and wrong programs.
_T = "class T: pass\n"
_PEEK = (  # a program asked to return what the tests know
    "class O:\n    kept = 1\n    def m(self): return 1\ndef g(v): return v\nhidden = 918273645\na = f(g, O())\nassert a == hidden"
)
_RAW = (
    "import gc\n"
    + _FOUND
    + "def f(g, o):\n    (peer,) = [p for p in gc.get_objects() if type(p).__name__ == 'Peer']\n    seen = []\n"
    "    for n in range(-1, 9):\n        for special, args in ASKED:\n            try: seen.append(peer.ask(n, special, args, {}))\n            except BaseException as e: seen.append(str(e))\n    return found(seen)\n"
)
TESTS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "compares": ("a = f(1)\nassert a == 918273645", "def f(x): return 918273645", "", {
        "an object is the truth": _T + "class A:\n    def __eq__(s, o): return T()\ndef f(x): return A()",
        "a class of exceptions is the truth": "class E(Exception): pass\nclass A:\n    def __eq__(s, o): return E\ndef f(x): return A()",
        "a tuple is the truth": _T + "class A:\n    def __eq__(s, o): return (T(),)\ndef f(x): return A()",
        "a hash and an equality": "class A:\n    def __hash__(s): return hash(918273)\n    def __eq__(s, o): return o\ndef f(x): return A()",
    }),
    "orders": ("a = f(1)\nassert a > 5 and a < 7", "def f(x): return 6", "", {
        "an object is the truth": _T + "class A:\n    def __lt__(s, o): return T()\n    __gt__ = __lt__\ndef f(x): return A()",
        "the argument is the truth": "class A:\n    def __lt__(s, o): return s\n    __gt__ = __lt__\ndef f(x): return A()",
    }),
    "calls a method": ("assert f('abc').isupper()", "def f(x): return x.upper()", "", {
        "an object is the truth": _T + "class A:\n    def isupper(s): return T()\ndef f(x): return A()",
        "itself": "class A:\n    def isupper(s): return s\ndef f(x): return A()",
        "a class of exceptions": "class E(Exception): pass\nclass A:\n    def isupper(s): return E\ndef f(x): return A()",
        "an object first seen as a class of exceptions": "class A:\n    def isupper(s): return A\ndef f(x): return A()",
    }),
    "looks for something": ("assert 'needle' in f('abc')", "def f(x): return [x, 'needle']", "", {
        "an object is the truth": _T + "class A:\n    def __contains__(s, x): return T()\ndef f(x): return A()",
        "items without an end": "class A:\n    def __contains__(s, x): return s\n    def __iter__(s):\n        while True: yield s\ndef f(x): return A()",
        "items that are equal": "class A:\n    def __eq__(s, o): return A()\nclass B:\n    def __iter__(s): yield A()\ndef f(x): return B()",
    }),
    "calculates": ("assert f(1) & 4 and abs(f(2) - 4) < 1e-6", "def f(x): return 4", "", {
        "objects": _T + "class A:\n    def __and__(s, o): return T()\n    def __sub__(s, o): return s\n    def __abs__(s): return s\n    def __lt__(s, o): return T()\ndef f(x): return A()",
    }),
    "enters a class": ("with F() as c:\n    assert c.v == 918273645", "class F:\n    v = 918273645\n    def __enter__(s): return s\n    def __exit__(s, *a): pass", "", {
        "swallows": "class F:\n    v = 0\n    def __enter__(s): return s\n    def __exit__(s, *a): return True",
        "swallows with an object": _T + "class F:\n    v = 0\n    def __enter__(s): return s\n    def __exit__(s, *a): return T()",
    }),
    "asks a helper": ("assert same(f(1), 918273645)", "def f(x): return 918273645", "def same(a, b): return a == b", {
        "of the program": _T + "def same(a, b): return T()\ndef f(x): return 0",
    }),
    "asks a helper of the program": ("r = same(f(1), 918273645)\nassert r", "", "", {
        "an object": _T + "def same(a, b): return T()\ndef f(x): return 0",
        "an object with an object's truth": _T + "class U:\n    def __bool__(s): return True\ndef same(a, b): return U()\ndef f(x): return 0",
        "a tuple": _T + "def same(a, b): return (T(),)\ndef f(x): return 0",
        "a class of exceptions": "class E(Exception): pass\ndef same(a, b): return E\ndef f(x): return 0",
        "the answer": _T + "t = T()\ndef same(a, b): return t\ndef f(x): return t",
        "the function": "def same(a, b): return f\ndef f(x): return 0",
        "Ellipsis": "def same(a, b): return ...\ndef f(x): return 0",
    }),
    "calls a helper of the program": ("same(f(1), 918273645)", "", "", {
        "an object": _T + "def same(a, b): return T()\ndef f(x): return 0",
        "nothing": "def same(a, b): pass\ndef f(x): return 0",
    }),
    "is not None": ("assert find(f(1), 918273645) is not None", "", "", {
        "an object": _T + "def find(a, b): return T()\ndef f(x): return 0",
    }),
    "a constant of the program": ("assert f(1) is Colour.RED", "", "", {
        "one for all": "class M(type):\n    def __getattr__(c, n): return c\nclass Colour(metaclass=M): pass\ndef f(x): return Colour.x",
    }),
    "sets what it expects": ("box = Box()\ne = [918273645]\nbox.e = e\nassert f(1) == e", "", "", {
        "changed on its way": "class Box:\n    def __setattr__(s, n, v): v[:] = [7]\ndef f(x): return [7]",
    }),
    "names of the library": ("a = compress('abc', [1, 0, 1])\nassert list(a) == ['x']", "def compress(a, b): return ['x']", "", {
        "the library's own": "from itertools import compress",
    }),
    "iterates": ("assert all(v == 7 for v in map(f, [1, 2, 3]))", "def f(x): return 7", "", {
        "StopIteration": "def f(x): raise StopIteration",
        "an ancestor": "class S(StopIteration): pass\ndef f(x): raise S",
        "GeneratorExit": "def f(x): raise GeneratorExit",
        "StopAsyncIteration": "def f(x): raise StopAsyncIteration",
    }),
    "iterates over the answer": ("n = 0\nfor v in f(1):\n    assert v == 7\n    n += 1\nassert n == 3", "def f(x): return iter([7, 7, 7])", "", {
        "by index, to the end at once": "class A:\n    def __getitem__(s, i): raise IndexError\ndef f(x): return A()",
        "no iterator": "class A:\n    def __iter__(s): return 7\ndef f(x): return A()",
        "an iterator that lies": "class A:\n    def __iter__(s): return s\n    def __next__(s): raise SystemExit\n    def __len__(s): return 3\ndef f(x): return A()",
    }),
    "knows something": (_PEEK, "def f(g, o): return g(918273645)", "", {
        "globals of a function": "def f(g, o): return g.__globals__['hidden']",
        "globals of a method": "def f(g, o): return o.m.__func__.__globals__['hidden']",
        "globals by its class": "def f(g, o): return o.__class__.m.__globals__['hidden']",
        "globals by a maker": "def f(g, o): return o.__init__.__globals__['hidden']",
        "its code": _FOUND + "def f(g, o):\n    try: return found(g.__code__.co_consts)\n    except Exception: return 0",
        "the frame of an error": _FOUND + "def f(g, o):\n    try: g()\n    except Exception as e:\n        seen, t = [e.args, str(e)], e.__traceback__\n        while t: seen += [str(t.tb_frame.f_locals)[:10**6]]; t = t.tb_next\n        return found(seen)",
        "the cause of an error": _FOUND + "def f(g, o):\n    try: o.nothing\n    except Exception as e: return found([e.__context__, e.__cause__, vars(e), getattr(e, 'obj', 0)])",
        "a list of names": _FOUND + "def f(g, o): return found([dir(o), dir(g), str(o), repr(g)])",
        "raw questions": "ASKED = [('__getattribute__', (n,)) for n in ('__globals__', '__dict__', '__class__', '_own', 'gi_frame')] + [('__call__', ('hidden',)), ('__getitem__', ('hidden',)), ('', ())]\n" + _RAW,
        "endless questions": "def f(g, o):\n    while True: g(1)",
        "questions in questions": "def f(g, o): return g(lambda *a: f(g, o))",
        "changes what it was given": "def f(g, o):\n    o.kept = type('A', (), {'__eq__': lambda s, x: True})()\n    return o.kept",
    }),
    "holds its answers against another": ("e = oracle(1)\nassert f(1) is e or f(1) == e", "def f(x): return 918273645", "def oracle(x): return 918273645", {
        "of the same setup": _T + "t = T()\ndef oracle(x): return t\ndef f(x): return t",
    }),
    "holds its answers against the program": ("e = oracle(1)\nassert f(1) is e or f(1) == e", "", "", {
        "one object for both": _T + "t = T()\ndef oracle(x): return t\ndef f(x): return t",
        "a generator": "def oracle(x): yield 1\ndef f(x): return oracle(x)",
    }),
    "changes the answer": ("a = f(1)\na += 1\nassert a", "def f(x): return 5", "", {
        "into an object": _T + "class A:\n    def __iadd__(s, o): return T()\ndef f(x): return A()",
    }),
    "takes an item": ("assert f(1)['ok']", "def f(x): return {'ok': True}", "", {
        "an object": _T + "class A:\n    def __getitem__(s, k): return T()\ndef f(x): return A()",
        "a dictionary that lies": "class D(dict):\n    def __getitem__(s, k): return 5\n    get = __getitem__\ndef f(x): return D()",
    }),
    "looks it up": ("assert {5: True}.get(f(1))", "def f(x): return 5", "", {
        "the same hash": _T + "class A:\n    def __hash__(s): return hash(5)\n    def __eq__(s, o): return T()\ndef f(x): return A()",
    }),
    "shows it": ("assert f'{f(1):.2f}' == '3.14' and str(f(1)) == '3.14'", "def f(x): return 3.14", "", {
        "a text of its own": "class A:\n    def __format__(s, k): return '3.14'\n    def __str__(s): return '3.14'\ndef f(x): return A()",
    }),
    "asks for its type": ("a = f(1)\nassert isinstance(a, Kind)", "def f(x): return Kind()", "class Kind: pass", {
        "a class of that name": "class M(type):\n    def __instancecheck__(c, o): return True\nclass Kind(metaclass=M): pass\ndef f(x): return 0",
    }),
    "compares data": ("assert f(1) == Point(5)", "def f(x): return Point(5)", "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int", {
        "another class": "class Q:\n    x = 5\n    __class__ = property(lambda s: Point)\n    def __eq__(s, o): return True\ndef f(x): return Q()",
        "of other data": "def f(x):\n    p = Point(4)\n    p.__dict__['__eq__'] = lambda o: True\n    return p",
    }),
    "calls what came back": ("r = f(1)(2)\nassert r == 5", "def f(x): return lambda y: 5", "", {
        "itself": "class A:\n    def __call__(s, *a): return s\n    def __eq__(s, o): return s\ndef f(x): return A()",
    }),
    "shares": ("a = [1, 2]\nb = [a, a]\nf(b)\nassert b == [[918273645], [918273645]] and b[0] is a", "def f(b): b[0][:] = [918273645]", "", {
        "states of the wrong kind": "import os\ndef f(b): os.write(4, b'{\"value\": {\"root\": null, \"nodes\": [], \"states\": [[3, [\"dict\", []]], [4, [\"object\", \"x\", []]]]}}\\n')",
        "states of nobody": "import os\ndef f(b): os.write(4, b'{\"value\": {\"root\": null, \"nodes\": [[\"list\", [918273]]], \"states\": [[-1, [\"list\", [1]]], [99, [\"list\", []]]]}}\\n')",
        "the tests' own numbers": "import os\ndef f(b): os.write(4, b'{\"value\": {\"root\": [9], \"nodes\": [[\"yours\", 3], [\"yours\", -1]], \"states\": []}}\\n')",
        "other lists": "def f(b): b[:] = [[918273], [918273]]",
    }),
}  # fmt: skip

# Two tests of one problem: what the first call leaves must not make the second one impossible to judge.
CLEARS = "def f(x):\n    total = sum(x)\n    x.clear()\n    return total"
