"""The tables of known gaps in docs/sandbox.md, which the attacks compare with what they measure."""

import ctypes
import os
import sys
from pathlib import Path

from tests.attacks.levels import OFFERED

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = 0x5EC  # of the objects that some attempts make
NONE: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())


def table(heading: str) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Of each attempt, the levels at which it succeeds: of root's judge, and of an ordinary user's."""
    text = (REPOSITORY / "docs" / "sandbox.md").read_text()
    start = f"| {heading} | as root | as an ordinary user |\n|---|---|---|\n"
    assert text.count(start) == 1
    rows = text.partition(start)[2].partition("\n\n")[0]
    found = {}
    for row in rows.splitlines():
        name, *columns = (cell.strip() for cell in row.strip("|").split("|"))
        root, user = (frozenset(filter(None, column.split(", "))) for column in columns)
        assert root | user <= set(OFFERED), row
        assert name not in found
        found[name] = (root, user)
    return found


GAPS = table("attempt")
TRACES_LEFT = table("what is left")


def documented(gaps: dict[str, tuple[frozenset[str], frozenset[str]]], name: str, level: str) -> bool:
    return level in gaps.get(name, NONE)[os.geteuid() != 0]


def expected(name: str, level: str) -> str:
    if name == "read a file of the judge's user" and os.geteuid() == 0 and _everybody_may_read(sys.base_prefix):
        return "held"  # programs may read like root only where the library is root's own
    return "breached" if documented(GAPS, name, level) else "held"


def _everybody_may_read(folder: str) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (Path(folder), *Path(folder).parents))


def left_by_the_last(folder: Path) -> None:
    """Makes way for the next attempt: what one user's program made, another's may not touch."""
    (folder / "victim").write_text("x")
    (folder / "victim").chmod(0o666)
    (folder / "mine").unlink(missing_ok=True)
    libc = ctypes.CDLL(None)
    for number, remove in (
        (libc.shmget(KEY, 0, 0), lambda of: libc.shmctl(of, 0, None)),
        (libc.semget(KEY, 0, 0), lambda of: libc.semctl(of, 0, 0)),
        (libc.msgget(KEY, 0), lambda of: libc.msgctl(of, 0, None)),
    ):
        if number >= 0:
            remove(number)
