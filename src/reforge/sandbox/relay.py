"""The judge stands between the tests' process and the program's: it carries questions and answers, and notes who
decided.

A verdict is *exposed* where the truth of a test came from the program itself: it compared, or one of its names other
than the entry point said something plain, or a method of an answer did whose type only the program knows. An object
says something plain, too: it is there, so it is true. Where nothing plain may be said, an object must not be asked for
its truth; and what such a name hands over is for the entry point, not for what an answer is held against.
"""

from __future__ import annotations

from typing import Any

from reforge.records import Status
from reforge.sandbox.asserts import entries_of
from reforge.sandbox.limits import Failed
from reforge.sandbox.process import FOREIGN, Child
from reforge.sandbox.replies import failure_of, outcome_of, stumbled

_NESTED = 50  # depth of questions that are asked in answer to questions
_HELPER, _ANSWER, _RESULT, _METHOD, _OWN, _ENTRY = range(6)  # how far what an object says is the answer itself
_COMPARING = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}
_CHANGING = {"__setattr__", "__delattr__", "__setitem__", "__delitem__"}
_UNARY = {
    "__len__", "__iter__", "__next__", "__getitem__", "__contains__", "__bool__", "__str__", "__repr__", "__int__",
    "__float__", "__index__", "__hash__", "__enter__", "__exit__", "__reversed__", "__getattribute__",
}  # fmt: skip


class Exposure:
    """The record of who decided the tests. `entry` names the entry point; where that is a method, its class is one,
    too. A name that begins with a capital is that of a class: what its instances say is what was asked for.
    """

    def __init__(self, entry: str) -> None:
        self.answered = False  # whether the entry point has answered in this test
        self.touched = False  # whether it touched what the tests work with, and may have broken what breaks then
        self._decided = False
        self._entries = entries_of(entry)
        self._levels: dict[int, int] = {}
        self._names: set[int] = set()  # objects that a name of the program stands for
        self._classes: set[int] = set()
        self._iterated: set[int] = set()
        self._bare: set[int] = set()  # objects that are true because they are there
        self._answers: set[int] = set()  # objects given where something plain might have been
        self._doubtful: set[int] = set()  # objects given where nothing plain might have been, by an answer
        self._loose: set[int] = set()  # objects that a name of the program handed over and nobody has used yet
        self._passed: set[int] = set()  # objects that the tests had made for other objects, or for the entry point

    @property
    def exposed(self) -> bool:
        return self._decided or bool(self._loose)

    def note(self, number: int, special: str, question: Any, message: dict[str, Any]) -> None:
        """Note one question to the program and its answer. Whatever is malformed counts as exposed."""
        try:
            if number == 0:
                self._resolve(question, message["value"])
            else:
                self._note(number, special, question, message)
        except (KeyError, IndexError, TypeError, ValueError):
            self._decided = True

    def end_of_test(self) -> None:
        self._decided |= not self.answered

    def _resolve(self, question: Any, answer: Any) -> None:
        """Note what the names of the program stand for that the tests have looked up."""
        known = len(question["nodes"])
        nodes = dict(enumerate(answer["nodes"], known))
        for name, item in nodes[nodes[answer["root"][0]][1][0][0]][1]:
            if type(item) is not list:
                self._decided = True  # the name stands for something plain
                continue
            node = nodes[item[0]]
            if node[0] != "remote":
                self._decided |= node[0] != "constant"
                continue
            level = _ENTRY if name in self._entries else _HELPER
            self._levels[node[1]] = min(level, self._levels.get(node[1], level))
            self._names.add(node[1])
            if level == _ENTRY and name[:1].isupper():
                self._classes.add(node[1])

    def _note(self, number: int, special: str, question: Any, message: dict[str, Any]) -> None:
        level = self._levels.get(number, _HELPER)
        used = {node[1] for node in question["nodes"] if node[0] == "yours"}
        self._loose -= {number} | used
        used -= self._names
        self._passed |= used
        if special == "__call__" and level >= _RESULT:
            self.answered = True
            for handle in used:
                if self._levels.get(handle, _HELPER) == _HELPER:  # an object that the entry point may change
                    self._levels[handle] = _RESULT
                    self._answers.add(handle)
        if "threw" in message:
            self._decided |= level == _HELPER or special in _COMPARING
            return
        answer = message["value"]
        self.touched |= bool(answer["states"])
        if special == "__bool__" and level != _OWN:
            true_as_all_objects = number in self._bare & self._answers - self._doubtful and answer["root"] is True
            self._decided |= not true_as_all_objects or bool(answer["states"])
            return
        handles, plain, bare = _content(answer)
        self._bare |= bare
        if special == "__iter__" and handles == [number]:
            return  # an iterator says that it is one
        said, result = self._judged(number, level, special)
        silent = answer["root"] is None and not (level == _HELPER and self.answered)
        speaks = special not in _CHANGING and (plain or not (silent or handles))
        self._decided |= special in _COMPARING or (not said and (speaks or bool(answer["states"])))
        for handle in handles:
            known = result if said and handle in self._passed else self._levels.get(handle, result)
            self._levels[handle] = min(result, known)
            if said:
                self._answers.add(handle)
                continue
            self._answers.discard(handle)
            if level > _HELPER:
                self._doubtful.add(handle)
            else:
                self._loose.add(handle)

    def _judged(self, number: int, level: int, special: str) -> tuple[bool, int]:
        """Return whether something plain may come of a question, and how far an object that comes of it is the
        answer."""
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


