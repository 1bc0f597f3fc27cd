"""Hostile programs and answers, each made from a seed: forged messages, exceptions, values, outputs, files, ends."""

# ruff: noqa: E501 - programs are written as they are

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reforge.records import Checker, Problem, TestCase

MODULUS = (1 << 61) - 1  # to Python all its multiples have the same hash
_CALL = Problem("call", "", "", (TestCase("call", "[1]", "918273645"),), entry_point="f")
_ASSERTS = ("assert f(1) == 918273645", "assert len(str(f(1))) == 9 and f(2) == 1", "assert f(Node(1)) == 5")
_CHECKER = "def check(given, expected, output):\n    return str(expected) == str(output)"
_STDIN = Problem("stdin", "", "", (TestCase("stdin", "1\n", "918273645\n"), TestCase("stdin", "2\n", "0.25 yes\n")))
_ANSWERS = (r"\frac{1}{2}", "918273645", "yes 0.5")

_ATOMS: tuple[Any, ...] = (
    None, True, 0, -1, 918273645, 0.5, "", "f", "\ud800", "\0", "$", "v", "value", "raised", "MemoryError", "StopIteration",
    "0x" + "f" * 5000, "1e999", "NaN", 10**400, -(10**4000), MODULUS, 1 << 64, float("nan"), float("inf"), "é" * 100,
    "2020-01-01", "set", "\x1b[31m", "9" * 4400, "/" * 3000, "0x" + "a" * 3000,
)  # fmt: skip
_TAGS = (
    "tuple", "dict", "set", "frozenset", "int", "bytes", "complex", "type", "bytearray", "range", "decimal", "fraction",
    "datetime", "date", "time", "timedelta", "deque", "dict_keys", "dict_values", "dict_items", "object",
)  # fmt: skip
_KINDS = ("value", "raised", "broken", "unplain", "loaded", "ready", "unfenced", "passed", "failed", "call", "usable")


