# ruff: noqa: E501
"""Assert tests whose objects live in the program's process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=3.0, wall_seconds=20.0, memory_mb=256, output_kb=64)
LIST = (
    "class ListNode:\n    def __init__(self, val=0, next=None): self.val, self.next = val, next\n"
    "def build(v):\n    h = None\n    for x in reversed(v): h = ListNode(x, h)\n    return h\n"
    "def listed(h):\n    v = []\n    while h: v.append(h.val); h = h.next\n    return v"
)
STACK = "class Stack:\n    def __init__(s, v=()): s.v = list(v)\n    def push(s, x): s.v.append(x)\n" \
    "    def pop(s): return s.v.pop()\n    def __len__(s): return len(s.v)\n    def __iter__(s): return iter(s.v)\n" \
    "    def __contains__(s, x): return x in s.v\n    def __getitem__(s, i): return s.v[i]\n"  # fmt: skip
TREE = "class TreeNode:\n    def __init__(s, v, l=None, r=None): s.v, s.l, s.r = v, l, r\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=1) as judge:
        yield judge


def problem(source: str, entry: str = "f", setup: str = "") -> Problem:
    return Problem("p", "", "", (TestCase("assert", source),), entry_point=entry, setup=setup)


RIGHT = [
    ("def f(x): return [*x]", "a = [1, [2]]\nb = f(a)\nassert b == a and b is not a and b[1] is a[1]", "f", ""),
    ("def f(x): return x", "a = [1]\nassert f(a) is a", "f", ""),
    ("def f(x): x.sort()", "a = [3, 1, 2]\nassert f(a) is None\nassert a == [1, 2, 3]", "f", ""),
    ("def f(x): x[0].append(x)", "a = [[]]\nf(a)\nassert a[0][0] is a", "f", ""),
    ("def f(d): d['k'] = {1}; d.pop('a')", "d = {'a': 1}\nf(d)\nassert d == {'k': {1}}", "f", ""),
    ("def f(g): g[0][0] = 7", "row = [0]\ng = [row, row]\nf(g)\nassert g == [[7], [7]] and g[0] is g[1]", "f", ""),
    ("def f(g, x): return g(g(x))", "assert f(lambda v: v + 1, 2) == 4", "f", ""),
    ("def f(g, x): return [*map(g, x)]", "seen = []\nassert f(seen.append, [1, 2]) == [None] * 2 and seen == [1, 2]",
     "f", ""),
    ("def f(g):\n    try: return g()\n    except KeyError: return 'no'", "def g(): raise KeyError(1)\nassert f(g) == 'no'",
     "f", ""),
    ("def f(g): return lambda x: g(x) + 1", "assert f(lambda x: 2 * x)(5) == 11", "f", ""),
    ("def f(n):\n    for i in range(n): yield i * i", "assert list(f(4)) == [0, 1, 4, 9]", "f", ""),
    ("def f(n): return map(str, range(n))", "assert ''.join(f(3)) == '012'", "f", ""),
    ("def f(a): return zip(a, a)", "assert dict(f([1, 2])) == {1: 1, 2: 2}", "f", ""),
    ("def f():\n    n = 0\n    while True:\n        yield n\n        n += 1", "g = f()\nassert [next(g) for _ in range(3)] == [0, 1, 2]",
     "f", ""),
    (STACK, "s = Stack()\ns.push(1)\ns.push(2)\nassert len(s) == 2 and 2 in s and s[0] == 1 and list(s) == [1, 2]\n"
     "assert s.pop() == 2 and s.pop() == 1 and not s", "Stack", ""),
    (STACK, "s, t = Stack([1]), Stack()\nassert s is not t and isinstance(s, Stack)\ntry:\n    t.pop()\n    assert False\n"
     "except IndexError:\n    pass", "Stack", ""),
    ("class Money:\n    def __init__(s, n): s.n = n\n    def __add__(s, o): return Money(s.n + o.n)\n",
     "m = Money(1) + Money(2)\nassert m.n == 3\nm.n = 5\nassert m.n == 5", "Money", ""),
    ("class Solution:\n    def f(self, x): return x + 1", "assert Solution().f(1) == 2 and f(1) == 2", "f", ""),
    (TREE + "class Solution:\n    def f(self, t): return 0 if t is None else 1 + max(self.f(t.l), self.f(t.r))",
     "assert f(TreeNode(1, TreeNode(2), None)) == 2\nassert f(TreeNode(1)) == 1", "f", ""),
    (TREE + "def f(t):\n    t.l, t.r = t.r, t.l", "a, b = TreeNode(2), TreeNode(3)\nt = TreeNode(1, a, b)\nf(t)\n"
     "assert t.l is b and t.r is a and t.v == 1", "f", ""),
    (TREE + "def f(n): return TreeNode(n)", "t = f(3)\nassert t.v == 3 and t.l is None", "f", ""),
    ("def f(h):\n    p = None\n    while h: h.next, p, h = p, h, h.next\n    return p",
     "h = build(range(3000))\nr = f(h)\nassert listed(r) == [*range(2999, -1, -1)] and h.next is None", "f", LIST),
    ("def f(a): return ListNode(a)", "r = f(3)\nassert isinstance(r, ListNode) and r.val == 3", "f", LIST),
    ("class ListNode:\n    def __init__(self, val, next=None): self.val, self.next = val, next\n"
     "def f(h): return ListNode(h.val + 1)", "assert listed(f(build([1]))) == [2]", "f", LIST),
    ("def f(h):\n    h.next = h", "h = build([1])\nf(h)\nassert h.next is h", "f", LIST),
    ("def f(p): return p.x + p[1]", "assert f(P(1, 2)) == 3", "f",
     "from collections import namedtuple\nP = namedtuple('P', 'x y')"),
    ("def f(c): return Color.BLUE if c is Color.RED else c", "assert f(Color.RED) is Color.BLUE", "f",
     "from enum import Enum\nclass Color(Enum):\n    RED = 1\n    BLUE = 2"),
    ("class Bad(ValueError): pass\ndef f(x): raise Bad('no')",
     "try:\n    f(1)\n    ok = False\nexcept Bad as e:\n    ok = str(e) == 'no'\nassert ok", "f", ""),
    ("class Bad(ValueError): pass\ndef f(x): raise Bad", "try:\n    f(1)\n    ok = False\nexcept ValueError:\n    ok = True\n"
     "assert ok", "f", ""),
    ("def f(x): raise Own(x)", "try:\n    f(1)\n    ok = False\nexcept Own:\n    ok = True\nassert ok", "f",
     "class Own(Exception): pass"),
    ("from collections import Counter\ndef f(x): return Counter(x)", "assert f('aab') == Counter({'a': 2, 'b': 1})", "f", ""),
    ("from decimal import Decimal\ndef f(x): return Decimal(x)", "assert f('0.5') == Decimal('0.5')", "f", ""),
    ("import math\ndef f(x): return math.sqrt(x)", "assert math.isclose(f(2.0), 1.41421356237, rel_tol=1e-9)", "f", ""),
    ("def f(x): return range(x)", "assert f(3) == range(3) and list(f(2)) == [0, 1]", "f", ""),
    ("from datetime import date, timedelta\ndef f(d): return d + timedelta(1)",
     "assert f(date(2024, 2, 28)) == date(2024, 2, 29)", "f", "from datetime import date"),
    ("from math import gcd", "a = gcd(4, 6)\nassert a == 2", "gcd", ""),
    ("from collections import Counter", "c = Counter('aab')\nassert c['a'] == 2", "Counter", ""),
    ("f = set", "a = f([3])\nassert a == {3}", "f", ""),
    ("def f(o): o.side, o.twice = 4, 10", "class Square:\n    side = 3\n    def __init__(s): s.n = 0\n"
     "    @property\n    def twice(s): return 2 * s.n\n    @twice.setter\n    def twice(s, v): s.n = v // 2\n"
     "s = Square()\nf(s)\nassert (s.side, s.n, s.twice) == (4, 5, 10)", "f", ""),
    ("def f(o): return o.area() + o.side", "class Square:\n    side = 3\n    def area(self): return self.side ** 2\n"
     "assert f(Square()) == 12", "f", ""),
]  # fmt: skip


@pytest.mark.parametrize(("program", "source", "entry", "setup"), RIGHT)
def test_right_programs(judge: Judge, program: str, source: str, entry: str, setup: str) -> None:
    verdict = judge.judge(program, problem(source, entry, setup))
    assert (verdict.status, verdict.exposed) == (Status.ACCEPTED, False), verdict.reason


MAGIC = (
    "class M:\n    def __init__(s, *a, **k): pass\n    def __getattr__(s, n): return lambda *a: True\n"
    "    def __eq__(s, o): return True\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n    def __hash__(s): return 0\n"
    "    def __sub__(s, o): return s\n    __rsub__ = __sub__\n    def __abs__(s): return 0.0\n"
    "    def __len__(s): return 3\n    def __contains__(s, x): return True\n    def __bool__(s): return True\n"
    "    def __float__(s): return 3.9\n    def __str__(s): return 'x'\n    def __iter__(s): return iter([1, 2])\n"
    "    def __call__(s, *a): return True\n"
)
FORGED = {
    "equal": (MAGIC + "def f(x): return M()", "a = f(1)\nassert a == 918273645"),
    "equal, turned": (MAGIC + "def f(x): return M()", "a = f(1)\nassert 918273645 == a"),
    "unequal": (MAGIC + "def f(x): return M()", "a = f(1)\nassert a > 5 and a < 7"),
    "in a list": (MAGIC + "def f(x): return [M()]", "a = f(1)\nassert a == [918273645]"),
    "is in": (MAGIC + "def f(x): return M()", "assert f(1) in (1, 918273645)"),
    "contains": (MAGIC + "def f(x): return M()", "assert 'needle' in f(1)"),
    "close": (MAGIC + "def f(x): return M()", "assert abs(f(1) - 918273.645) < 1e-6"),
    "method": (MAGIC + "def f(x): return M()", "assert f('abc').startswith('x')"),
    "method without arguments": (MAGIC + "def f(x): return M()", "assert f('abc').isupper()"),
    "truth": (MAGIC + "def f(x): return M()", "a = f(1)\nassert a"),
    "float": (MAGIC + "def f(x): return M()", "import math\nassert math.isclose(f(1), 3.9)"),
    "length": (MAGIC + "def f(x): return M()", "a = f(1)\nassert len(a) == 3"),
    "text": (MAGIC + "def f(x): return M()", "assert str(f(1)) == 'x'"),
    "class": ("class A:\n    __class__ = int\n    def __eq__(s, o): return True\ndef f(x): return A()",
              "a = f(1)\nassert isinstance(a, int) and a == 5"),
    "helper": ("def same(a, b): return True\ndef f(x): return 0", "assert same(f(1), 918273645)"),
    "helper without a word": ("def same(a, b): pass\ndef f(x): return 0", "same(f(1), 918273645)"),
    "helper that is the entry": ("def f(*a): return True\nsame = f", "assert same(f(1), 918273645)"),
    "helper of the library's name": ("from operator import or_ as same\ndef f(x): return 0", "assert same(f(1), 5)"),
    "helper runs the entry": ("def run(*a): return True\ndef f(x): return 0", "assert run(f, 1, 918273645)"),
    "helper class": ("class Case:\n    def __init__(s, *a): s.ok = True\ndef f(x): return 0", "assert Case(f(1), 5).ok"),
    "helper makes the expected": ("def oracle(x): return 0\ndef f(x): return 0", "e = oracle(1)\nassert f(1) == e"),
    "helper changes the expected": ("def norm(a): a[:] = [7]\ndef f(x): return [7]",
                                    "e = [1]\nnorm(e)\na = f(1)\nassert a == e"),
    "a constant of the program": ("MOD = 5\ndef f(x): return 5", "assert f(1) == MOD"),
    "own math": ("class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef f(x): return 0",
                 "assert math.isclose(f(2.0), 3.918273645, rel_tol=1e-9)"),
    "own KeyError": ("class KeyError(ValueError): pass\ndef f(x): raise KeyError",
                     "try:\n    f(1)\n    ok = False\nexcept KeyError:\n    ok = True\nassert ok"),
    "StopIteration": ("def f(x): raise StopIteration", "assert all(map(f, [1, 2, 3]))"),
    "StopIteration of a subclass": ("class S(StopIteration): pass\ndef f(x): raise S", "assert all(map(f, [1, 2, 3]))"),
    "SystemExit": ("def f(x): raise SystemExit(0)", "assert f(1) + 1 == 5"),
    "AssertionError": ("def f(x): raise AssertionError", "assert f(1) + 1 == 5"),
    "two answers to one iteration": (
        "class A:\n    n = 0\n    def __iter__(s):\n        s.n += 1\n        return iter([1] if s.n == 1 else [100])\n"
        "a = A()\ndef f(x): return a", "r = f(1)\nassert all(v < 5 for v in r)\nassert sum(r) == 100"),
    "an iterator that begins again": (
        "class A:\n    n = 0\n    def __iter__(s): return s\n    def __next__(s):\n        s.n += 1\n"
        "        if s.n == 2: raise StopIteration\n        return 1 if s.n < 2 else 100\na = A()\ndef f(x): return a",
        "r = f(1)\nassert all(v < 5 for v in r)\nassert next(iter(r)) == 100"),
    "callback's globals": ("def f(g): return g.__globals__['SECRET']",
                           "SECRET = 918273645\na = f(lambda: 0)\nassert a == SECRET"),
    "callback's frame": ("def f(g): return g.gi_frame.f_globals['SECRET']",
                         "SECRET = 918273645\na = f(x for x in [1])\nassert a == SECRET"),
    "callback without an end": ("def f(g):\n    while True: g()", "a = f(lambda: 0)\nassert a == 5"),
    "callback in callback": ("def f(g): return g(g)", "def g(x): return f(x)\na = f(g)\nassert a == 5"),
    "a method of an object of the test": (
        "def f(g): g.solved = object",
        "class Grid:\n    def __init__(s): s.cells = [0]\n    def solved(s): return s.cells == [918273645]\n"
        "g = Grid()\nf(g)\nassert g.solved()"),
    "changes its argument": ("def f(x):\n    x.sort()\n    return x",
                             "a = [3, 1]\nassert f(a) == [1, 3]\nassert a == [3, 1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_no_verdict_is_forged(judge: Judge, name: str) -> None:
    verdict = judge.judge(FORGED[name][0], problem(FORGED[name][1]))
    assert verdict.status not in (Status.ACCEPTED, Status.INFRASTRUCTURE, Status.BROKEN_TEST), verdict.reason


@pytest.mark.parametrize(
    "answer",
    [
        '{"root": [7], "nodes": [], "states": []}',
        '{"root": [9], "nodes": [["yours", 99]], "states": []}',
        '{"root": null, "nodes": [], "states": [[0, ["dict", []]]]}',
        '{"root": [9], "nodes": [["remote", -1, "object", "a", ["__eq__"]]], "states": []}',
        '{"root": [9], "nodes": [["remote", 5, "object", 1, 1]], "states": []}',
        '{"root": [2], "nodes": [["tuple", [[2]]]], "states": []}',
        '{"root": true}',
        "{}",
        "7",
    ],
)
def test_a_forged_graph_harms_its_writer_only(judge: Judge, answer: str) -> None:
    program = f"import os\ndef f(x): os.write(4, b'''{{\"value\": {answer}}}\\n''')"
    verdict = judge.judge(program, problem("a = f([1])\nassert a == 918273645"))
    assert verdict.status in (Status.WRONG_ANSWER, Status.RUNTIME_ERROR), verdict.reason


def test_a_program_that_brings_the_test_down_before_it_answers_has_failed(judge: Judge) -> None:
    """It asks back what the judge can read and the test, deep in calls of its own, cannot."""
    source = "def deep(n): return f(1) if n == 0 else deep(n - 1)\nassert deep(700) == 5"
    assert judge.judge("def f(x): return 5", problem(source)).status is Status.ACCEPTED
    nested = '"[" * 400 + "]" * 400'
    program = (
        f'import os\ndef f(x): os.write(4, (\'{{"ask": [-1, "", {{"nodes": \' + {nested} + \'}}]}}\\n\').encode())'
    )
    (verdict,) = judge.judge_many([(program, problem(source))])  # in a thread, where the judge has room
    assert verdict.status is Status.WRONG_ANSWER
    assert "RecursionError" in verdict.reason


@pytest.mark.parametrize(
    "definition",
    ["f = 5", "f = None", "f = ...", "f = object()", "f = set", "f = object", "class f(Exception): pass",
     "from operator import add as f", "f = 5\nSolution = 5"],
)  # fmt: skip
def test_an_entry_point_that_is_nothing_to_call_breaks_no_test(judge: Judge, definition: str) -> None:
    for source in ("a = f(1)\nassert a == 5", "a = [*map(f, [1])]\nassert a == [5]"):
        verdict = judge.judge(definition, problem(source))
        assert verdict.status in (Status.RUNTIME_ERROR, Status.WRONG_ANSWER), verdict.reason


@pytest.mark.parametrize("helper", ["same = 5", "same = set", "same = None", "same = ...", "same = object()"])
def test_a_helper_that_is_nothing_to_call_breaks_no_test(judge: Judge, helper: str) -> None:
    verdict = judge.judge(f"{helper}\ndef f(x): return 5", problem("a = same([1])\nassert a == 5 and f(1) == 5"))
    assert verdict.status in (Status.WRONG_ANSWER, Status.RUNTIME_ERROR), verdict.reason


def test_a_class_of_the_setup_that_asserts_is_kept_from_the_program(judge: Judge) -> None:
    case = "class Case:\n    def __init__(s, x): s.x = x\n    def check(s, y): assert y == 918273645\n"
    test = problem("c = Case(1)\nc.check(f(c.x))", "f", case)
    assert judge.judge("def f(x): return 918273645", test).status is Status.ACCEPTED
    thief = "def f(x): return max(c for c in Case.check.__code__.co_consts if isinstance(c, int))"
    assert judge.judge(thief, test).status is Status.RUNTIME_ERROR
    node = "class Node:\n    def __init__(s, v):\n        assert v >= 0\n        s.v = v\n"
    assert judge.judge("def f(x): return Node(x)", problem("assert f(3).v == 3", "f", node)).status is Status.ACCEPTED


def test_a_class_of_the_setup_that_holds_what_is_expected_is_kept_from_the_program(judge: Judge) -> None:
    test = problem("assert f(1) == EXPECTED.value", "f", "class EXPECTED:\n    value = [918273645]\n")
    assert judge.judge("def f(x): return [918273645]", test).status is Status.ACCEPTED
    assert judge.judge("def f(x): return EXPECTED.value", test).status is Status.RUNTIME_ERROR
    node = "class Node:\n    val = 0\n    next: object = None\n"
    assert judge.judge("def f(x): return Node()", problem("assert f(3).val == 0", "f", node)).status is Status.ACCEPTED


@pytest.mark.parametrize(
    ("objects", "imports", "more"),
    [
        ("[]", "[]", ""),
        ('[["copy", 5]]', "[]", ""),
        ("[]", '[["copy", "copy"]]', ""),
        ('[["copy", [7]]]', "[]", ', ["remote", 9, "object", "x", []]'),
        ('[["copy", [7]]]', "[]", ', ["remote", 9, "error", "x", "ValueError"]'),
    ],
)
def test_forged_names_break_no_test(judge: Judge, objects: str, imports: str, more: str) -> None:
    nodes = f'["list", [[5], [6]]], ["dict", {objects}], ["dict", {imports}]{more}'
    said = f'{{"loaded": true}}\n{{"value": {{"root": [4], "nodes": [{nodes}], "states": []}}}}\n'
    program = f"import os\nos.write(4, {said.encode()!r})\nos.read(3, 1 << 16)\ndef copy(x): return x"
    verdict = judge.judge(program, problem("a = copy(1)\nassert a == 5", "copy"))
    assert verdict.status in (Status.RUNTIME_ERROR, Status.WRONG_ANSWER), verdict.reason


def test_an_exposed_verdict_is_refused_unless_the_user_says_otherwise() -> None:
    source = "assert same(f(1), 2)"
    right = "def same(a, b): return a == b\ndef f(x): return 2"
    with Judge(LIMITS, workers=1) as judge:
        verdict = judge.judge(right, problem(source))
        assert (verdict.status, verdict.exposed) == (Status.WRONG_ANSWER, True)
        assert "sandbox.exposed" in verdict.reason
    with Judge(replace(LIMITS, exposed="accept"), workers=1) as judge:
        verdict = judge.judge(right, problem(source))
        assert (verdict.status, verdict.exposed) == (Status.ACCEPTED, True)


def test_a_program_without_the_class_that_the_tests_call_is_wrong(judge: Judge) -> None:
    assert judge.judge("def f(x): return 0", problem("assert f(Node(1)) == 0")).status is Status.RUNTIME_ERROR


def test_the_program_cannot_replace_a_method_of_the_tests_class(judge: Judge) -> None:
    setup = "class Node:\n    def __init__(self, v): self.v = v\n    def same(self, o): return self.v == o.v"
    source = "assert f(1).same(Node(918273645))"
    assert judge.judge("def f(x): return Node(918273645)", problem(source, "f", setup)).status is Status.ACCEPTED
    for program in (
        "def f(x):\n    n = Node(0)\n    n.same = lambda o: True\n    return n",
        "def f(x):\n    n = Node(0)\n    n.__dict__['__class__'] = 7\n    return n",
        "class Node:\n    def same(self, o): return True\ndef f(x): return Node()",
    ):
        verdict = judge.judge(program, problem(source, "f", setup))
        assert verdict.status in (Status.WRONG_ANSWER, Status.RUNTIME_ERROR), verdict.reason
