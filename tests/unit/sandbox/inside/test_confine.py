"""The filter of system calls, walked through as the kernel does."""

import struct

import pytest

from reforge.sandbox.inside import confine

ALLOW, EPERM, ENOSYS, ENOTSUP = 0x7FFF0000, 0x00050001, 0x00050026, 0x0005005F
MACHINES = list(confine._MACHINES)


def decision(machine: str, jailed: bool, number: int, *arguments: int, architecture: int = 0) -> int:
    code = confine.filter_program(machine, 1, jailed)
    fields = {0: number, 4: architecture or confine._MACHINES[machine][0]}
    fields |= {16 + 8 * index: value for index, value in enumerate([*arguments, 0, 0, 0][:3])}
    held = at = 0
    while True:
        operation, if_true, if_false, value = struct.unpack_from("<HBBI", code, 8 * at)
        at += 1
        if operation == confine._RETURN:
            return value
        if operation == confine._LOAD:
            held = fields[value]
        elif operation == confine._AND:
            held &= value
        else:
            true = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[operation]
            at += if_true if true else if_false


@pytest.mark.parametrize("jailed", [True, False])
@pytest.mark.parametrize("machine", MACHINES)
def test_exactly_what_is_listed_is_refused(machine: str, jailed: bool) -> None:
    *_, denied, changing, attributes = confine._MACHINES[machine]
    _, clone, clone3, pair, prctl, ownerless, own_only, *_ = confine._MACHINES[machine]
    special = {clone, clone3, pair, prctl, *ownerless, *own_only}
    for number in set(range(700)) - special:
        refused = EPERM if number in denied else ALLOW
        if not jailed and number in changing:
            refused = EPERM
        if not jailed and number in attributes:
            refused = ENOTSUP
        assert decision(machine, jailed, number) == refused, number


@pytest.mark.parametrize("machine", MACHINES)
def test_some_calls_are_refused_by_their_arguments(machine: str) -> None:
    _, clone, clone3, pair, prctl, ownerless, own_only, *_ = confine._MACHINES[machine]
    assert decision(machine, True, clone, 17) == EPERM
    assert decision(machine, True, clone, 0x00010000) == ALLOW  # a thread
    assert decision(machine, True, clone3) == ENOSYS
    assert [decision(machine, True, pair, *of) for of in ((1, 1), (1, 2), (2, 1))] == [ALLOW, EPERM, EPERM]
    assert [decision(machine, True, prctl, option) for option in (1, 4, 15)] == [EPERM, EPERM, ALLOW]
    for number in ownerless:
        assert [decision(machine, True, number, 3, command) for command in (8, 1024, 3)] == [EPERM, EPERM, ALLOW]
    for number in own_only:
        assert [decision(machine, True, number, process) for process in (0, 1, 2)] == [ALLOW, ALLOW, EPERM]
    assert decision(machine, True, 0x40000001) == EPERM
    assert decision(machine, True, 1, architecture=3) == EPERM