def _tree(rng: random.Random, depth: int = 4) -> Any:
    roll = rng.random()
    if depth == 0 or roll < 0.3:
        return rng.choice(_ATOMS) if rng.random() < 0.8 else rng.getrandbits(rng.choice((8, 64, 2000)))
    inner = [_tree(rng, depth - 1) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    if roll < 0.55:
        return inner
    if roll < 0.65:
        return {str(rng.choice(_ATOMS)): item for item in inner}
    if rng.random() < 0.05:
        inner = [MODULUS * k for k in range(rng.choice((90, 300, 3000)))]
    tagged = {"$": rng.choice(_TAGS), "v": inner if rng.random() < 0.8 else _tree(rng, depth - 1)}
    return tagged | ({"w": 1} if rng.random() < 0.05 else {})


def _message(rng: random.Random) -> bytes:
    """Return a line as the judge expects it, or nearly."""
    roll = rng.random()
    if roll < 0.05:
        return rng.randbytes(rng.choice((1, 10, 300))) + rng.choice((b"", b"\n"))
    if roll < 0.1:
        deep = rng.choice((90, 99, 100, 101, 300, 990, 5000))
        return b'{"%s": ' % rng.choice(_KINDS).encode() + b"[" * deep + b"]" * deep + b"}\n"
    message = {rng.choice(_KINDS): _tree(rng)}
    if rng.random() < 0.3:
        message = {rng.choice(("raised", "broken", "failed")): [str(rng.choice(_ATOMS)), str(rng.choice(_ATOMS))]}
    if rng.random() < 0.1:
        message |= {rng.choice(_KINDS): 1}
    line = json.dumps(message, ensure_ascii=rng.random() < 0.9).encode(errors="surrogatepass")
    if rng.random() < 0.3:
        at = rng.randrange(len(line))
        line = line[:at] + rng.choice((b"", b"\xff", b"[", b'"', line[at:] * 2)) + line[at + 1 :]
    return line + rng.choice((b"\n", b"\n", b"\n", b"\n\n", b"", b"\r\n"))


def _messages(rng: random.Random) -> str:
    sent = b'{"loaded": true}\n' * (rng.random() < 0.3) + b"".join(
        _message(rng) for _ in range(rng.choice((1, 1, 2, 5)))
    )
    end = rng.choice(("os._exit(0)", "os.close(4)", "pass", "os._exit(7)", "os.kill(os.getpid(), 11)"))
    pieces = rng.choice((1 << 20, 1 << 20, 7))
    return (
        f"import os\nb = {sent!r}\nfor i in range(0, len(b), {pieces}):\n"
        f"    try: os.write(4, b[i:i + {pieces}])\n    except OSError: break\n{end}"
    )


def _exception(rng: random.Random) -> str:
    name, text = str(rng.choice(_ATOMS)), str(rng.choice(_ATOMS))
    base = rng.choice(("Exception", "BaseException", "MemoryError", "SystemExit", "AssertionError", "StopIteration"))
    method = rng.choice(
        ("pass", "__str__ = lambda s: s", "__str__ = lambda s: 1 / 0", "__repr__ = None", "__name__ = 5", "args = None")
    )
    shown = ascii(name.replace("\0", "") or "E")
    return f"class M(type): pass\nE = M({shown}, ({base},), {{}})\nclass F(E): {method}\nF.__name__ = {shown}\nraise F({text!a})"


_VALUES = (
    "x = []\nx.append(x)\nreturn x", "v = 0\nfor _ in range({n}): v = [v]\nreturn v", "return 10 ** {n}",
    "return {{m * k for k in range({n})}}", "return {{(m * k, 1): k for k in range({n})}}", "return '\\ud800' * {n}",
    "return complex(1e308 * 10, float('nan'))", "return type('T', (int,), {{'__eq__': lambda s, o: True}})(3)",
    "return range(10 ** {n})", "import decimal; return decimal.Decimal('1E+{n}')", "return [b'\\xff' * {n}] * 3",
    "import fractions; return fractions.Fraction(1, 3 ** {n})", "return float('inf')", "return (i for i in range({n}))",
    "return type('L', (list,), {{'__class__': str}})([1])", "return NotImplemented", "return f", "return x + {n}",
    "return [[]] * {n}", "return {{}}.items()", "a = [1]\nfor _ in range({n}): a = [a, a]\nreturn a",
    "import collections; return collections.deque([1], {n})", "return memoryview(b'x')", "return -0.0", "return Ellipsis",
)  # fmt: skip


def _value(rng: random.Random) -> str:
    body = rng.choice(_VALUES).format(n=rng.choice((3, 40, 99, 100, 101, 2000)))
    return f"m = {MODULUS}\nclass Node:\n    def __init__(s, *a): pass\ndef f(x):\n" + "".join(
        f"    {line}\n" for line in body.split("\n")
    )


def _output(rng: random.Random) -> str:
    parts = [
        rng.choice((b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"918273645", b"1e99999", b"9" * 4400, b"\n" * 500, b"nan", b"0x1",
                    b"1_0", b"+", "٣".encode(), b" " * 3000, b"-0", b".", b"sNaN", b"1E+999999999", rng.randbytes(20)))
        for _ in range(rng.choice((1, 2, 5)))
    ]  # fmt: skip
    times = rng.choice((1, 1, 1, 300))
    return f"import sys\nsys.stdout.buffer.write({b' '.join(parts)!r} * {times})"


_ENDS = (
    "os.rmdir(os.getcwd())", "os.chmod('.', 0)", "[os.mkdir(str(k)) for k in range(700)]", "os.symlink('/', 'l')",
    "for _ in range(60): os.mkdir('d'); os.chdir('d')", "os.rename('.', '../x')", "os.rmdir('../program')",
    "open('x', 'w').write('x' * 99999)", "os.kill(os.getpid(), 9)", "os.abort()", "os.closerange(0, 64)",
    "sys.setrecursionlimit(10 ** 6); (f := lambda: f())()", "bytearray(1 << 40)", "os.mkfifo('p')",
    "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); print(1, flush=True)", "sys.stdout = None", "os._exit(300)",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0)); open('x')", "os.dup2(4, 1); print('{}')", "os.umask(0o777)",
    "sys.exit('\\ud800' * 99)", "import threading; threading.Thread(target=int).start(); 1 / 0", "signal.alarm(0)",
    "os.kill(os.getppid(), 9)", "os.setxattr('.', 'user.x', b'x')", "os.chmod('..', 0)", "json.dumps = None",
)  # fmt: skip


