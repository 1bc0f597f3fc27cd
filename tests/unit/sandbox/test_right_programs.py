"""Programs that are right where they were written for, and must be here."""

from collections.abc import Iterator

import pytest

from reforge.records import Checker, Problem, Status, TestCase
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=6.0, wall_seconds=30.0, memory_mb=512, output_kb=64)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=1) as judge:
        yield judge


def stdin(given: str, expected: str, files: dict[str, str] | None = None, check: str = "") -> Problem:
    checker = Checker("program", source=check) if check else Checker()
    test = TestCase("stdin", given, expected)
    return Problem("stdin", "", "", (test,), files=tuple((files or {}).items()), checker=checker)


def call(given: str, expected: str, check: str = "") -> Problem:
    checker = Checker("program", source=check) if check else Checker()
    return Problem("call", "", "", (TestCase("call", given, expected),), entry_point="f", checker=checker)


@pytest.mark.parametrize(
    "program",
    [
        "out = open(1, 'w')\nout.write('6\\n')",
        "out = open(1, 'wb', 9)\nout.write(b'6\\n')",
        "import os\nout = os.fdopen(1, 'w')\nout.write('6\\n')",
        "import io, sys\nout = io.TextIOWrapper(sys.stdout.buffer, write_through=False)\nout.write('6\\n')",
        "import io, sys\nout = io.BufferedWriter(io.FileIO(1, 'w'))\nout.write(b'6\\n')",
        "import io, sys\nreal = sys.stdout\nsys.stdout = io.StringIO()\nprint('noise')\nreal.write('6\\n')",
        "import io, sys\nclass Out(io.IOBase):\n    kept = b''\n    def write(s, b): s.kept += b\n"
        "    def flush(s):\n        import os\n        os.write(1, s.kept)\n        s.kept = b''\n"
        "out = Out()\nout.write(b'6')",
        "def f():\n    out = open(1, 'w')\n    out.write('6')\n    keep.append(out)\nkeep = []\nf()\n"
        "import sys\nsys.exit()",
        "class A:\n    def __del__(self): print(6)\na = A()",
        "import atexit\natexit.register(print, 6)",
        "class M(type):\n    def __eq__(s, o): return True\nclass A(metaclass=M): pass\na = A()\nprint(6)",
        "class M(type):\n    def __hash__(s): raise ValueError\nclass A(metaclass=M): pass\na = A()\nprint(6)",
        "import logging, logging.handlers, sys\nhandler = logging.handlers.MemoryHandler(9)\n"
        "handler.setTarget(logging.StreamHandler(sys.stdout))\nlogging.getLogger().addHandler(handler)\n"
        "logging.warning('6')",
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.05), print(6))).start()",
        "open('/dev/stdout', 'w').write('6')",
        "print(sum(map(int, open('/dev/stdin').read().split())))",
        "print(sum(map(int, open('/dev/fd/0', 'rb').read().split())))",
        "import io\nprint(sum(map(int, io.open('/proc/self/fd/0').read().split())))",
        "import pathlib\nprint(sum(map(int, pathlib.Path('/dev/stdin').read_text().split())))",
        "import os\nprint(sum(map(int, os.read(os.open('/dev/stdin', os.O_RDONLY), 99).split())))",
        "import fileinput\nfor line in fileinput.input('/dev/stdin'): print(sum(map(int, line.split())))",
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)\n"
        "sys.setrecursionlimit(10**6)\nprint(6)",
        "import resource\nresource.setrlimit(resource.RLIMIT_STACK, [2**29, -1])\nprint(6)",
        "import resource\nresource.prlimit(0, resource.RLIMIT_NOFILE, (4096, 4096))\nprint(6)",
        "import resource\n_, hard = resource.getrlimit(resource.RLIMIT_STACK)\n"
        "resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))\nprint(6)",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**29)\n"
        "t = threading.Thread(target=lambda: print(6)); t.start(); t.join()",
        "def depth(n): return 0 if n == 0 else 1 + depth(n - 1)\nimport sys, threading\n"
        "sys.setrecursionlimit(10**6)\nthreading.stack_size(2**29 - 1)\n"
        "t = threading.Thread(target=lambda: print(depth(50_000) - 49_994)); t.start(); t.join()",
    ],
)
def test_what_programs_take_for_granted(judge: Judge, program: str) -> None:
    verdict = judge.judge(program, stdin("1 2 3\n", "6\n"))
    assert verdict.status is Status.ACCEPTED, verdict.reason


