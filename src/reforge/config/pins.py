"""Digests of the local files that a configuration names, so that DVC sees when their bytes change."""

from __future__ import annotations

import ast
import difflib
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reforge.config import Config, dotted, instances
from reforge.config.sampling import Acting
from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.machine.project import command

_FILE_SUFFIXES = (".jsonl", ".gz", ".json", ".parquet", ".py")


def pin_files(values: dict[str, Any], config: Config, root: Path, overrides: list[str]) -> None:
    """Fill in the `sha256` of each file that `values`, which are those of `config`, name; relative to `root`."""
    for name, instance in instances(config).items():
        for inner, named in instance.files().items():
            kind, _, key = name.partition("/")
            place = values[kind][key]
            for part in inner.split("."):
                place = place[part]
            place["sha256"] = _pin(f"{dotted(name)}.{inner}", named, root, overrides)
        if isinstance(instance, Acting) and instance.own:
            _check_own(root / os.path.expanduser(instance.own.path), dotted(name), instance.own_names())


def _check_own(path: Path, where: str, wanted: Mapping[str, str]) -> None:
    """Raise UserError where the file at `path` is no Python, or does not define the names `wanted`, by the key of the
    stage `where` that asks for each. It is read, not run."""
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
    except OSError as error:
        said = f"{path} cannot be read: {error.strerror}"
        raise UserError(f"{where}.own.path: {said}. Correct it and compose again.") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{where}.own.path: {path}{line} is not Python: {getattr(error, 'msg', error)}.") from error
    defined = [name for statement in body for name in _defined(statement)]
    for key, name in wanted.items():
        if name not in defined and "*" not in defined:
            close = difflib.get_close_matches(name, defined, n=1)
            near = f" Did you mean {close[0]}?" if close else f" It defines: {', '.join(defined) or 'nothing'}."
            raise UserError(f"{where}.{key}: {path} defines no {name}.{near}")


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement may bind, those in its blocks included; `*` for all of a different module."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _pin(key: str, named: Any, root: Path, overrides: list[str]) -> str:
    """Return the digest of a local file; for the name of a `datasets` data set, the digest that was given. Raises
    UserError for a missing file, or one that has a different digest than was given."""
    name, pinned = str(named.path), str(named.sha256)
    if not name:
        given = [text for text in overrides if text.partition("=")[0].lstrip("+") != f"{key}.path"]
        wanted = command(f"reforge compose {shlex.join([*given, f'{key}.path=FILE'])}")
        raise UserError(f"No value for {key}.path. Give it as an override: {wanted}")
    path = root / os.path.expanduser(name)
    if not path.is_file():
        if path.is_dir():
            raise UserError(f"{key}.path: {path} is a folder. Name one file in it.")
        if name.endswith(_FILE_SUFFIXES) or name.startswith((".", "/", "~")):
            raise UserError(f"{key}.path: there is no file {path}. Correct {key}.path and compose again.")
        return pinned  # the name of a `datasets` data set
    found = sha256(path)
    if pinned not in ("", found):
        raise UserError(
            f"{key}.path: {path} has sha256 {found}, but {key}.sha256 demands {pinned}. Fetch the right file, or "
            f"set {key}.sha256='' to accept this one."
        )
    return found
