"""Parse an override of the command line by Hydra's grammar, and refuse with an explanation one that cannot be meant."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from reforge.config import KINDS
from reforge.config.load import unknown_key
from reforge.errors import UserError
from reforge.machine.project import project_root

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def parse(override: str, conf: Path) -> Override:
    """Return the parsed override. Raises UserError, which names the nearest key or the existing choices; Hydra's own
    message would name neither."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, equal, value = override.partition("=")
    # Hydra's grammar has no key part that begins with a digit or is a star: parse under a different name.
    readable = re.sub(r"\.(?=\d)", ".__digit__", key).replace(".*", ".__all__")
    try:
        parsed = OverridesParser.create().parse_override(readable + equal + value)
    except HydraException as error:
        raise UserError(
            f"Cannot read the override {override!r}: {_unreadable(key, equal, value)}. Write key=value, for example "
            "rl.*.learning_rate=1e-4 or experiment=smoke."
        ) from error
    if not parsed.key_or_group:
        raise UserError(f"The override {override!r} names no key. Write key=value, for example experiment=smoke.")
    if parsed.is_sweep_override():
        raise UserError(
            f"Override {override!r} gives several values, and a run has one. Start a run for each; a list is written "
            f"with brackets and quotes: '{key}=[{value}]'."
        )
    parsed.key_or_group = parsed.key_or_group.replace(".__all__", ".*").replace(".__digit__", ".")
    if problem := _refused(parsed, conf):
        raise UserError(f"Override {override!r}: {problem}")
    return parsed


def in_table(key: str) -> bool:
    """Return whether the key is that of a table of stages, or of something in one."""
    return key.partition(".")[0] in KINDS


def chooses_file(override: Override) -> bool:
    """Return whether the override names a file of conf/ for an entry of a table, as `curate.problems=mbpp` does."""
    return override.key_or_group.count(".") == 1 and isinstance(override.value(), str) and not override.is_delete()


def options_of(group: Path) -> list[str]:
    """Return the names of the files of a folder of conf/ that can be chosen. Those that begin with _ cannot: others
    build on them."""
    return sorted(file.stem for file in group.glob("[!_]*.yaml"))


def _refused(parsed: Override, conf: Path) -> str:
    """Return why an override cannot be meant; empty if it can."""
    key, group = parsed.key_or_group, conf / parsed.key_or_group.partition(".")[0]
    options = ", ".join(options_of(group))
    if key in KINDS:
        return (
            f"{key} is a table of stages. Choose a file of conf/{key} ({options}) for one, as in {key}.NAME=FILE, or "
            f"for all: '{key}.*=FILE'."
        )
    if meant := _without_entry(parsed):
        return f"{key.partition('.')[0]} is a table of stages, did you mean {meant!r}?"
    if parsed.is_delete() or not ((chooses_file(parsed) and key.partition(".")[0] in KINDS) or (conf / key).is_dir()):
        return unknown_key(key)
    if isinstance(parsed.value(), dict):
        return (
            f"it gives a whole section, where a file of conf/{key} is chosen ({options}). Give its values one by one, "
            f"as in {key}.KEY=VALUE."
        )
    if str(parsed.value()) not in options_of(group):
        return f"conf/{group.name} has no {str(parsed.value())!r}; there are: {options}."
    return ""


def _without_entry(parsed: Override) -> str:
    """Return the key that was probably meant, such as `rl.*.steps`, where an override names a value of a table's
    entries but no entry (`rl.steps`); else empty."""
    kind, _, name = parsed.key_or_group.partition(".")
    if kind not in KINDS or "." in name or parsed.is_delete() or isinstance(parsed.value(), dict):
        return ""
    near = difflib.get_close_matches(name, KINDS[kind].model_fields, n=1, cutoff=0.7)
    is_file = str(parsed.value()) in options_of(project_root() / "conf" / kind)
    return f"{kind}.*.{near[0]}" if near and not is_file else ""


def _unreadable(key: str, equal: str, value: str) -> str:
    """Return why an override cannot be read. The parser's own message speaks of its grammar."""
    if not equal and not key.startswith("~"):
        return "there is no = in it"
    if not re.fullmatch(r"[~+]{0,2}[A-Za-z_][\w.@/*-]*", key, re.ASCII):
        return f"{key!r} is no name of a key" if key else "there is no key before the ="
    return f"{value!r} is no value: brackets, braces and quotes must be closed, and text with such signs quoted"