def test_integers_of_many_digits(judge: Judge) -> None:
    sevens = "7" * 9_000
    rest = stdin(sevens, str(pow_mod(sevens)))
    assert judge.judge("print(int(input()) % 1000000007)", rest).status is Status.ACCEPTED
    assert judge.judge("print(int(input()))", stdin(sevens, sevens)).status is Status.ACCEPTED
    assert judge.judge("print(int(input()) + 1)", stdin(sevens, sevens)).status is Status.WRONG_ANSWER
    assert judge.judge("def f(x): return x", call(f"[{sevens}]", sevens)).status is Status.ACCEPTED
    assert judge.judge("def f(x): return x + 1", call(f"[{sevens}]", sevens)).status is Status.WRONG_ANSWER
    test = Problem("a", "", "", (TestCase("assert", f"assert f({sevens}) == {sevens}"),), entry_point="f")
    assert judge.judge("def f(x): return x", test).status is Status.ACCEPTED
    assert judge.judge("def f(x): return x + 1", test).status is Status.WRONG_ANSWER


def pow_mod(text: str) -> int:
    value = 0
    for digit in text:
        value = (value * 10 + int(digit)) % 1000000007
    return value


def test_an_answer_may_be_as_long_as_the_expected_one(judge: Judge) -> None:
    """At 64 kB of output; what is not asked for stays bounded."""
    numbers = " ".join(map(str, range(200_000)))
    assert judge.judge("print(*range(200_000))", stdin("", numbers)).status is Status.ACCEPTED
    assert judge.judge("print(*range(200_000))", stdin("", "1")).status is Status.OUTPUT_LIMIT
    returned = call("[]", f"[{numbers.replace(' ', ', ')}]")
    assert judge.judge("def f(): return list(range(200_000))", returned).status is Status.ACCEPTED
    assert judge.judge("def f(): return list(range(200_000))", call("[]", "1")).status is Status.RUNTIME_ERROR


def test_files_are_not_bounded_by_the_output_limit(judge: Judge) -> None:
    data = stdin("", "100000", files={"data.txt": "x" * 100_000})
    assert judge.judge("print(len(open('data.txt').read()))", data).status is Status.ACCEPTED
    own = "open('own.txt', 'w').write('x' * 100_000)\nprint(len(open('own.txt').read()))"
    assert judge.judge(own, stdin("", "100000")).status is Status.ACCEPTED


WRITES = (
    "def check(i, e, o):\n    for n, c in (('input.txt', i), ('printed.txt', o), ('correct.txt', e)):\n"
    "        with open(n, 'w') as f: f.write(str(c))\n    import time\n    time.sleep(0.1)\n"
    "    return open('correct.txt').read() == open('printed.txt').read()"
)
RACE = (
    "import threading, os\ndef race():\n    while True:\n        try:\n            right = open('correct.txt').read()\n"
    "            if right: open('printed.txt', 'w').write(right)\n        except OSError: pass\n"
    "threading.Thread(target=race, daemon=True).start()\n"
)


def test_a_checker_that_writes_files(judge: Judge) -> None:
    """Whether the expected answer is written with a line break at its end, or without."""
    assert judge.judge("print(len(input()))", stdin("x" * 100_000, "100000", check=WRITES)).status is Status.ACCEPTED
    assert judge.judge("print(len(input()))", stdin("x" * 99_999, "100000", check=WRITES)).status is Status.WRONG_ANSWER
    assert judge.judge("print(len(input()))", stdin("x" * 100_000, "100000\n", check=WRITES)).status is Status.ACCEPTED


@pytest.mark.parametrize(
    "program",
    [
        RACE + "def f(x): return 'wrong'",
        "import os\nos.symlink('correct.txt', 'printed.txt')\ndef f(x): return 'wrong'",
        "import os\nos.mkdir('printed.txt')\ndef f(x): return 'wrong'",
        "open('time.py', 'w').write('open = None')\ndef f(x): return 'wrong'",
        "import os\nos.chmod('.', 0)\ndef f(x): return 'wrong'",
        "open('full', 'wb').write(bytes(15 << 20))\ndef f(x): return 'wrong'",
    ],
)
def test_a_checker_shares_nothing_with_the_program(judge: Judge, program: str) -> None:
    verdict = judge.judge(program, call("[1]", '"918273645"', check=WRITES))
    assert verdict.status in (Status.WRONG_ANSWER, Status.RUNTIME_ERROR), verdict.reason


