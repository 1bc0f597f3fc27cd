"""Programs are fenced in by what the machine offers, not by what chance left of it when a server started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reforge.errors import InfrastructureError
from reforge.sandbox import fleet
from reforge.sandbox.forkserver import Refused, Server
from reforge.sandbox.inside.server import ForkServer
from reforge.sandbox.isolation import LAYERS, NAMESPACES, Isolation


def starting(monkeypatch: pytest.MonkeyPatch, *errors: InfrastructureError) -> None:
    """The first servers end like this; those after them start."""
    left = list(errors)

    def server(*asked: Any) -> Server:
        if left:
            raise left.pop(0)
        return Server(*asked)

    monkeypatch.setattr(fleet, "Server", server)


def layers_of() -> tuple[str, ...]:
    made = fleet.Fleet(1, Isolation.LIMITS)
    made.close()
    return made.layers


@pytest.mark.parametrize("lost", [1, 2])
def test_a_server_that_was_killed_while_it_started_says_nothing_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    offered = layers_of()
    starting(monkeypatch, *[InfrastructureError("lost: it ended (exit code -9)")] * lost)
    assert layers_of() == offered


@pytest.mark.parametrize("errors", [[Refused("unshare: not permitted")], [InfrastructureError("exit code -31")] * 3])
def test_a_layer_that_is_refused_or_ends_whoever_asks_is_missing(
    monkeypatch, errors: list[InfrastructureError]
) -> None:
    starting(monkeypatch, *errors)
    made = fleet.Fleet(1, Isolation.LIMITS)
    made.close()
    assert NAMESPACES not in made.layers
    assert made.refused[NAMESPACES] == str(errors[0])


def test_a_server_with_fewer_layers_than_the_first_runs_no_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = fleet.Fleet(2, Isolation.LIMITS)
    if NAMESPACES not in made.layers:
        pytest.skip("this machine offers nothing to lose")
    with made.borrow():  # the first; what else is asked for is started anew
        fewer = Server(tuple(layer for layer in LAYERS if layer != NAMESPACES), [], str(tmp_path))
        monkeypatch.setattr(made, "_start", lambda layers: fewer)
        with pytest.raises(InfrastructureError, match="a fork-server has"), made.borrow():
            pytest.fail("it was lent")
    made.close()
    assert fewer.gone()


@pytest.mark.parametrize(
    ("trials", "works", "said"),
    [
        ([("", 9), ("", 0)], True, {}),
        ([("", 9), ("", 9), ("", 9)], False, {"seccomp": "a trial process ended with status 9"}),
        ([("OSError: no such call", 0)], False, {"seccomp": "OSError: no such call"}),
    ],
)
def test_a_trial_that_was_killed_is_made_again(
    trials: list[tuple[str, int]], works: bool, said: dict[str, str]
) -> None:
    server: Any = SimpleNamespace(_tried=lambda attempt: trials.pop(0), _refused={})
    assert ForkServer._works(server, "seccomp", lambda: None) is works
    assert server._refused == said
    assert trials == []


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_emptied_is_the_program_s_doing_and_a_new_one_the_machine_s() -> None:
    def scratch(clear: Any = lambda: None, make: Any = lambda: None) -> Any:
        return SimpleNamespace(touched=lambda: True, clear=clear, make=make)

    server: Any = SimpleNamespace(_open=False, _scratch=scratch(clear=full))
    assert "it broke the folder" in ForkServer._clean(server)
    server._scratch = scratch(make=full)
    with pytest.raises(OSError, match="No space"):  # this server ends; whoever was judged by it is judged anew
        ForkServer._clean(server)
    server._scratch = scratch()
    assert ForkServer._clean(server) == ""
