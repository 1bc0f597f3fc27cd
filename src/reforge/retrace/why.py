"""Trace where a number, a model or a single rollout comes from, back over the graph to the rows that curation read."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reforge.errors import UserError
from reforge.files.jsonfile import flat, read_json
from reforge.lineage import graph, levels, manifest
from reforge.lineage.graph import StageSpec
from reforge.machine.project import command, project_root
from reforge.problems.store import fate_of
from reforge.rollouts.digests import named
from reforge.rollouts.store import read_rows, rollouts_file

_SHOWN = 8


def why(what: str) -> list[str]:
    """Return, line by line, the origin of a stage, a file, a digest, a rollout (rl@short/3/PROBLEM/0), a metric's name
    or a number as it is shown. Raises UserError for anything else."""
    os.chdir(project_root())
    specs = graph.stages()
    if name := maker(what, specs):
        return explain(name)
    if found := _rollout(what, specs):
        return found
    if re.fullmatch(r"[0-9a-f]{6,64}(\.dir)?", what) and (name := _of_digest(what, specs)):
        return [f"{what} is what {name} made", *explain(name)]
    if numbers := list(_numbers(what.removeprefix("+").replace("\N{MINUS SIGN}", "-"), specs)):
        lines, makers = [line for _, line in numbers], sorted({name for name, _ in numbers} - {"report"}) or ["report"]
        lines[_SHOWN:] = [f"… and in {len(lines) - _SHOWN} more places"] if len(lines) > _SHOWN else []
        if len(makers) > 1:
            return [*lines, f"Several stages have found it. Ask of one, as in: {command(f'reforge why {makers[0]}')}"]
        return [*lines, *explain(makers[0])]
    near = difflib.get_close_matches(what, [*specs, *(key for _, _, key, _ in _found(specs))], 1)
    raise UserError(
        f"{what!r} is no stage ({', '.join(specs)}), no file under an output of one, no digest in dvc.lock, no rollout "
        "(rl@short/3/PROBLEM/0: of step 3; evaluate@sft/long/PROBLEM/0: cut at the limit long; "
        "sample@teacher/PROBLEM/0), and no metric or value in metrics/ or in a table (*.json) of an output."
        f"{f' Did you mean {near[0]}?' if near else ''}"
    )


def explain(target: str) -> list[str]:
    """Describe the stage `target` and each stage that it depends on, nearest first: output, digest, MLflow run, how
    surely it can be reproduced, and what it read. Raises UserError where `target` is not in dvc.lock."""
    specs, upstream = graph.stages(), graph.graph()
    if not graph.locked(target):
        first = command(f"dvc repro {target}")
        raise UserError(f"{target} has not run here, or is not in dvc.lock. Start with: {first}")
    needed = {target}
    for name in reversed(upstream):  # downstream first
        if name in needed:
            needed |= set(upstream[name])
    lines = []
    for name in reversed(upstream):
        if name in needed:
            lines += _describe(name, specs[name], [specs[up].out for up in upstream[name]])
    return lines


def maker(what: str, specs: Mapping[str, graph.StageSpec]) -> str:
    """Return the stage with this name, or the one whose output holds this file; empty if there is none. Raises
    UserError where the stage's output is here without the file."""
    if what in specs:
        return what
    path = os.path.normpath(what.removeprefix(f"{project_root()}/"))
    for name, spec in specs.items():
        if path in (spec.out, spec.metrics) or path.startswith(f"{spec.out}/"):
            if Path(spec.out).exists() and not Path(path).exists():
                raise UserError(f"{path} is not there, and {name} made nothing of that name that is here now.")
            return name
    return ""


def _of_digest(what: str, specs: Mapping[str, StageSpec]) -> str:
    """Return the stage that made what has this digest: an output, a part of one that a later stage reads, weights by
    value, or a single file; empty if there is none."""
    locks = {name: graph.locked(name) for name in specs}
    for name, lock in locks.items():
        made = [entry["md5"] for entry in lock.get("outs", [])]
        within = [digest for folder in made for digest in graph.contents(folder).values()]
        if any(digest.startswith(what) for digest in [*made, *within, *manifest.read(name, Path()).weights.values()]):
            return name
    read = [entry["path"] for lock in locks.values() for entry in lock.get("deps", []) if entry["md5"].startswith(what)]
    return next((name for path in read if (name := maker(path, specs))), "")


def _numbers(what: str, specs: Mapping[str, StageSpec]) -> Iterator[tuple[str, str]]:
    """Yield a stage, and where its headlines or tables hold what was asked for: by name, or by value as far as it is
    written out."""
    asked = re.fullmatch(r"(-?\d+(?:\.(\d+))?) ?%?", what.replace(",", ""))
    for name, path, key, value in _found(specs):
        if key == what or (asked and _shows(value, float(asked[1]), len(asked[2] or ""))):
            yield name, f"{key} = {value} in {path}"


