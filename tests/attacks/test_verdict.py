"""Attempts to be judged right without being right. Each is made against each kind of test; none may be accepted."""

import pytest

from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge
from tests.unit.sandbox.inside.test_remote import FORGED as FORGED_OBJECTS

SECRET = 918273645  # the expected answer; no program below can compute it

CALL = Problem("call", "", "", (TestCase("call", "[1]", str(SECRET)),), entry_point="f")
ASSERT = Problem(
    "assert", "", "", (TestCase("assert", f"def check(c):\n    assert c(1) == {SECRET}\ncheck(f)"),), entry_point="f"
)
STDIN = Problem("stdin", "", "", (TestCase("stdin", "1\n", f"{SECRET}\n"),))

WALK = """
import gc, sys
def f(x):
    seen = []
    frame = sys._getframe()
    while frame:
        seen += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    seen += gc.get_objects()
    for thing in seen:
        text = thing if isinstance(thing, str) else str(thing) if isinstance(thing, (dict, list, tuple, int)) else ""
        if str(9182736450)[:-1] in text and "10)[:-1]" not in text and "50)[:-1]" not in text:
            return 9182736450 // 10
    return 0
"""

FUNCTIONS = {
    "eq": "class A:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return A()",
    "eq in an int": "class A(int):\n    def __eq__(self, other): return True\ndef f(x): return A(1)",
    "eq in a list": "class A(list):\n    def __eq__(self, other): return True\ndef f(x): return A()",
    "metaclass": "class M(type):\n    def mro(c): return [c, int, object]\nclass A(int, metaclass=M):\n"
    "    def __int__(self): return 7\n    __index__ = __int__\ndef f(x): return A(1)",
    "class": "class A:\n    __class__ = int\ndef f(x): return A()",
    "exit at once": "import sys\nsys.exit(0)",
    "exit in the call": "import sys\ndef f(x): sys.exit(0)",
    "_exit at once": "import os\nos._exit(0)",
    "_exit in the call": "import os\ndef f(x): os._exit(0)",
    "_exit at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
    "frames": WALK,
    "StopIteration": "def f(x): raise StopIteration",
    "AssertionError": "def f(x): raise AssertionError",
    "own builtins": "import builtins\nbuiltins.AssertionError = ValueError\ndef f(x): return 0",
    "json": "import _json\n_json.make_encoder = lambda *a: 'true'\ndef f(x): return 0",
    "codec": "import sys\ndef f(x):\n    sys._getframe(1).f_globals['wire'].dumps = lambda *a: '[]'",
    "nan": "def f(x): return float('nan')",
    "generator": "def f(x):\n    yield 1",
}


def message(kind: str, content: str) -> str:
    """A program that writes a message of its own to every descriptor, and then ends or goes on."""
    line = f' {{"{kind}": {content}}}\\n'
    return f"import os\nfor d in range(3, 64):\n    try: os.write(d, b'{line}' * 9)\n    except OSError: pass\n"


FORGED = {
    f"{kind} {content} {'then ends' if ends else 'and goes on'}": message(kind, content)
    + ("os._exit(0)" if ends else "def f(x): return 0")
    for kind, content in [
        ("value", "1"),
        ("value", "true"),
        ("value", '{"$": "any", "v": 1}'),
        ("loaded", "true"),
        ("passed", "true"),
        ("verdict", '"AC"'),
        ("ready", "true"),
        ("unusable", '["a", "b"]'),
        ("raised", '["StopIteration", ""]'),
        ("raised", "7"),
        ("unplain", "[]"),
        ("call", "[[1], {}]"),
    ]
    for ends in (True, False)
}

PRINTS = {
    "verdicts": 'print("AC"); print("passed"); print(\'{"value": 1}\'); print(True)',
    "exit code": "import sys; sys.exit(0)",
    "_exit": "import os; os._exit(0)",
    "nothing": "",
    "frames": WALK + "\nprint(f(1))",
    "its input back": "print(input())",
    "writes its input": "import os\nos.truncate(0, 0)\nprint(1)",
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *FORGED])
def test_functions_cannot_cheat(judge: Judge, name: str) -> None:
    program = (FUNCTIONS | FORGED)[name]
    for problem in (CALL, ASSERT):
        verdict = judge.judge(program, problem)
        assert verdict.status not in (Status.ACCEPTED, Status.INFRASTRUCTURE), (problem.id, verdict.reason)


@pytest.mark.parametrize("name", [*PRINTS, *FORGED])
def test_printing_programs_cannot_cheat(judge: Judge, name: str) -> None:
    verdict = judge.judge((PRINTS | FORGED)[name], STDIN)
    assert verdict.status not in (Status.ACCEPTED, Status.INFRASTRUCTURE), verdict.reason


def test_these_problems_can_be_solved(judge: Judge) -> None:
    """Else the two tests above would pass for nothing."""
    function = f"def f(x): return {SECRET}"
    assert judge.judge(function, CALL).status is Status.ACCEPTED
    assert judge.judge(function, ASSERT).status is Status.ACCEPTED
    assert judge.judge(f"print({SECRET})", STDIN).status is Status.ACCEPTED


def test_the_frame_walk_finds_what_is_there_to_find(judge: Judge) -> None:
    """With the secret in its own process the same walk succeeds: it fails above because nothing is there."""
    assert judge.judge(f"hidden = [{SECRET}]\n{WALK}", CALL).status is Status.ACCEPTED


def test_a_forged_message_amounts_to_a_value(judge: Judge) -> None:
    """Whoever knows the answer may as well write it himself."""
    assert judge.judge(message("loaded", "true") + message("value", str(SECRET)), CALL).status is not Status.ACCEPTED
    forged = message("loaded", "true").replace("* 9", "") + message("value", str(SECRET)).replace("* 9", "")
    assert judge.judge(forged, CALL).status is Status.ACCEPTED


def test_a_loop_cannot_be_ended_from_within(judge: Judge) -> None:
    """StopIteration raised by the program inside `all(map(f, ...))` would end the loop, and the test would pass."""
    problem = Problem("loop", "", "", (TestCase("assert", "assert all(map(f, [1, 2, 3]))"),), entry_point="f")
    assert judge.judge("def f(x): raise StopIteration", problem).status is Status.RUNTIME_ERROR
    assert judge.judge("def f(x): return True", problem).status is Status.ACCEPTED


@pytest.mark.parametrize(
    "line", [' {"value": 1}', '{"value":1}\\r', '{"value": 1, "value": 1}', '{"raised": ["", ""]}']
)
def test_an_odd_message_cannot_break_the_evaluator(judge: Judge, line: str) -> None:
    """If the tests' process stumbled over the form of an answer, a program could buy the verdict that is not scored."""
    lines = f'{{"loaded": true}}\\n{line}\\n'
    program = f"import os\nfor d in range(3, 64):\n    try: os.write(d, b'{lines}')\n    except OSError: pass"
    verdict = judge.judge(program, ASSERT)
    assert verdict.status in (Status.WRONG_ANSWER, Status.RUNTIME_ERROR), verdict.reason


@pytest.mark.parametrize("name", FORGED_OBJECTS)
def test_objects_and_names_of_the_program_cannot_decide(strict: Judge, name: str) -> None:
    program, source = FORGED_OBJECTS[name]
    verdict = strict.judge(program, Problem(name, "", "", (TestCase("assert", source),), entry_point="f"))
    assert verdict.status not in (Status.ACCEPTED, Status.INFRASTRUCTURE, Status.BROKEN_TEST), verdict.reason
