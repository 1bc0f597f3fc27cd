"""Two guards against an undeclared input, DVC's worst failure: a stale result under a green status.

`mask` hands a stage only the parameters that it declares; `Audit` stops it at files that it does not.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

from reforge.config import Config
from reforge.errors import UserError


class _Masked:
    """A section of which only some keys are declared. A wholly declared section is handed out as it is."""

    def __init__(self, section: Any, declared: Sequence[str], stage: str, reads: set[str], prefix: str = "") -> None:
        self._section, self._declared, self._stage, self._reads, self._prefix = section, declared, stage, reads, prefix

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):  # protocols such as copy and pickle probe for these
            raise AttributeError(key)
        return self._read(key, getattr(self._section, key, None))

    def __getitem__(self, key: str) -> Any:
        return self._read(key, self._section[key])

    def _read(self, key: str, value: Any) -> Any:
        dotted = self._prefix + key
        if dotted in self._declared:
            self._reads.add(dotted)
            return value
        if any(name.startswith(f"{dotted}.") for name in self._declared):
            return _Masked(value, self._declared, self._stage, self._reads, f"{dotted}.")
        raise UserError(
            f"Stage {self._stage!r} reads the parameter {dotted!r} without declaring it: DVC would not see it change. "
            f"Add it to the stage's `params` in dvc.yaml (now: {', '.join(self._declared)})."
        )


def mask(config: Config, declared: Sequence[str], stage: str, reads: set[str]) -> Config:
    """Return the config as the stage may see it. Every declared key that is read is added to `reads`."""
    return cast(Config, _Masked(config, declared, stage, reads))


def slice_of(config: Config, declared: Sequence[str]) -> dict[str, Any]:
    """Return the declared parameters as plain values, by dotted key."""
    values = config.model_dump(mode="python")
    found = {}
    for dotted in declared:
        value: Any = values
        for part in dotted.split("."):
            value = value[part]
        found[dotted] = value
    return found


class Audit:
    """A guard that stops this process where it opens a file of the project that is not `allowed`, and remembers which,
    and the innermost callers.

    It sees opens made by Python in this process, not those of child processes or of Rust or C++ readers.
    """

    def __init__(self, root: Path, allowed: Iterable[str], stage: str) -> None:
        self._root = f"{root}{os.sep}"
        self._allowed = tuple(allowed)
        self._stage = stage
        self.violations: dict[str, str] = {}

    def check(self, path: Any, writing: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a file descriptor: its open was seen before
        absolute = os.path.abspath(os.fsdecode(path))
        if not absolute.startswith(self._root):
            return
        relative = absolute.removeprefix(self._root)
        if any(relative == entry or relative.startswith(f"{entry}/") for entry in self._allowed):
            return
        if not writing and not os.path.isfile(absolute):
            return  # a library looking for what is not there
        self.violations[relative] = _callers()
        raise self.error()

    def error(self) -> UserError:
        return UserError(
            f"Stage {self._stage!r} opened {', '.join(sorted(self.violations))}, which dvc.yaml does not list "
            "among its deps: DVC would not see it change. Declare it, or read a declared input. Nothing was written. "
            f"Opened by {next(iter(self.violations.values()))}."
        )


def _callers(count: int = 4) -> str:
    """Return where the code is that opens a file, the innermost place first, as `file.py:line`."""
    places = (f"{frame.f_code.co_filename}:{line}" for frame, line in traceback.walk_stack(None))
    return ", for ".join(islice((place for place in places if not place.startswith(__file__)), count))


_active: Audit | None = None
_installed = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _active is not None:
        path, _, flags = args
        _active.check(path, writing=bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))


@contextmanager
def audited(audit: Audit) -> Iterator[None]:
    """Stop at the first undeclared open, and again at the end if a library swallowed the error."""
    global _active, _installed
    if not _installed:  # Python offers no way to remove a hook: one for the life of the process
        sys.addaudithook(_hook)
        _installed = True
    _active = audit
    try:
        yield
    finally:
        _active = None
    if audit.violations:
        raise audit.error()
