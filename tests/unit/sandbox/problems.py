"""Small problems of each kind for the tests of the judge, and its limits there."""

from reforge.records import Problem, TestCase
from reforge.sandbox.judge import Limits

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=10.0, memory_mb=256, output_kb=64)


def stdin(*pairs: tuple[str, str]) -> Problem:
    return Problem("stdin", "", "", tuple(TestCase("stdin", given, expected) for given, expected in pairs))


def call(*pairs: tuple[str, str]) -> Problem:
    tests = tuple(TestCase("call", given, expected) for given, expected in pairs)
    return Problem("call", "", "", tests, entry_point="f")


def asserts(*sources: str, setup: str = "") -> Problem:
    tests = tuple(TestCase("assert", source) for source in sources)
    return Problem("assert", "", "", tests, entry_point="f", setup=setup)


ADD = stdin(("1 2\n", "3\n"), ("10 20\n", "30\n"))
SUM = call(("[[1, 2]]", "3"), ("[[]]", "0"))
