"""The truth that the sandbox's verdicts are held against must itself be right."""

import pytest

from benchmarks.sandbox.endurance import claims_of
from benchmarks.sandbox.mutants import agreement, mutants_of, plain_run


def test_every_operator_constant_and_returned_value_is_changed_once():
    assert mutants_of("def f(x):\n    return x + 1 < 2") == [
        "def f(x):\n    return [x + 1 < 2]",
        "def f(x):\n    return x + 1 <= 2",
        "def f(x):\n    return x - 1 < 2",
        "def f(x):\n    return x + 1 < 3",
        "def f(x):\n    return x + 2 < 2",
    ]
    assert mutants_of("pass") == []


def test_a_plain_run_says_what_a_program_returns_and_nothing_where_it_fails():
    program = "def f(x):\n    if x == 2: raise ValueError\n    if x == 3: return object()\n    return (x, {1})"
    said = plain_run(program, "f", ["[1]", "[2]", "[3]"], seconds=5)
    assert said == ['{"$": "tuple", "v": [1, {"$": "set", "v": [1]}]}', None, None]
    assert plain_run("while True: pass", "f", ["[1]", "[2]"], seconds=1) == [None, None]


@pytest.mark.parametrize(
    ("answer", "expected", "level"),
    [
        ("[1, 2]", "[1, 2]", "same"),
        ('{"$": "set", "v": [1, 2]}', '{"$": "set", "v": [2, 1]}', "same"),
        ('{"$": "tuple", "v": [1, 2]}', "[1, 2]", "close"),
        ("1.0", "1", "close"),
        ("0.30000000000000004", "0.3", "close"),
        ("true", "1", "other"),
        ("2", "1", "other"),
        (None, "1", "other"),
    ],
)
def test_how_near_two_answers_are(answer, expected, level):
    assert agreement([expected, answer], [expected, expected]) == level


def test_a_leak_is_told():
    still = {"processes": 5, "descriptors": 30, "mounts": 70, "files": 0, "memory_kb": 1000}
    leaking = {**still, "descriptors": 31, "memory_kb": 1021}
    assert all(claim["met"] for claim in claims_of([still, still, still], left=0))
    missed = [claim["claim"].split()[0] for claim in claims_of([still, still, leaking], left=1) if not claim["met"]]
    assert missed == ["descriptors", "memory", "processes"]
