"""conf/ + overrides → resolved values. Only this module and overrides.py import Hydra.

Hydra owns values and nothing else: no working directory, no logging, no `@hydra.main`. Composing goes through a lock,
because Hydra keeps its state in process-wide singletons. Overrides of a table (`rl.16k.steps=3`, `rl.*.steps=3`) are
applied here and not by Hydra, whose grammar has no key part that begins with a digit and no `*`.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reforge.config import KINDS
from reforge.config.load import build_config, unknown_key, with_origins
from reforge.config.overrides import chooses_file, in_table, options_of, parse
from reforge.config.pins import pin_files
from reforge.errors import UserError
from reforge.machine.project import command, project_root

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_lock = threading.Lock()


@dataclass(frozen=True)
class _Composed:
    """A composed configuration: its unresolved values, and, where they were asked for, the files that they come from,
    of which later ones override earlier ones. Each file is (path, the key that its keys belong below, the keys that are
    not taken from it)."""

    values: Any
    files: list[tuple[str, str, list[str]]]


def compose(overrides: list[str]) -> dict[str, Any]:
    """Resolve `conf/` with overrides (`experiment=smoke rl.*.learning_rate=1e-4`) into checked plain values.

    Numbers come back in the type of their key and sections in the order of `Config`, so equal configurations
    give equal files.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    root = project_root()
    parsed = {text: parse(text, root / "conf") for text in overrides}
    composed = _hydra(parsed, root / "conf").values
    try:
        if missing := sorted(_missing(OmegaConf.to_container(composed, resolve=False))):
            wanted = " ".join([*map(shlex.quote, parsed), *(f"{key}=…" for key in missing)])
            how = command(f"reforge compose {wanted}")
            raise UserError(f"No value for {', '.join(missing)}. Give it as an override: {how}")
        values = OmegaConf.to_container(composed, resolve=True)
        _require_name(values, parsed)
    except OmegaConfBaseException as error:
        raise UserError(f"conf/ and {overrides} do not compose: {_one_line(error)}") from error
    try:
        # Checked again as a whole: `+key=` may add what the groups do not have, and only Config knows keys and types.
        config = build_config(values, "the composed configuration")
        resolved = config.model_dump(mode="python")
        pin_files(resolved, config, root, overrides)
    except UserError as error:
        raise UserError(with_origins(str(error), origins(overrides))) from error
    return resolved


def _require_name(values: Any, parsed: Mapping[str, Override]) -> None:
    """Raise UserError where the file of the chosen experiment calls it differently: reports and MLflow would, too."""
    chosen = [override.value() for override in parsed.values() if override.key_or_group == "experiment"]
    if chosen and isinstance(values, dict) and values["experiment"] != chosen[-1]:
        raise UserError(
            f"conf/experiment/{chosen[-1]}.yaml: `experiment` is {values['experiment']!r} there. Write: "
            f"experiment: {chosen[-1]} (and `# @package _global_` in the first line)."
        )


def _missing(values: Any, key: str = "") -> Iterator[str]:
    """Yield the keys that have no value yet."""
    for name, value in values.items() if isinstance(values, dict) else ():
        inner = f"{key}.{name}" if key else name
        if value == "???":
            yield inner
        yield from _missing(value, inner)


def origins(overrides: list[str]) -> dict[str, str]:
    """Return where each value comes from, by its dotted key: file and line under conf/, or the command line."""
    conf = project_root() / "conf"
    parsed = {text: parse(text, conf) for text in overrides}
    composed = _hydra(parsed, conf, with_files=True)
    found: dict[str, str] = {}
    for file, package, left_out in composed.files:
        for key, line in _lines(yaml.compose((conf / file).read_text()), package):
            if not any(f"{key}.".startswith(f"{part}.") for part in left_out):
                found[key] = f"conf/{file}:{line}"
    for text, override in parsed.items():
        key = override.key_or_group
        if not (conf / key).is_dir():
            entries = _expanded(key, composed.values) if in_table(key) else [key]
            found |= dict.fromkeys(entries, f"the command line ({text})")
    return found


def _lines(node: Any, key: str) -> Iterator[tuple[str, int]]:
    """Yield each value's key and line in a parsed YAML file whose keys come below `key`."""
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        inner = f"{key}.{name.value}" if key else str(name.value)
        if key or not isinstance(value, yaml.MappingNode):  # the name of a whole table is also a word of its own
            yield inner, name.start_mark.line + 1
        yield from _lines(value, inner)


def experiments() -> list[str]:
    return options_of(project_root() / "conf" / "experiment")


