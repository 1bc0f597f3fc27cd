"""How surely a result comes about again, by what has happened and not by what was promised: the levels R0 to R3 of an
output, and R4 of an experiment, which came out the same within a tolerance on a different number of threads
(`benchmarks/road/run.py` measures it)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reforge.files.jsonfile import read_json, write_json

VERIFIED = "verified.json"  # the report reads it; "outputs": the digests that `reforge verify` has made again
R0 = "R0, recorded"


def level(out: str, digest: str, facts: Mapping[str, Any], root: Path) -> str:
    """Return the level of the output `out`, with this digest, of a stage that ran here with these `facts` (of its
    manifest; empty: it was made elsewhere)."""
    if verified(root).get(out) == digest:
        return "R3, bit-exact: reforge verify has made it again"
    if not facts:
        return f"{R0}: it was made elsewhere"
    if facts["code"]["dirty"]:
        return f"{R0}: the code that it ran on is not committed"
    resumed = facts["resumed"]
    if differing := sorted({what for step in resumed for what in step["differing"]}):
        return f"R1, re-runnable: after an interruption {differing[0]} came out differently"
    if resumed:
        steps = len({step["step"] for step in resumed})
        return f"R2, resume-equal: {steps} step{'s' * (steps > 1)} came out the same after an interruption"
    return "R1, re-runnable: no step had to be computed again, and it is not verified yet"


def verified(root: Path) -> dict[str, str]:
    """Return the digest of each output that `reforge verify` has made again."""
    return _read(root, "outputs")


def note(root: Path, outs: Mapping[str, str | None]) -> None:
    """Note what `verify` found of these outputs: the digest that came out again; None where it did not."""
    _note(root, "outputs", outs)


def note_repeated(root: Path, experiment: str, said: str | None) -> None:
    """Note in a sentence that an experiment reached R4; None where it did not."""
    _note(root, "experiments", {experiment: said})


def _read(root: Path, part: str) -> dict[str, str]:
    path = root / VERIFIED
    remedy = f"Bring it back (git checkout {VERIFIED}), or write {{}} into it: then nothing counts as verified"
    return dict(read_json(path, remedy).get(part, {})) if path.is_file() else {}


def _note(root: Path, part: str, found: Mapping[str, str | None]) -> None:
    parts = {name: _read(root, name) for name in ("outputs", "experiments")}
    known = {name: value for name, value in {**parts[part], **found}.items() if value is not None}
    if known != parts[part]:
        write_json(root / VERIFIED, {**parts, part: known})