def _found(specs: Mapping[str, StageSpec]) -> Iterator[tuple[str, Path, str, Any]]:
    """Yield (stage, file, key, value) of all headlines and tables."""
    for name, spec in specs.items():
        remedy = f"Bring it back with: {command(f'dvc repro {name}')}"
        for path in (Path(spec.metrics), *sorted(Path(spec.out).glob("*.json"))):
            for key, value in flat(read_json(path, remedy)).items() if path.is_file() else ():
                yield name, path, key, value


def _shows(value: Any, number: float, places: int) -> bool:
    """Return whether `value`, or its percentage, would be written as `number` with so many decimal places."""
    return isinstance(value, int | float) and number in (round(value, places), round(100 * value, places))


def _rollout(what: str, specs: Mapping[str, StageSpec]) -> list[str]:
    stage, _, rest = what.partition("/")
    if stage not in specs or not (parts := re.fullmatch(r"(.+)/(\d+)(?:\.(\d+))?", rest)):
        return []
    base, (place, index, turn) = stage.partition("@")[0], parts.groups("0")
    step, first = "", {}
    if base == "rl":
        step, _, place = place.partition("/")
    elif base == "evaluate":
        limit, _, place = place.partition("/")
        first = {"limit": limit}
    path = rollouts_file(base, Path(specs[stage].out), int(step) if step.isdigit() else 0)
    wanted = {"problem_id": place, "index": int(index), "turn": int(turn), **first}
    rows = read_rows([path])
    found = [row for row in rows if wanted.items() <= row.items()]
    if not found:
        cut = f"{first['limit']}/" if first else ""
        some = next(f"{row['limit'] and row['limit'] + '/'}{row['problem_id']}/{row['index']}" for row in rows)
        raise UserError(
            f"{path} has no rollout {cut}{named(place, int(index), int(turn))}; it has, for instance, {some}."
        )
    (problems,) = [path for path in specs[stage].deps if path.startswith("outputs/curate/")]
    problem = fate_of([Path(problems)], place)
    return [f"{what}: in {path}", *_described(found[0]), *(f"    problem {line}" for line in problem), *explain(stage)]


def _described(row: Mapping[str, Any]) -> list[str]:
    why_so = f" ({row['reason']})" if row["reason"] else ""
    versions = "·".join(map(str, sorted(set(row["policy_versions"]))))
    return [
        f"    drawn with seed {row['seed']} from policy version {versions}: {len(row['token_ids'])} tokens, ended by "
        f"{row['finish_reason']}",
        f"    verdict {row['status']}{why_so} at isolation {row['isolation'] or 'none'}: reward {row['reward']}, "
        f"advantage {row['advantage']}",
    ]


def _changed(paths: list[str], digests: dict[str, str]) -> list[str]:
    """Return a line for each path that is no longer what dvc.lock names: what lies here now is what is read."""
    here = graph.digests(path for path in paths if Path(path).exists())
    other, this = command("dvc checkout"), command("dvc commit")
    return [
        f"    CHANGED since dvc.lock: {path} is {digest} now (`{other}` restores the other, `{this}` keeps this)"
        for path, digest in here.items()
        if digest != digests[path]
    ]


def _describe(name: str, spec: graph.StageSpec, upstream: list[str]) -> list[str]:
    lock = graph.locked(name)
    digests = {entry["path"]: entry["md5"] for entry in lock.get("outs", [])}
    if spec.out not in digests:
        return [f"{name}: has not run, or is not in dvc.lock"]
    record = manifest.read(name, project_root())
    # The manifest describes the last run here. If DVC brought an output from its cache, a different run made it.
    made_here = record.outs.get(spec.out) == digests[spec.out]
    run = (
        f"MLflow run {record.mlflow_run_id}"
        if made_here and record.mlflow_run_id
        else f"{'made here' if made_here else 'made elsewhere'}: find the MLflow run with tags.`reforge.out` = "
        f"'{digests[spec.out]}'"
    )
    lines = [f"{name}: {spec.out}  md5 {digests[spec.out]}  {run}"]
    facts = record.facts if made_here else {}
    lines += _changed([path for path in (spec.out, spec.metrics) if path in digests], digests)
    lines += [f"    read {path}  sha256 {digest}" for path, digest in _pinned(lock.get("params", {}))]
    lines.append(f"    {levels.level(spec.out, digests[spec.out], facts, project_root())}")
    for entry in lock.get("deps", []):
        if any(
            entry["path"] == out or entry["path"].startswith(f"{out}/") or out.startswith(f"{entry['path']}/")
            for out in upstream
        ):
            lines.append(f"    from {entry['path']}  md5 {entry['md5']}")
    return lines


def _pinned(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the files that parameters of a stage pin by a digest: problem sets, and a reward or environment of the
    user's own."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _pinned(inner)
    if isinstance(value, dict) and value.get("path") and value.get("sha256"):
        yield value["path"], value["sha256"]
