import contextlib
import itertools
import json
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.sandbox import kinds, wire
from reforge.sandbox.checkers import same_value

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    hashable | st.complex_numbers(allow_nan=False) | st.sets(hashable, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(hashable, inner, max_size=3),
    max_leaves=20,
)


@given(values)
def test_every_plain_value_survives_the_way(value: object) -> None:
    back = wire.loads(wire.dumps(value, 1 << 20))
    assert type(back) is type(value)
    assert back == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_plain_json_stays_plain(value: object) -> None:
    assert json.loads(wire.dumps(value, 1 << 20)) == value


def test_a_json_object_reads_as_a_dict() -> None:
    assert wire.loads('{"a": {"b": 1}}') == {"a": {"b": 1}}


class Color(IntEnum):
    RED = 1


class Liar(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "lie"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Hollow(list):  # type: ignore[type-arg]
    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter([1, 2, 3])

    def __len__(self) -> int:
        return 3


class Sly(dict):  # type: ignore[type-arg]
    def items(self):  # type: ignore[no-untyped-def]
        return [(1, "lie")]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, {1: [2]}), {1: [2]}),
        (namedtuple("Point", "x y")(1, 2), (1, 2)),
        (Color.RED, 1),
        (Liar("truth"), "truth"),
        (Hollow(), []),
        (Sly(a=1), {"a": 1}),
    ],
)
def test_subclasses_are_reduced_by_the_base_class(value: object, plain: object) -> None:
    back = wire.loads(wire.dumps(value, 1000))
    assert type(back) is type(plain)
    assert same_value(plain, back)


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def doubling(times: int) -> list[object]:
    value: list[object] = [1]
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize("value", [10**5000, -(10**5000), [{1 << 100_000: True}]], ids=["plus", "minus", "key"])
def test_integers_longer_than_python_converts_from_text_cross_as_they_are(value: object) -> None:
    assert wire.loads(wire.dumps(value, 1 << 16)) == value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "an object, which is not plain data"),
        ((i for i in range(3)), "a generator, which is not plain data"),
        ([1, print], "builtin_function_or_method"),
        ([10**5000], "an integer of 16610 bits"),
        (nested(101), "nested more than 100 deep"),
        (doubling(60), "too large"),
        (["a" * 2000], "more than 1000 bytes"),
    ],
)
def test_what_is_not_plain_is_refused(value: object, reason: str) -> None:
    with pytest.raises(kinds.NotPlainError, match=reason):
        wire.dumps(value, 1000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        '{"$": "object", "v": 1}',
        '{"$": ["set"], "v": []}',
        '{"$": "set"}',
        '{"$": "set", "v": [[1]]}',
        '{"$": "bytes", "v": "zz"}',
        '{"$": "int", "v": "zz"}',
        '{"$": "int", "v": 5}',
        '{"$": "dict", "v": [[1]]}',
        '{"$": "complex", "v": 5}',
        '{"$": "complex", "v": [1, ' + "9" * 400 + "]}",
        '{"$": "complex", "v": [' + "9" * 400 + "]}",
        '{"$": "complex", "v": ["1j", 0.0]}',
        '{"$": "tuple", "v": "ab"}',
        '{"$": "tuple", "v": {"a": 1}}',
        '{"$": "dict", "v": ["ab"]}',
        '{"$": "set", "v": [1], "w": 2}',
        '{"$": "type", "v": ["int"]}',
        "9" * 5_000,
        "[" * 500 + "]" * 500,
        "[" * 100_000,
    ],
)
def test_malformed_texts_raise_only_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="malformed typed JSON"):
        wire.loads(text)


def test_a_message_of_ours_may_hold_the_deepest_value_of_a_program() -> None:
    deepest = nested(99)
    assert wire.loads(wire.dumps(deepest, 1000)) == deepest
    arguments = [[deepest, deepest], {}]
    with pytest.raises(wire.NotPlainError):
        wire.dumps(arguments, 1000)
    text = wire.dumps(arguments, 1000, wire.MESSAGE_DEPTH)
    with pytest.raises(ValueError, match="malformed"):
        wire.loads(text)
    assert wire.build(wire.parse(text), wire.MESSAGE_DEPTH) == arguments


MODULUS = (1 << 61) - 1  # to Python, all its multiples have the hash 0


def tagged(kind: str, value: object) -> dict[str, object]:
    return {"$": kind, "v": value}