def _content(answer: Any) -> tuple[list[int], bool, set[int]]:
    """Return the program's objects in an answer; whether there is anything plain in it that says something, as a tuple
    and a class of exceptions do by themselves; and which objects are true because they are there.
    """
    handles, bare = [], set()
    plain = answer["root"] is not None and type(answer["root"]) is not list
    for node in [*answer["nodes"], *(state[1] for state in answer["states"])]:
        if node[0] == "remote" and node[2] == "object":
            handles.append(node[1])
            if not {"__bool__", "__len__"} & set(node[4]):
                bare.add(node[1])
        elif node[0] not in ("yours", "constant"):
            plain = True
    return handles, plain, bare


def carry(tests: Child, program: Child, exposure: Exposure) -> None:
    """Carry questions and answers until the tests have finished one test. Returns if it passed; raises Failed if it did
    not."""
    asked: list[tuple[int, str, Any]] = []
    turns: list[Child] = []  # who waits for an answer
    answered = exposure.touched or exposure.exposed
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
            else:
                exposure.touched = True
            turns.append(speaker)
        elif turns and (("value" in message and type(message["value"]) is dict) or _is_error(message)):
            waiting = turns.pop()
            if waiting is speaker:
                raise Failed(Status.RUNTIME_ERROR, FOREIGN)
            if speaker is program:
                exposure.note(*asked.pop(), message)
                answered |= exposure.exposed  # also by a name that stands for something plain
                if "threw" in message and message["threw"][2] == "MemoryError":
                    raise failure_of({"raised": ["MemoryError", message["threw"][1]]})
        elif speaker is program:
            raise failure_of(message)
        elif "passed" in message:
            exposure.end_of_test()
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
        if failed.exit_code is not None and failed.exit_code < 0 and not tests.out_of_reach:
            raise Failed(Status.RUNTIME_ERROR, f"the tests were {failed.reason}, as the program could do") from failed
        raise stumbled(failed.reason, answered) from failed


def _is_question(asked: Any) -> bool:
    return type(asked) is list and [type(part) for part in asked] == [int, str, dict] and "nodes" in asked[2]


def _is_error(message: dict[str, Any]) -> bool:
    threw = message.get("threw")
    return type(threw) is list and [type(part) for part in threw] == [str, str, str, list]