def _ending(rng: random.Random) -> str:
    said = f"print({rng.choice(('918273645', '0', repr('x')))})"
    lines = [rng.choice(_ENDS) for _ in range(rng.choice((1, 1, 2)))]
    body = "".join(f"    try:\n        {line}\n    except Exception: pass\n" for line in lines)
    return f"import json, os, resource, signal, sys\ndef f(x):\n{body}    {said}\n    return 5\nf(1)"


def _text(rng: random.Random) -> str:
    parts = ("\\frac{", "}", "10^{10^{10}}", "\\boxed{", "1/2", "2!", "\ud800", "\0", "9" * 4400, "(" * 50, "\\left\\{",
             "1e999", "918273645", "yes", "nan", " ", "^", "\n", "=", ",", "٣", "\x1b")  # fmt: skip
    return "".join(rng.choice(parts) for _ in range(rng.choice((1, 3, 10, 30))))


def _inside(program: str, rng: random.Random) -> str:
    """Return a program that does the same when it is called and not when it is loaded."""
    return "class Node:\n    def __init__(s, *a): pass\ndef f(x):\n" + "".join(
        f"    {line}\n" for line in program.split("\n")
    )


_MAKERS: tuple[Callable[[random.Random], str], ...] = (_messages, _messages, _exception, _value, _output, _ending)


def _planned() -> list[tuple[str, Problem]]:
    """Return the inputs that once broke the judge in use."""
    nested = "def f(x):\n    v = 0\n    for _ in range(100): v = [v]\n    return v"
    checked = replace(_CALL, checker=Checker("program", source=_CHECKER))
    colliding = "','.join(str(((1 << 61) - 1) * k) for k in range(1, 25000))"

    def forged(text: str) -> str:
        return f"import os\ndef f(x):\n    b = ({text}).encode() + b'\\n'\n    while b: b = b[os.write(4, b):]\n    os._exit(0)"

    return [
        ("raise ValueError('\\ud800')", _CALL),
        ("raise ValueError('\\ud800 \\0')", _STDIN),
        ("x = '\ud800'", _STDIN),
        (nested, checked),
        (forged("""'{"value": {"$": "complex", "v": [' + '9' * 400 + ', 0]}}'"""), _CALL),
        ("raise type('/' * 20000, (Exception,), {})('x')", _CALL),
        (forged(f"""'{{"value": {{"$": "set", "v": [' + {colliding} + ']}}}}'"""), _CALL),
        (forged("""'{"value": ' + '[' * 5000 + ']' * 5000 + '}'"""), _CALL),
        (forged("""'{"raised": ["' + '/' * 20000 + '", ""]}'"""), _CALL),
        (forged("""'{"unplain": ' + '[' * 900 + ']' * 900 + '}'"""), _CALL),
    ]


PLANNED = _planned()


def hostile(seed: int, index: int) -> tuple[str, Problem]:
    """Return a program, or an answer, and the problem that it is judged by."""
    if index < len(PLANNED):
        return PLANNED[index]
    rng = random.Random(f"{seed}-{index}")
    kind = ("stdin", "call", "assert", "answer", "call", "assert", "stdin", "messages")[index % 8]
    rules = [Checker(rule) for rule in ("tokens", "lines", "yesno", "lcb")]
    rules.append(Checker("program", source=_CHECKER))
    if kind == "answer":
        tests = (TestCase("answer", "", rng.choice(_ANSWERS)),)
        return f"{_text(rng)}{'' if rng.random() < 0.5 else index}", Problem(
            "a", "", "", tests, checker=rng.choice(rules)
        )
    program = (_messages if kind == "messages" else rng.choice(_MAKERS))(rng)
    if kind == "stdin":
        return f"{program}\n# {index}", replace(_STDIN, checker=rng.choice(rules))
    if "def f" not in program and rng.random() < 0.7:
        program = _inside(program, rng)
    if kind == "assert":
        return f"{program}\n# {index}", Problem(
            "s", "", "", (TestCase("assert", rng.choice(_ASSERTS)),), entry_point="f"
        )
    return f"{program}\n# {index}", replace(_CALL, checker=rng.choice(rules))
