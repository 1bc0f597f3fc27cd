import pytest

from reforge.records import Problem, TestCase
from reforge.sandbox.asserts import Call, Source, Step, Want, job_of, shown_of, steps_of


def step(source: str, setup: str = "") -> Step:
    return steps_of(Problem("p", "", "", (TestCase("assert", source),), entry_point="f", setup=setup))[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("assert f(1, -2) == [3, (4, {5})]", Call([1, -2], {}, Want("==", [3, (4, {5})]))),
        ("assert f(1, x={'a': None}) != 'b', 'why'", Call([1], {"x": {"a": None}}, Want("!=", "b"))),
        ("assert 3 == f()", Call([], {}, Want("==", 3))),
        ("assert f(1) is None", Call([1], {}, Want("is", None))),
        ("assert f(1) is True", Call([1], {}, Want("is", True))),
        ("assert f(1)", Call([1], {}, Want("truth", True))),
        ("assert not f(1)", Call([1], {}, Want("truth", False))),
    ],
)
def test_a_lone_call_is_taken_out(source: str, expected: Step) -> None:
    assert step(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "assert f(f(1)) == 2",
        "assert set(f(1)) == {2}",
        "assert f(1)[0] == 2",
        "assert f(1) == float('inf')",
        "assert f(1) is 5",
        "assert f(1) in (1, 2)",
        "assert 1 < f(1) < 3",
        "assert f(*[1]) == 2",
        "assert f(**{}) == 2",
        "assert f(1) == f(2)",
        "assert 1 == 1",
        "x = 1\nassert f(x) == 2",
        "def check(c):\n    assert c(1) == 2\ncheck(f)",
        "assert f(",
    ],
)
def test_anything_else_stays_as_it_is(source: str) -> None:
    assert step(source) == Source(source)


def test_what_only_the_program_knows_is_told_apart() -> None:
    def job(source: str, setup: str = "") -> dict[str, object]:
        return job_of(Problem("p", "", "", (TestCase("assert", source),), entry_point="f", setup=setup))

    assert step("assert f(Node(1)) == 3") == Source("assert f(Node(1)) == 3")
    assert job("assert f(Node(1)) == 3")["names"] == ["Node", "Solution", "f"]
    assert job("assert f(root) == 3", setup="root = Node(1)")["called"] == ["Node", "f"]
    assert job("assert f(math.inf) == 3", setup="import math")["modules"] == []
    assert job("assert f(math.inf) == 3")["modules"] == ["math"]


def test_the_program_is_shown_the_classes_of_setup_and_nothing_else() -> None:
    setup = (
        "import math\nSECRET = 7\nclass Node: pass\nclass Case:\n    def run(self): return f(1) == 7\ndef g(): return 7"
    )
    shown = shown_of(Problem("p", "", "", (), entry_point="f", setup=setup))
    assert shown == {"definitions": ["import math", "class Node:\n    pass"], "classes": ["Node"]}
    assert shown_of(Problem("p", "", "", (), entry_point="f", setup="import math\nSECRET = 7")) == {}


@pytest.mark.parametrize(
    ("want", "given", "holds"),
    [
        (Want("==", 1), True, True),  # as in Python
        (Want("==", 1), 1.0, True),
        (Want("==", [1]), (1,), False),
        (Want("==", 1), 2, False),
        (Want("!=", 1), 2, True),
        (Want("!=", 1), 1, False),
        (Want("is", True), 1, False),
        (Want("is", True), True, True),
        (Want("is", None), None, True),
        (Want("is", None), 0, False),
        (Want("truth", True), [0], True),
        (Want("truth", False), [], True),
        (Want("truth", False), [0], False),
    ],
)
def test_wants(want: Want, given: object, holds: bool) -> None:
    assert want.holds(given) is holds
