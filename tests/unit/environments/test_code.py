import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.records import Problem, Rollout, Status, TestCase, Verdict
from reforge.sandbox.boxed import boxed
from reforge.sandbox.judge import Judge, Limits
from tests.unit.environments.reading import graded, program_in

DOUBLE = Problem("double", "", "", (TestCase("call", "[2]", "4"), TestCase("call", "[5]", "10")), entry_point="f")


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("", None),
        ("no code", None),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("think\n```\nx = 1\n```\nbye", "x = 1\n"),
        ("```py\nfirst\n```\n```py\nlast\n```  \n", "last\n"),
        ("```python\nx = 1\n", None),
        ("```python\nwhole\n```\n```python\ncut off", "whole\n"),
        ("```python\nx = '```'\n```", "x = '```'\n"),
        ("```python\n```", ""),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        ("inline ```x``` is no block", None),
        ("```x``` is none either", None),
    ],
)
def test_the_last_complete_block_counts(text: str, program: str | None) -> None:
    assert program_in(text) == program


@given(st.text(alphabet="`\nab \r"))
def test_any_text_can_be_read(text: str) -> None:
    program = program_in(text)
    assert program is None or not program or program.rstrip("\n") in text


def test_a_repeated_fence_takes_linear_time() -> None:
    assert program_in("```python\n" * 200_000) is None  # a backtracking expression would run for hours


def rollout(text: str) -> Rollout:
    return Rollout("double", 0, 0, (), (), (), (), "stop", text)


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("```python\ndef f(x): return 2 * x\n```", 1.0, Status.ACCEPTED),
        ("```python\ndef f(x): return 4\n```", 0.0, Status.WRONG_ANSWER),  # one of two tests earns nothing
        ("```python\ndef f(x: return 4\n```", 0.0, Status.COMPILE_ERROR),
        ("def f(x): return 2 * x", 0.0, Status.NO_PROGRAM),
    ],
)
def test_score(text: str, value: float, status: Status) -> None:
    with Judge(Limits(1.0, 10.0, 256, 64), workers=1) as judge:
        reward = graded(rollout(text), DOUBLE, judge)
    assert reward.value == value
    assert reward.parts == {"accuracy": value}
    assert reward.verdict.status is status


def test_an_infrastructure_failure_is_not_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    with Judge(Limits(1.0, 10.0, 256, 64), workers=1) as judge:
        monkeypatch.setattr(judge, "judge", lambda *_: Verdict(Status.INFRASTRUCTURE, "no disk"))
        reward = graded(rollout("```\nx\n```"), DOUBLE, judge)
    assert reward.value is None
    assert reward.parts == {}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", None),
        ("it is 7", None),
        ("\\boxed{7}", "7"),
        ("\\boxed{1} no, \\boxed{ \\frac{1}{2} }.", "\\frac{1}{2}"),
        ("\\boxed{1} and \\boxed{2", None),
        ("\\boxed{}", ""),
        ("\\boxed{1} } \\boxed 3", "3"),
        ("\\boxed {5}", "5"),
        ("\\boxed\n{5}", "5"),
        ("$\\boxed 42$.", "42"),
        ("\\boxed\\frac{1}{2}.", "\\frac{1}{2}"),
        ("\\fbox{5}", "5"),
        ("\\\\boxed{5}", "5"),
        ("\\boxedin{5}", None),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\left\\{x=1\\right.}", "\\left\\{x=1\\right."),
        ("\\boxed{5} (I put it into \\boxed{} as asked)", "5"),
        ("\\boxed{5} (I put it into \\boxed as asked)", "5"),
        ("\\boxed{\\boxed{5}}", "5"),
        ("\\boxed{\\boxed{5} or \\boxed{6}}", "{5} or {6}"),
        ("I write \\boxed{ and say \\boxed{6}", "6"),
    ],
)
def test_the_last_filled_box_counts_if_none_is_left_open(text: str, answer: str | None) -> None:
    assert boxed(text) == answer


def test_a_repeated_box_takes_linear_time() -> None:
    assert boxed("\\boxed{" * 200_000) is None
    assert boxed("\\boxed" * 200_000) is None
    assert boxed("\\boxed{" * 100_000 + "}" * 100_000) is not None


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("\\boxed{7}", 1.0, "AC"),
        ("<think>\\boxed{7}", 0.0, "NP"),
        ("<think>\\boxed{7}</think> I do not know.", 0.0, "NP"),
        ("\\boxed{8}</think>\\boxed{7}", 1.0, "AC"),
        ("\\boxed{8}", 0.0, "WA"),
        ("```python\nprint(7)\n```", 0.0, "NP"),
        ("7", 0.0, "NP"),
    ],
)
def test_where_an_answer_is_asked_for_a_program_earns_nothing(text: str, value: float, status: str) -> None:
    seven = Problem("seven", "", "7", (TestCase("answer", "", "7"),))
    with Judge(Limits(1.0, 10.0, 256, 64), workers=1) as judge:
        reward = graded(rollout(text), seven, judge)
    assert (reward.value, str(reward.verdict.status)) == (value, status)