def _hydra(parsed: Mapping[str, Override], conf: Path, with_files: bool = False) -> _Composed:
    """Compose `conf` with the parsed overrides; to say which files took part, too, takes Hydra half as long again.
    Raises UserError where they do not compose.

    Where the command line chooses a different file for a section or an entry of a table than the experiment does, that
    file gives all its values: those of the experiment were meant for its own file. But an entry's place in the graph
    stays.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    with _lock:
        try:
            with initialize_config_dir(config_dir=str(conf), version_base="1.3"):
                return _compose(parsed, conf, GlobalHydra.instance().config_loader(), with_files)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"conf/ and {list(parsed)} do not compose: {_one_line(error)}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"A file of conf/ is not YAML: {_broken(conf) or _one_line(error)}. Mend it.") from error


def _compose(parsed: Mapping[str, Override], conf: Path, loader: Any, with_files: bool) -> _Composed:
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    sections = {text: override for text, override in parsed.items() if not in_table(override.key_or_group)}
    tables = {text: override for text, override in parsed.items() if text not in sections}
    before = hydra_compose("config", list(sections))
    files = _chosen_files(sections, tables, before, conf)
    texts = [*sections, *(text for text in files.values() if "@" in text)]
    values = before if texts == list(sections) else hydra_compose("config", texts)  # this takes a quarter of a second
    entries = _entries(loader, texts) if with_files else []
    OmegaConf.set_struct(values, False)
    experiment = [text for text, override in sections.items() if override.key_or_group == "experiment"]
    usual = {(entry.config_path, entry.package) for entry in _entries(loader, experiment)} if files else set()
    left_out = []
    for key, text in files.items():
        group = key.partition(".")[0]
        if (f"{group}/{text.rpartition('=')[2]}", key) not in usual:
            own = [one for one, override in sections.items() if override.key_or_group.partition(".")[0] == group]
            left_out += _take_file(key, text, own, before, values)
    for text, override in tables.items():
        for key in named_entries(override.key_or_group, values) if not chooses_file(override) else ():
            _change(text, override, key, values)
    sources = [
        (f"{one.config_path}.yaml", one.package or "", left_out if _of_experiment(one) else []) for one in entries
    ]
    return _Composed(values, sources)


def _take_file(key: str, text: str, own: list[str], before: Any, values: Any) -> list[str]:
    """Put in `values`, at `key`, what the file that the override `text` chooses says without any experiment. The slots
    stay as they were `before`. Return the keys that no longer come from an experiment."""
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    chosen = [f"+{text.lstrip('+')}"] if "@" in text else own
    alone = OmegaConf.select(hydra_compose("config", ["~experiment", *chosen]), key)
    group, there = key.partition(".")[0], OmegaConf.select(before, key)
    slots = KINDS[group].slots() if group in KINDS else ()
    kept = {field: there[field] for field in slots if there is not None and field in there}
    OmegaConf.update(values, key, OmegaConf.merge(alone, kept), merge=False)
    return [f"{key}.{field}" for field in alone if field not in slots]


def _chosen_files(
    sections: Mapping[str, Override], tables: Mapping[str, Override], values: Any, conf: Path
) -> dict[str, str]:
    """Return the override in Hydra's terms for each section (`learner`) or entry of a table (`rl.short`) that the
    command line chooses a file for."""
    found = {
        override.key_or_group: text
        for text, override in sections.items()
        if override.key_or_group != "experiment" and (conf / override.key_or_group).is_dir()
        and isinstance(override.value(), str)
    }  # fmt: skip
    for override in tables.values():
        if chooses_file(override):
            for key in named_entries(override.key_or_group, values):
                kind, _, name = key.partition(".")
                if name[0].isdigit():
                    raise UserError(
                        f"{key}: a file can be chosen only for an entry whose name begins with a letter. Give its "
                        "values one by one."
                    )
                if name not in values[kind] and not (override.is_add() or override.is_force_add()):
                    raise UserError(
                        f"{key}: {kind} has no {name!r}; there are: {', '.join(values[kind])}. To add one, write + in "
                        f"front: +{key}={override.value()}"
                    )
                found[key] = f"{'' if name in values[kind] else '+'}{kind}@{key}={override.value()}"
    return found


def named_entries(key: str, values: Any) -> list[str]:
    """Return the keys that `key` stands for: with `*` in the place of an entry, one for each entry of that table."""
    if not (found := _expanded(key, values)):
        raise UserError(f"{key}: the table {key.partition('.')[0]} has no entry that * could stand for.")
    return found


def _expanded(key: str, values: Any) -> list[str]:
    kind, _, rest = key.partition(".")
    return [f"{kind}.{name}{rest[1:]}" for name in values[kind]] if rest.startswith("*") else [key]


def _change(text: str, override: Override, key: str, values: Any) -> None:
    """Set, add or remove the value at `key`, below a table."""
    from omegaconf import OmegaConf

    *parents, last = key.split(".")
    place = values
    for depth, part in enumerate(parents):
        if part not in list(place):  # `in` a mapping of OmegaConf denies keys without a value yet
            raise UserError(
                f"Override {text!r}: {'.'.join(parents[:depth])} has no {part!r}; there are: "
                f"{', '.join(place)}. To add one, give it whole: +{'.'.join(parents[: depth + 1])}={{…}}"
            )
        place = place[part]
        if place is None:
            here = ".".join(parents[: depth + 1])
            raise UserError(f"Override {text!r}: {here} is null here. Give it whole: {here}={{{last}: …}}")
    if last not in list(place) and not (override.is_add() or override.is_force_add()):
        raise UserError(
            f"Override {text!r}: there is no {last!r}, only {', '.join(place)}. To add it, write + in front."
        )
    if override.is_delete():
        del place[last]
    else:
        is_section = bool(unknown_key(f"{key}.no such key"))  # a table of free names is none: it is given whole
        OmegaConf.update(values, key, override.value(), merge=is_section)


def _entries(loader: Any, overrides: list[str]) -> list[Any]:
    """Return the entries of the defaults list: which file of conf/ goes where."""
    from hydra.types import RunMode

    found = loader.compute_defaults_list("config", overrides, RunMode.RUN).defaults
    return [entry for entry in found if not entry.config_path.startswith("hydra")]


def _broken(conf: Path) -> str:
    """Return the first file below `conf` that cannot be read as YAML, and why; empty if there is none."""
    for path in sorted(conf.rglob("*.yaml")):
        try:
            yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            return f"{path.relative_to(conf.parent)} ({_one_line(error)})"
    return ""


def _of_experiment(entry: Any) -> bool:
    return str(entry.config_path).startswith("experiment/")


def _one_line(error: Exception) -> str:
    said = re.sub(r"\s+", " ", str(error)).strip()
    return said.partition(" full_key: ")[0]  # the rest is OmegaConf's own view of the key
