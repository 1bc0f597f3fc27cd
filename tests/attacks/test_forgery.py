"""Wrong programs that try to be judged right, or not to be judged. Each family has a right program that is accepted
with the very same tests, so that no attempt fails for a dull reason.
"""

import os

import pytest

from reforge.records import Checker, Problem, Status, TestCase, Verdict
from reforge.sandbox.judge import Judge
from tests.attacks.forgeries import CLEARS, FUNCTIONS, PRINTS, SECRET, TESTS, WAITING

# A checker that works with files, as those of some problems do.
WRITES = (
    "import json\ndef check(input, expected, output):\n    open('answer', 'w').write(output)\n"
    "    return open('answer').read().split() == json.loads(json.dumps(expected)).split()"
)
SOURCE = f"a = f(1)\nassert a == {SECRET}"
CALLED = (
    Problem("call", "", "", (TestCase("call", "[1]", str(SECRET)),), entry_point="f"),
    Problem("lcb call", "", "", (TestCase("call", "[1]", str(SECRET)),), entry_point="f", checker=Checker("lcb")),
    Problem("assert", "", "", (TestCase("assert", f"assert f(1) == {SECRET}"),), entry_point="f"),
    Problem("source", "", "", (TestCase("assert", SOURCE),), entry_point="f"),
)
PRINTED = tuple(
    Problem(checker.rule, "", "", (TestCase("stdin", "1\n", f"{SECRET}\n"),), checker=checker)
    for checker in (Checker(), Checker("lcb"), Checker("program", source=WRITES))
)


def source_problem(name: str) -> Problem:
    source, _, setup, _ = TESTS[name]
    entry = next((it for it in ("compress", "F") if f"{it}(" in source), "f")
    return Problem(name, "", "", (TestCase("assert", source),), entry_point=entry, setup=setup)


def won(verdict: Verdict) -> str:
    """Return what an attack has won: a status that is accepted or not scored, with its reason. Empty where nothing."""
    gains = (Status.ACCEPTED, Status.INFRASTRUCTURE, Status.BROKEN_TEST)
    return f"{verdict.status} {verdict.reason}" if verdict.status in gains else ""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(strict: Judge, name: str) -> None:
    for problem in CALLED[-1:] if name in WAITING else CALLED:
        assert won(strict.judge(FUNCTIONS[name], problem)) == ""


@pytest.mark.parametrize("name", PRINTS)
def test_programs_that_print(strict: Judge, name: str) -> None:
    for problem in PRINTED:
        assert won(strict.judge(PRINTS[name], problem)) == ""


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in TESTS for name in TESTS[family][-1]])
def test_objects_of_the_program(strict: Judge, family: str, name: str) -> None:
    assert won(strict.judge(TESTS[family][-1][name], source_problem(family))) == ""


def test_right_programs_pass_the_same_tests(judge: Judge) -> None:
    verdicts = {problem.id: judge.judge(f"def f(x): return {SECRET}", problem) for problem in CALLED}
    verdicts |= {problem.id: judge.judge(f"print({SECRET})", problem) for problem in PRINTED}
    verdicts |= {name: judge.judge(right, source_problem(name)) for name, (_, right, _, _) in TESTS.items() if right}
    assert {name: (it.status, it.reason) for name, it in verdicts.items() if it.status is not Status.ACCEPTED} == {}


def test_no_call_spoils_the_tests_that_follow(judge: Judge) -> None:
    tests = (TestCase("assert", "a = f(DATA)\nassert a == 6"), TestCase("assert", "b = DATA[0]\nassert f([b]) == 3"))
    problem = Problem("two", "", "", tests, entry_point="f", setup="DATA = [3, 1, 2]")
    assert judge.judge("def f(x): return sum(x)", problem).status is Status.ACCEPTED
    assert won(judge.judge(CLEARS, problem)) == ""


def test_tests_without_a_program_to_blame_are_still_broken(judge: Judge) -> None:
    problem = Problem("broken", "", "", (TestCase("assert", "b = [][0]\nassert f(b) == 3"),), entry_point="f")
    assert judge.judge("def f(x): return 3", problem).status is Status.BROKEN_TEST


@pytest.mark.parametrize("source", ["assert f(Colour.RED) == 1", "assert f(helper) == 1", "assert f(Node(1)) == 1"])
def test_a_program_that_leaves_out_what_the_tests_use_of_it_has_failed(judge: Judge, source: str) -> None:
    problem = Problem("uses", "", "", (TestCase("assert", source),), entry_point="f")
    defines = (
        "import enum\nclass Colour(enum.Enum): RED = 1\nclass Node:\n    def __init__(s, v): pass\ndef helper(): pass\n"
    )
    assert judge.judge(f"{defines}def f(x): return 1", problem).status is Status.ACCEPTED
    assert won(judge.judge("def f(x): return 1", problem)) == ""


def test_a_program_cannot_end_its_tests(strict: Judge) -> None:
    """Where a program may signal others, a verdict that is not scored could be had that way."""
    program = (
        "import os, threading\ndef run():\n    while True:\n        try: os.kill(-1, 9)\n        except OSError: pass\n"
        "threading.Thread(target=run, daemon=True).start()\ndef f(x): return 0"
    )
    if os.geteuid() != 0 and strict._fleet.layers == ():
        pytest.skip("it would end everything of this user")
    assert won(strict.judge(program, CALLED[-1])) == ""


# Its objects stand for what they are: nodes of its own making may be walked as anywhere.
WALKED = (
    "class N:\n    def __init__(s, v, n=None): s.v, s.n = v, n\n"
    "def f(values):\n    head = None\n    for v in reversed(values): head = N(v, head)\n    return head\n"
)


@pytest.mark.parametrize(
    "source",
    [
        "h = f([1, 2, 3])\nv = []\nwhile h:\n    v.append(h.v)\n    h = h.n\nassert v == [1, 2, 3]",
        "h = f([1])\nassert h and not h.n and h.v == 1",
        "h = f([])\nassert not h",
        "h = f([1, 2])\nassert h.n is not None and h.n.n is None and bool(h)",
    ],
)
def test_objects_of_a_right_program_may_be_asked_whether_they_are_there(judge: Judge, source: str) -> None:
    problem = Problem("walk", "", "", (TestCase("assert", source),), entry_point="f")
    verdict = judge.judge(WALKED, problem)
    assert (verdict.status, verdict.exposed) == (Status.ACCEPTED, False), verdict.reason


def test_objects_made_for_the_entry_point_are_no_answers(judge: Judge) -> None:
    program = "class N:\n    def __init__(s, v, n=None): s.v, s.n = v, n\n"
    program += "def f(h):\n    while h:\n        h.v += 1\n        h = h.n"
    source = "h = N(1, N(2))\nf(h)\nv = []\nwhile h:\n    v.append(h.v)\n    h = h.n\nassert v == [2, 3]"
    verdict = judge.judge(program, Problem("made", "", "", (TestCase("assert", source),), entry_point="f"))
    assert (verdict.status, verdict.exposed) == (Status.ACCEPTED, False), verdict.reason
