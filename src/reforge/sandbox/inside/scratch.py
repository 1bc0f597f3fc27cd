"""The one place where programs may write: a folder that is new for each of them, as if none had been here before."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from reforge.sandbox.inside import jail

_EVERYTHING = 0xFFF  # all events of inotify: opened, read, changed, its attributes too, and all that happens in it
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch:
    """The folder of one program after the other. `path` is replaced, `around` stays: what is allowed below `around`
    needs to be allowed only once."""

    def __init__(self, folder: str, jailed: bool) -> None:
        """`folder`: where the scratch folder lies outside a jail."""
        self.path = jail.SCRATCH if jailed else f"{folder}/program"
        self.around = os.path.dirname(self.path)
        self._jailed = jailed
        self._user = -1
        self._watch = -1
        self._as_made: list[tuple[int, ...]] = []

    def give_to(self, user: int) -> None:
        """Make the folder anew, and from then on give it to `user`; 0: it stays with whoever makes it."""
        self._user = user or -1
        self.clear()
        self.make()

    def watch(self) -> None:
        """Notice from now on whether a program used the folder. Only where programs cannot call what leaves no event
        (file_setattr)."""
        self._watch = jail.LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)  # below 0 where there are too many
        self._look_out()

    def touched(self) -> bool:
        """Return whether a program used the folder since it was made, or may have: if not, it is as new, and a new one
        costs time."""
        if self._watch < 0 or not self._as_made or self._state() != self._as_made:
            return True
        try:
            os.read(self._watch, 1)  # too small for an event: what lies there stays
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def clear(self) -> None:
        """Remove the folder whole, without a look at what has changed in it: times, attributes and numbers of files
        would tell as much as files do. Raises OSError where it cannot be done.
        """
        if self._jailed:
            jail.drop_scratch()
            return
        os.makedirs(self.around, exist_ok=True)
        os.chmod(self.around, 0o711)
        empty(self.around)

    def make(self) -> None:
        """Make the folder after `clear`. Raises OSError where the machine cannot, as on a full disk."""
        if self._jailed:
            jail.make_scratch()
        else:
            os.mkdir(self.path, 0o700)
            os.chown(self.path, self._user, self._user)
        self._look_out()

    def _look_out(self) -> None:
        """Watch the folder and the one around it, and forget what happened before. A program could leave something
        beside the folder, too, where it runs as the user that this server runs as.
        """
        if self._watch < 0:
            return
        for folder in (self.around, self.path):
            if jail.LIBC.inotify_add_watch(self._watch, folder.encode(), _EVERYTHING) < 0:
                os.close(self._watch)
                self._watch = -1
                return
        with suppress(BlockingIOError):
            while os.read(self._watch, 1 << 16):
                pass
        self._as_made = self._state()

    def _state(self) -> list[tuple[int, ...]]:
        """Return what changes without an event: a folder above was put in the place of a different one, or a chown to
        nobody new set the time of the last change. Empty where it cannot be told.
        """
        with suppress(OSError):
            found = [os.stat(folder, follow_symlinks=False) for folder in (self.around, self.path)]
            return [(it.st_dev, it.st_ino, it.st_ctime_ns) for it in found]
        return []


def empty(folder: str) -> None:
    """Remove all that lies in a folder, however deep and well protected: what is in folders moves up until none are
    left."""
    with _opened(folder) as top:
        number = 0
        while names := os.listdir(top):
            for name in names:
                if _removed(name, top):
                    continue
                with _opened(name, top) as below:
                    for inner in os.listdir(below):
                        if not _removed(inner, below):
                            number += 1
                            os.rename(inner, f"{os.urandom(8).hex()}-{number}", src_dir_fd=below, dst_dir_fd=top)
                os.rmdir(name, dir_fd=top)


def remove(folder: str) -> None:
    """Remove the folder with all that is in it, as far as that is allowed."""
    with suppress(OSError):
        empty(folder)
        os.rmdir(folder)


def _removed(name: str, within: int) -> bool:
    """Remove a file or an empty folder, and return whether it was one. If not, it is a folder with something in it,
    which may be entered and moved from now on."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=within)
        return True
    with suppress(OSError):
        os.rmdir(name, dir_fd=within)
        return True
    os.chmod(name, 0o700, dir_fd=within)
    return False


@contextmanager
def _opened(folder: str, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(folder, _OPEN, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
