"""The judge between the tests' process and the program's: carries questions and answers, and notes who decided.

A verdict is *exposed* where the truth of a test came from the program itself: it compared, or one of its names other
than the entry point said something plain, or a method of an answer did whose type only the program knows.
"""

from __future__ import annotations

from typing import Any

from reforge.sandbox.answers import failure_of, outcome_of, stumbled
from reforge.sandbox.asserts import entries_of
from reforge.sandbox.limits import Failed
from reforge.sandbox.process import FOREIGN, Child
from reforge.types import Status

_NESTED = 50  # questions in answer to questions
_HELPER, _ANSWER, _RESULT, _METHOD, _OWN, _ENTRY = range(6)  # how far what an object says is the answer itself
_COMPARING = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}
_CHANGING = {"__setattr__", "__delattr__", "__setitem__", "__delitem__"}
_UNARY = {
    "__len__", "__iter__", "__next__", "__getitem__", "__contains__", "__bool__", "__str__", "__repr__", "__int__",
    "__float__", "__index__", "__hash__", "__enter__", "__exit__", "__reversed__", "__getattribute__",
}  # fmt: skip


class Exposure:
    """`entry` names the entry point; of a method, its class is one, too. A name that begins with a capital is that of a
    class: what its instances say is what was asked for.
    """

    def __init__(self, entry: str) -> None:
        self.exposed = False
        self.answered = False  # by the entry point, in this test
        self._entries = entries_of(entry)
        self._levels: dict[int, int] = {}
        self._names: set[int] = set()  # of objects that a name of the program stands for
        self._classes: set[int] = set()
        self._iterated: set[int] = set()

    def note(self, number: int, special: str, question: Any, message: dict[str, Any]) -> None:
        """One question to the program and its answer. Whatever is malformed counts as exposed."""
        try:
            if number == 0:
                self._resolve(question, message["value"])
            else:
                self._note(number, special, question, message)
        except (KeyError, IndexError, TypeError, ValueError):
            self.exposed = True

    def _resolve(self, question: Any, answer: Any) -> None:
        """Names of the program, looked up by the tests."""
        known = len(question["nodes"])
        nodes = dict(enumerate(answer["nodes"], known))
        for name, item in nodes[nodes[answer["root"][0]][1][0][0]][1]:
            if type(item) is not list:
                self.exposed = True  # plain
                continue
            node = nodes[item[0]]
            if node[0] != "remote":
                self.exposed |= node[0] != "constant"
                continue
            level = _ENTRY if name in self._entries else _HELPER
            self._levels[node[1]] = min(level, self._levels.get(node[1], level))
            self._names.add(node[1])
            if level == _ENTRY and name[:1].isupper():
                self._classes.add(node[1])

    def _note(self, number: int, special: str, question: Any, message: dict[str, Any]) -> None:
        level = self._levels.get(number, _HELPER)
        if special == "__call__" and level >= _RESULT:
            self.answered = True
            for node in question["nodes"]:
                if node[0] == "yours" and node[1] not in self._names and self._levels.get(node[1], 0) == _HELPER:
                    self._levels[node[1]] = _RESULT  # an object that the entry point may change
        if "threw" in message:
            self.exposed |= level == _HELPER or special in _COMPARING
            return
        answer = message["value"]
        handles, plain = _content(answer)
        if special == "__iter__" and handles == [number]:
            return  # an iterator says that it is one
        said, result = self._judged(number, level, special)
        silent = answer["root"] is None and not (level == _HELPER and self.answered)
        if special not in _CHANGING and not said and (plain or answer["states"] or not (silent or handles)):
            self.exposed = True
        for handle in handles:
            self._levels[handle] = min(result, self._levels.get(handle, result))

    def _judged(self, number: int, level: int, special: str) -> tuple[bool, int]:
        """Whether something plain may come of it, and how far an object that comes of it is the answer."""
        if level == _HELPER or special in _COMPARING:
            return False, _HELPER
        if special == "__call__":
            if level == _ENTRY:
                return True, _OWN if number in self._classes else _RESULT
            return level >= _RESULT, _RESULT if level >= _RESULT else _ANSWER
        if special == "__getattribute__":
            return True, {_ENTRY: _METHOD, _OWN: _METHOD}.get(level, _ANSWER)
        if level == _OWN:
            return special in _UNARY, _RESULT
        if special == "__iter__":
            once = number not in self._iterated
            self._iterated.add(number)
            return once, _RESULT if once else _HELPER
        return special == "__next__", _RESULT


def _content(answer: Any) -> tuple[list[int], bool]:
    """The program's objects in an answer, and whether there is anything plain in it that says something."""
    handles, plain = [], _says(answer["root"])
    for node in [*answer["nodes"], *(state[1] for state in answer["states"])]:
        if node[0] == "remote":
            handles.append(node[1])
        elif node[0] in ("yours", "constant"):
            continue
        elif node[0] == "tuple":
            plain |= not node[1] or any(map(_says, node[1]))
        else:
            plain = True
    return handles, plain


def _says(item: Any) -> bool:
    return item is not None and type(item) is not list


def carry(tests: Child, program: Child, exposure: Exposure) -> None:
    """Until the tests have finished one. Returns if it passed."""
    asked: list[tuple[int, str, Any]] = []
    turns: list[Child] = []  # who waits for an answer
    answered = False
    speaker = tests
    exposure.answered = False
    while True:
        message = _heard(tests, answered) if speaker is tests else program.receive()
        if speaker is program:  # from here on it may be what brings a test down: also by what it asks back
            answered |= asked[-1][0] != 0 or "ask" in message
        if "ask" in message and _is_question(message["ask"]):
            if len(turns) >= _NESTED:
                raise Failed(Status.RUNTIME_ERROR, f"asked back more than {_NESTED} deep")
            if speaker is tests:
                asked.append(tuple(message["ask"]))
            turns.append(speaker)
        elif turns and (("value" in message and type(message["value"]) is dict) or _is_error(message)):
            waiting = turns.pop()
            if waiting is speaker:
                raise Failed(Status.RUNTIME_ERROR, FOREIGN)
            if speaker is program:
                exposure.note(*asked.pop(), message)
                if "threw" in message and message["threw"][2] == "MemoryError":
                    raise failure_of({"raised": ["MemoryError", message["threw"][1]]})
        elif speaker is program:
            raise failure_of(message)
        elif "passed" in message:
            exposure.exposed |= not exposure.answered
            return
        else:
            raise outcome_of(message, answered)
        speaker = program if speaker is tests else tests
        speaker.send(message)  # written anew: the program chose the words, not their form


def _heard(tests: Child, answered: bool) -> dict[str, Any]:
    try:
        return tests.receive()
    except Failed as failed:
        if failed.status is Status.TIME_LIMIT:
            raise Failed(failed.status, f"while its answer was tested: {failed.reason}") from failed
        raise stumbled(failed.reason, answered) from failed


def _is_question(asked: Any) -> bool:
    return type(asked) is list and [type(part) for part in asked] == [int, str, dict] and "nodes" in asked[2]


def _is_error(message: dict[str, Any]) -> bool:
    threw = message.get("threw")
    return type(threw) is list and [type(part) for part in threw] == [str, str, str, list]
