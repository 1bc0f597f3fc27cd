"""Distributions that programs may import beside the interpreter's own library."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import Any

from reforge.errors import UserError

_INFO = ".dist-info"
# Answers that make math-verify's parser build its tables, as it does at its first use: each answer of a program would
# build them again, for half of its time.
_FIRST_ANSWERS = [
    (r"\frac{1}{2}-\sqrt{3}\cdot x^2+2\pi", r"\frac12 - 3^{1/2} x^{2} + 2 \times \pi"),
    (r"2x+3y-1=0", r"y = -\frac{2}{3}x + \frac{1}{3}"),
    (r"[-2,\infty)\cup(1,5!)", r"(-\infty,2]"),
    (r"(3, \frac{\pi}{2})", r"(3,1.5)"),
    (r"1, 2, x_1", r"\{1,2\}"),
    (r"\sin^2(y)+\ln(2)", r"6 - 5i"),
    (r"-2 \le x < 7", r"x > |3|"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "0.5"),
]


def paths_of(package: str) -> list[str]:
    """Return the paths of what an installed distribution put beside the others: its modules, the libraries that they
    load, its version. Raises UserError where it is not installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise _missing(package) from error
    tops = {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}
    return [os.path.realpath(str(found.locate_file(top))) for top in sorted(tops)]


def version_of(package: str) -> str:
    """Return the distribution's name, its version and a digest of all its files as they were installed. Raises
    UserError where it is not installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise _missing(package) from error
    record = found.read_text("RECORD") or ""
    return f"{_plain(package)}=={found.version} {hashlib.sha256(record.encode()).hexdigest()[:16]}"


def interpreter() -> str:
    """Return name and version of this interpreter, which is that of programs, too."""
    return f"{sys.implementation.name} {sys.version.split()[0]}"


def _missing(package: str) -> UserError:
    return UserError(
        f"sandbox.packages names {package!r}, which is not installed beside {sys.executable}. Install it, or take "
        "it from the list."
    )


def load(paths: list[str]) -> None:
    """Make all that is at these paths importable, and import it: where one is broken, better now than in a verdict."""
    finder = _Finder(paths)
    sys.meta_path.append(finder)  # type: ignore[arg-type]
    for name in finder.folders:
        if name.isidentifier():
            module = importlib.import_module(name)
            if name == "math_verify":
                _answer_first(module)


def _answer_first(math_verify: Any) -> None:
    for pair in _FIRST_ANSWERS:
        read = [math_verify.parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in pair]
        math_verify.verify(*read, timeout_seconds=None)


class _Finder:
    """Finds what is at these paths and nothing next to it."""

    def __init__(self, paths: list[str]) -> None:
        self.folders = {os.path.basename(path).removesuffix(".py"): os.path.dirname(path) for path in paths}
        self._infos = {_plain(os.path.basename(path)): path for path in paths if path.endswith(_INFO)}

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return PathFinder.find_spec(name, [self.folders[name]]) if name in self.folders else None

    def find_distributions(self, context: Any) -> Iterator[object]:
        """Yield distributions, for libraries that ask which version of a different one is installed."""
        from importlib.metadata import PathDistribution
        from pathlib import Path

        for name, path in self._infos.items():
            if context.name is None or _plain(context.name) == name:
                yield PathDistribution(Path(path))


def _plain(name: str) -> str:
    """Return the distribution's plain name, as `Math-Verify` and `math_verify-0.9.0.dist-info` name the same thing."""
    return re.sub(r"[-_.]+", "-", name.removesuffix(_INFO).partition("-")[0] if name.endswith(_INFO) else name).lower()
