"""params.yaml → frozen Config. A misspelt key fails, naming the nearest."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from reforge.config import KINDS, Config
from reforge.errors import UserError, in_words
from reforge.machine.project import command


def load_config(path: Path) -> Config:
    """Read a resolved params file. Raises UserError naming the file, the key and the nearest valid key."""
    if not path.is_file():
        raise UserError(f"{path} not found. Write it with: {command('reforge compose experiment=tiny')}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        again = command("reforge compose experiment=tiny")
        said = " ".join(str(error).split())
        raise UserError(
            f"{path} is not the YAML that was written ({said}). Write it again, as with: {again}"
        ) from error
    return build_config(values, str(path))


def build_config(values: Any, where: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        begun = _begun_entries(error, values)
        lines = [*begun.values()]
        lines += [_explain(dict(item)) for item in error.errors() if item["loc"][:2] not in begun]
        raise UserError(f"{where}: " + "; ".join(lines)) from error


def _begun_entries(error: ValidationError, values: Any) -> dict[tuple[int | str, ...], str]:
    """Return, by place, what is wrong with entries of tables that have some keys and lack most: their name is misspelt,
    or no file of conf/ gives them the others."""
    missing_keys = (item["loc"] for item in error.errors() if item["type"] == "missing" and len(item["loc"]) == 3)
    lacks = Counter(place[:2] for place in missing_keys if place[0] in KINDS)
    found: dict[tuple[int | str, ...], str] = {}
    for (kind, key), missing in lacks.items():
        entry = values[kind][key]
        if missing > len(entry):
            close = difflib.get_close_matches(str(key), [name for name in values[kind] if name != key], n=1)
            near = f"did you mean {kind}.{close[0]}? If not, " if close else ""
            found[kind, key] = (
                f"{kind}.{key}: has {', '.join(map(str, entry)) or 'no keys'} and lacks {missing} others: {near}let a "
                f"file of conf/{kind}/ begin it, in `defaults` as - /{kind}@{kind}.{key}: FILE, or with "
                f"+{kind}.{key}=FILE"
            )
    return found


def with_origins(text: str, origins: Mapping[str, str]) -> str:
    """Return `text` followed by where the values of the keys that it names (six at most) were set, such as
    conf/experiment/smoke.yaml:9."""
    named = [key for key in origins if _names(text, key)][:6]
    if not named or "was set by" in text:
        return text
    return f"{text} ({'; '.join(f'{key} was set by {origins[key]}' for key in named)})"


def _names(text: str, key: str) -> bool:
    """Return whether the text names the key: whole, or, after its section and a colon, by its last part."""
    section, _, last = key.rpartition(".")
    begin, end = r"(?<![\w./-])", r"(?![\w/-]|\.[\w*])"
    whole = re.search(f"{begin}{re.escape(key)}{end}", text)
    after = re.search(f"{begin}{re.escape(section)}: .*{begin}{re.escape(last)}{end}", text)
    return bool(whole or (section and after))


def unknown_key(dotted: str) -> str:
    """Return what is wrong with `dotted`, and the nearest key that there is; empty if it names a key of Config."""
    section: Any = Config
    parts = dotted.split(".")
    for depth, part in enumerate(parts):
        fields = getattr(section, "model_fields", None)
        if fields is not None and part in fields:
            section = _present(fields[part].annotation)
        elif get_origin(section) is dict:  # any key leads to the value type
            section = get_args(section)[1]
        else:
            return f"unknown key {dotted!r}" + _nearest(parts[:depth], list(fields or ()), dotted)
    return ""


def _nearest(parents: list[str], siblings: list[str], dotted: str) -> str:
    """Return, as the end of a message, a sibling with a similar name; else the keys of the same name in different
    sections; else all siblings."""
    wrong = dotted.split(".")[len(parents)]
    close = [".".join([*parents, key]) for key in difflib.get_close_matches(wrong, siblings, n=1, cutoff=0.7)]
    elsewhere = [key for key in _all_keys(Config) if key.rsplit(".", 1)[-1] == wrong]
    if found := close or elsewhere:
        return f", did you mean {' or '.join(map(repr, found))}?"
    return f"; there are: {', '.join(siblings)}" if siblings else ""


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        held, inner = _present(field.annotation), f"{prefix}{name}."
        if name in KINDS and not prefix:
            held, inner = KINDS[name], f"{name}.*."
        if isinstance(held, type) and issubclass(held, BaseModel):
            keys += _all_keys(held, inner)
    return keys


def _present(annotation: Any) -> Any:
    """Return the type of what a key holds where it is not null."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if isinstance(annotation, UnionType) else annotation


def _section_wanted(dotted: str) -> str:
    section: Any = Config
    for part in filter(None, dotted.split(".")):
        fields = getattr(section, "model_fields", None)
        section = _present(fields[part].annotation) if fields and part in fields else (get_args(section) or (Any,))[-1]
    keys = getattr(section, "model_fields", None)
    return f"a section is needed here, with {', '.join(keys)}" if keys else "a table of names and values is needed here"


def _explain(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        no_kind = f"{key}: there is no kind of stage with this name; there are {', '.join(KINDS)}"
        return no_kind if len(item["loc"]) == 1 and isinstance(item["input"], dict) else unknown_key(key)
    if item["type"] == "missing":
        return f"missing key {key!r}"
    if item["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key}: {_section_wanted(key)}, not {item['input']!r}".removeprefix(": ")
    got = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
    return f"{key}: {in_words(item)}{got}".removeprefix(": ")