COLLIDING = {
    "integers": lambda n: [MODULUS * k for k in range(n)],
    "pairs": lambda n: [tagged("tuple", [MODULUS * k, 1]) for k in range(n)],
    "sets": lambda n: [tagged("frozenset", [MODULUS * k]) for k in range(n)],
}


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
@pytest.mark.parametrize("members", [COLLIDING["integers"], COLLIDING["pairs"], COLLIDING["sets"]])
@pytest.mark.parametrize("around", [lambda x: x, lambda x: [[x]], lambda x: {"a": tagged("tuple", [x])}])
def test_members_made_to_collide_are_refused_before_they_meet(kind, members, around) -> None:  # type: ignore[no-untyped-def]
    def tree(count: int) -> object:
        items = members(count)
        return around(tagged(kind, [[item, 0] for item in items] if kind == "dict" else items))

    wire.build(tree(100))
    with pytest.raises(ValueError, match="malformed"):
        wire.build(tree(101))


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
def test_long_members_that_collide_are_refused_sooner(kind: str) -> None:
    """Each comparison of two that differ at their end takes as long as they are: -1 and -2 have one hash."""

    def tree(count: int, length: int) -> object:
        ends = itertools.islice(itertools.product((-1, -2), repeat=7), count)
        items = [tagged("tuple", [0] * length + list(end)) for end in ends]
        return tagged(kind, [[item, 0] for item in items] if kind == "dict" else items)

    wire.build(tree(16, 10_000))
    wire.build(tree(100, 500))
    with pytest.raises(ValueError, match="malformed"):
        wire.build(tree(17, 10_000))


def test_large_sets_of_ordinary_members_are_built() -> None:
    steps = set(itertools.product(range(-2, 3), repeat=6))
    assert wire.loads(wire.dumps(steps, 1 << 24)) == steps
    for members in (range(-5000, 5000), [k << 40 for k in range(5000)], [k / 7 for k in range(5000)]):
        assert wire.build(tagged("set", list(members))) == set(members)


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, "0x" + "f" * 400]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(tagged, st.sampled_from(["int", "tuple", "dict", "set", "complex", "bytes", "type", "x"]), inner)
    ),
    max_leaves=30,
)


@given(json_trees)
def test_any_tree_is_a_value_or_a_value_error(tree: object) -> None:
    try:
        value = wire.build(tree)
    except ValueError:
        return
    assert wire.loads(wire.dumps(value, 1 << 20)) == value or value != value or "nan" in repr(value)


@given(st.text() | st.binary())
def test_any_text_is_a_tree_or_a_value_error(text: str | bytes) -> None:
    try:
        tree = wire.parse(text)
    except ValueError:
        return
    assert type(tree) in (dict, list, str, int, float, bool, type(None))


@given(json_trees)
def test_each_node_is_visited_once(tree: object) -> None:
    """The work is counted, not timed: so many calls as there are nodes, or fewer where one is refused."""

    def nodes(node: object) -> int:
        if isinstance(node, list):
            return 1 + sum(map(nodes, node))
        return 1 + sum(map(nodes, node.values())) if isinstance(node, dict) else 1

    visits = 0
    real = wire._build

    def counted(node: object, left: int) -> object:
        nonlocal visits
        visits += 1
        return real(node, left)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_build", counted)
        with contextlib.suppress(ValueError):
            wire.build(tree)
    assert visits <= nodes(tree)


@pytest.mark.parametrize(
    ("text", "deepest"),
    [
        ("[" * 500 + "]" * 500, False),
        ("[" * 10**6, False),
        ('{"a":' * 500 + "1" + "}" * 500, False),
        ("[" * 400 + "]" * 400, True),
        ("[" + ",".join(["[[]]"] * 1000) + "]", True),
        (json.dumps(["[" * 1000, '"' + "[" * 1000, "\\" + "{" * 1000, '\\"' * 500 + "[" * 1000]), True),
    ],
)
def test_how_deep_a_message_may_be_is_not_up_to_the_interpreter(text: str, deepest: bool) -> None:
    """With a limit beyond what the stack holds, json.loads would end this process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**7)
    try:
        if deepest:
            assert wire.parse(text) == json.loads(text)
        else:
            with pytest.raises(ValueError, match="malformed"):
                wire.parse(text)
    finally:
        sys.setrecursionlimit(limit)
