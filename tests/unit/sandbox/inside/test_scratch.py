"""The folder that programs run in is new for each of them, unless nobody has used it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reforge.sandbox.inside.scratch import Scratch

USES = {
    "a file": "open('a', 'w').close()",
    "a file that is gone": "open('a', 'w').close(); os.unlink('a')",
    "a file without a name": "os.close(os.open('.', os.O_TMPFILE | os.O_RDWR))",
    "a folder that is gone": "os.mkdir('a'); os.rmdir('a')",
    "a link": "os.symlink('a', 'b'); os.unlink('b')",
    "its mode, and back": "os.chmod('.', 0o755); os.chmod('.', 0o700)",
    "its times, and back": "at = os.stat('.'); os.utime('.'); os.utime('.', ns=(at.st_atime_ns, at.st_mtime_ns))",
    "what is in it": "os.listdir('.')",
    "a file beside it that is gone": "open('../a', 'w').close(); os.unlink('../a')",
    "its owner, to no new one": "os.chown('.', -1, -1)",
    "a lock on it": "import fcntl; fcntl.flock(os.open('.', os.O_RDONLY), fcntl.LOCK_EX)",
}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    scratch = Scratch(str(tmp_path), jailed=False)
    scratch.give_to(0)
    scratch.watch()
    return scratch


def run(scratch: Scratch, code: str) -> None:
    subprocess.run([sys.executable, "-S", "-P", "-c", f"import os; os.chdir({scratch.path!r}); {code}"], check=True)


def test_who_only_runs_in_it_leaves_it_new(scratch: Scratch) -> None:
    run(scratch, "os.stat('.'); os.getcwd(); os.access('.', os.W_OK); print(1)")
    assert not scratch.touched()


@pytest.mark.parametrize("use", USES)
def test_whatever_uses_it_is_noticed(scratch: Scratch, use: str) -> None:
    for _ in range(2):  # a new folder is watched like the first
        run(scratch, USES[use])
        assert scratch.touched()
        scratch.clear()
        scratch.make()
        assert not scratch.touched()


def test_a_different_folder_in_the_place_of_one_above_is_noticed(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    scratch = Scratch(str(above / "around"), jailed=False)
    scratch.give_to(0)
    scratch.watch()
    above.rename(tmp_path / "moved")
    assert scratch.touched()
    (above / "around" / "program").mkdir(parents=True)
    assert scratch.touched()


def test_where_it_cannot_be_watched_it_is_never_taken_for_new(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(scratch._watch)
    scratch._watch = -1  # as where there are too many
    assert scratch.touched()
    scratch.clear()
    scratch.make()
    assert scratch.touched()