def test_a_checker_of_calls_names_the_first_wrong_answer(judge: Judge) -> None:
    tests = tuple(TestCase("call", f"[{n}]", str(n)) for n in range(4))
    checker = Checker("program", source="def check(i, e, o): return e == o")
    problem = Problem("p", "", "", tests, entry_point="f", checker=checker)
    assert judge.judge("def f(n): return n", problem).status is Status.ACCEPTED
    for program, status, index in (
        ("def f(n): return n % 2", Status.WRONG_ANSWER, 2),
        ("def f(n): return n % 2 if n < 3 else 1 / 0", Status.WRONG_ANSWER, 2),
        ("def f(n): return n if n < 3 else 1 / 0", Status.RUNTIME_ERROR, 3),
    ):
        verdict = judge.judge(program, problem)
        assert (verdict.status, verdict.test_index) == (status, index), verdict.reason


@pytest.mark.parametrize(
    ("returned", "expected", "status"),
    [
        ("range(3)", '{"$": "range", "v": ["0x0", "0x3", "0x1"]}', Status.ACCEPTED),
        ("{1: 2}.keys()", '{"$": "dict_keys", "v": [1]}', Status.ACCEPTED),
        ("__import__('decimal').Decimal('0.30')", '{"$": "decimal", "v": "0.3"}', Status.ACCEPTED),
        ("__import__('collections').deque([1])", '{"$": "deque", "v": [null, 1]}', Status.ACCEPTED),
        ("range(3)", "[0, 1, 2]", Status.WRONG_ANSWER),
        ("{1: 2}.values()", "[2]", Status.WRONG_ANSWER),
        ("__import__('decimal').Decimal('sNaN')", "1", Status.RUNTIME_ERROR),
    ],
)
def test_values_of_the_library(judge: Judge, returned: str, expected: str, status: Status) -> None:
    verdict = judge.judge(f"def f(): return {returned}", call("[]", expected))
    assert verdict.status is status, verdict.reason


def test_scalars_of_numpy() -> None:
    check = "import numpy as np\ndef check(i, e, o): return np.all(np.array(e.split()) == np.array(o.split()))"
    with Judge(LIMITS, 1, packages=["numpy"]) as judge:
        total = "import numpy as np\ndef f(x): return np.array(x).sum()"
        assert judge.judge(total, call("[[1, 2, 3]]", "6")).status is Status.ACCEPTED
        assert judge.judge(total, call("[[1, 2, 3]]", "7")).status is Status.WRONG_ANSWER
        flag = "import numpy as np\ndef f(x): return {'a': [np.array(x).any()]}"
        assert judge.judge(flag, call("[[1]]", '{"a": [true]}')).status is Status.ACCEPTED
        assert judge.judge("print('1 2')", stdin("", "1 2", check=check)).status is Status.ACCEPTED
        assert judge.judge("print('1 3')", stdin("", "1 2", check=check)).status is Status.WRONG_ANSWER


def test_memory_is_what_is_really_used(judge: Judge) -> None:
    reserved = "import mmap\nm = mmap.mmap(-1, 700 << 20)\nprint(6)"
    assert judge.judge(reserved, stdin("", "6")).status is Status.ACCEPTED
    assert judge.judge("x = b'x' * (700 << 20)\nprint(6)", stdin("", "6")).status is Status.MEMORY_LIMIT


@pytest.mark.parametrize("padding", [0, 1 << 12, 1 << 16, 1 << 20])
@pytest.mark.parametrize("values", [1, 1 << 10, 1 << 16])
def test_a_program_and_what_it_is_given_may_be_longer_than_a_pipe(judge: Judge, padding: int, values: int) -> None:
    """A pipe takes 64 KiB at once: the rest comes after it, and in order."""
    comment = "#" * padding
    given = str([1] * values)
    function = f"def f(x):\n    return sum(x)\n{comment}"
    printed = f"print(sum(map(int, input().strip('[]').split(','))))\n{comment}"
    code = TestCase("assert", f"x = {given}\nfor n in range(2): assert f(x) == {values}")
    outside = TestCase("assert", f"assert f({given}) == {values}")
    two = (TestCase("call", f"[{given}]", str(values)), TestCase("call", "[[2]]", "2"))
    for program, tests in (
        (printed, (TestCase("stdin", given, str(values)),)),
        (function, two),
        (function, (outside, code)),
    ):
        problem = Problem("long", "", "", tests, entry_point="f" * (program is function))
        assert judge.judge(program, problem).status == "AC"
