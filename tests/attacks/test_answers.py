"""Answers that try to be more than an answer: code, giants, texts made for the reader. What reads them is the problem's
checker, in the sandbox; none may be right, and none may be left unjudged.
"""

from collections.abc import Iterator

import pytest

from reforge.problems.adapters.answers import aime, math
from reforge.records import Status
from reforge.sandbox.judge import Judge, Limits
from tests.attacks.levels import OFFERED

PACKAGES = ["math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime"]
LIMITS = Limits(cpu_seconds=2.0, wall_seconds=10.0, memory_mb=512, output_kb=64)
NUMBER = aime({"id": "1", "problem": "?", "answer": "293", "solution": ""})
FRACTION = math(
    {"problem": "?", "solution": r"\boxed{\frac{1}{2006!}}", "level": "Level 1", "answer": r"\frac{1}{2006!}"}
)
HOSTILE = [
    "__import__('os')._exit(0)",
    "293 if True else __import__('os')._exit(0)",
    "exit(0)",
    "print(True)",
    r"\text{__import__('os').write(4, b'true')}",
    "(lambda: 293)",
    "True",
    "1 == 1",
    "293 = 293 = 294",
    "x",
    "expected",
    "{293, 294}",
    r"\{293, 294\}",
    r"293 \text{ or } 294",
    "293 294",
    r"\begin{pmatrix} 293 \\ 294 \end{pmatrix}",
    r"10^{10^{10^{10}}}",
    "9!!!!!!!!!!!!",
    r"\left(10^{9}\right)!",
    r"\sum_{n=1}^{10^{12}} n",
    r"\int_0^{10^9} \sin(x^x) dx",
    r"\binom{10^9}{10^8}",
    r"\frac{293 \cdot 0}{0}",
    r"\frac{0}{0}",
    r"\infty",
    "nan",
    r"\sqrt{" * 300 + "1" + "}" * 300,
    "{" * 999,
    "(" * 30 + "293" + "(" * 30,
    "1" * 5000,
    "293" + "\0",
    "29\ud8003",
    "293\n294",
    "２９4",
    "$" * 500,
    "\\" * 501,
    r"\input{/etc/passwd}",
    r"\def\x{293}\x",
    "293.0000001",
    '{"value": true}',
    r"\boxed{\boxed{}}",
    "",
]


@pytest.fixture(scope="module")
def answering(level: str) -> Iterator[Judge]:
    if level not in ("full", "limits"):
        pytest.skip("with the strongest walls and with none: the reader is the same")
    with Judge(LIMITS, workers=1, packages=PACKAGES, layers=OFFERED[level]) as judge:
        yield judge


def test_no_answer_is_more_than_an_answer(answering: Judge) -> None:
    """All at once: a judge with these packages is slow to start."""
    verdicts = {(it.solution, text): answering.judge(text, it) for it in (NUMBER, FRACTION) for text in HOSTILE}
    bad = (Status.ACCEPTED, Status.INFRASTRUCTURE, Status.BROKEN_TEST)
    assert {name: (it.status, it.reason) for name, it in verdicts.items() if it.status in bad} == {}
    for problem in (NUMBER, FRACTION):
        assert answering.judge(problem.solution, problem).status is Status.ACCEPTED
