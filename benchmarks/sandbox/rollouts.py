"""A whole `smoke` in which one rollout in three is hostile, twice: does it end, does each hostile rollout get what it
earns, and are the weights the same?   python -m benchmarks.sandbox.rollouts
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.record import ROOT, Claim, claim, head, show, write
from reforge.files.tensors import tensor_digests
from reforge.rollouts.refusal import refusal
from reforge.rollouts.store import from_row

PROGRAMS = {
    "lone surrogate": "def solve(x):\n    raise ValueError('\\ud800' * 100)",
    "complex of 400 digits": "import os\ndef solve(x):\n"
    '    os.write(4, b\'{"value": {"$": "complex", "v": [1, \' + b\'9\' * 400 + b\']}}\\n\')\n    os._exit(0)',
    "60,000 slashes": "raise type('/' * 60000, (Exception,), {})('x')",
    "nested 100 deep": "def solve(x):\n    v = 0\n    for _ in range(100): v = [v]\n    return v",
    "colliding integers": "import os\ndef solve(x):\n"
    "    numbers = ','.join(str(((1 << 61) - 1) * k) for k in range(1, 20000))\n"
    '    said = (\'{"value": {"$": "set", "v": [\' + numbers + \']}}\\n\').encode()\n'
    "    while said: said = said[os.write(4, said):]\n    os._exit(0)",
    "3,000 folders": "import os\nfor _ in range(3000):\n    try: os.mkdir('d'); os.chdir('d')\n"
    "    except OSError: break\ndef solve(x):\n    return None",
    "removed folder": "import os\nd = os.getcwd()\nos.chdir('/')\ntry: os.rmdir(d)\nexcept OSError: pass\n"
    "def solve(x):\n    return None",
    "filled scratch": "try:\n    for n in range(64):\n        with open(str(n), 'wb') as f: f.write(bytes(1 << 20))\n"
    "except OSError: pass\ndef solve(x):\n    return None",
}
NUMBERS = ["-inf", "inf", "nan", "0.5"]  # numbers that are no log-probabilities
KINDS = len(PROGRAMS) + len(NUMBERS)
DRIVER = """\
import json, sys
from dataclasses import replace
from reforge.rollouts.sampler import Sampler
from reforge.frame.run import run_stage

PROGRAMS, NUMBERS = json.loads(sys.argv[2])
honest = Sampler._rollout

def hostile(self, prompt, seed, answer):
    if seed % 3:
        return honest(self, prompt, seed, answer)
    kind = seed // 3 % (len(PROGRAMS) + len(NUMBERS))
    if kind >= len(PROGRAMS):
        bad = float(NUMBERS[kind - len(PROGRAMS)])
        return honest(self, prompt, seed, {**answer, "logprobs": [bad, *answer["logprobs"][1:]]})
    rollout = honest(self, prompt, seed, answer)
    return replace(rollout, text=f"```python\\n{PROGRAMS[kind]}\\n```")

Sampler._rollout = hostile
run_stage(sys.argv[1])
"""


def driven(stage: str) -> list[str]:
    """Return the command that runs a stage whose sampler is hostile."""
    return [sys.executable, "-c", DRIVER, stage, json.dumps([list(PROGRAMS.values()), NUMBERS])]


def main() -> None:
    runs = [{"turn": turn, **whole(turn)} for turn in range(2)]
    claims = claims_of(runs)
    show(claims)
    write("sandbox_rollouts", claims, runs, head())
    sys.exit(not all(each["met"] for each in claims))


def whole(turn: int) -> dict[str, Any]:
    """Run all stages in a clone of its own, and return what came of their rollouts, and digests of all weights."""
    with tempfile.TemporaryDirectory(prefix="reforge-") as folder:
        project = Path(folder, "project")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
        environment = {"PYTHONPATH": f"{project / 'src'}:{project}", "PYTHONHASHSEED": "0", "HOME": str(Path.home())}
        environment["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"

        def run(*command: str) -> str:
            done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            return done.stdout

        run("reforge", "compose", "experiment=smoke")
        stages = run(sys.executable, "-c", "from reforge.lineage import graph; print(*graph.stages())").split()
        for stage in stages:  # each after those that it depends on
            run(*driven(stage))
            print(turn, stage, flush=True)
        outputs = project / "outputs"
        found = counted(outputs)
        weights = {
            f"{path.parent.relative_to(outputs)}/{name}": digest
            for path in sorted(outputs.rglob("model/config.json"))
            for name, digest in tensor_digests(path.parent).items()
        }
    return {"ended": stages, "rollouts": dict(sorted(found.items())), "weights": weights}


def counted(folder: Path) -> Counter[str]:
    """Return how many rollouts of each kind have which status; of those with impossible numbers, how many were
    refused."""
    found = Counter[str]()
    for file in sorted(it for it in folder.rglob("*.parquet") if "rollouts" in (it.stem, it.parent.name)):
        for row in pq.read_table(file).to_pylist():
            kind = row["seed"] // 3 % KINDS if row["seed"] % 3 == 0 else -1
            name = "honest" if kind < 0 else [*PROGRAMS, *NUMBERS][kind]
            refused = "refused" if refusal(from_row(row)[0]) else row["status"]
            found[f"{name}: {refused}"] += 1
    return found


def claims_of(runs: list[dict[str, Any]]) -> list[Claim]:
    rollouts = [Counter[str](run["rollouts"]) for run in runs]
    total = sum(sum(found.values()) for found in rollouts)
    hostile = sum(n for found in rollouts for what, n in found.items() if not what.startswith("honest"))
    wrong = sum(n for found in rollouts for what, n in found.items() if not right(*what.split(": ")))
    first, second = (run["weights"] for run in runs)
    differing = sum(first.get(name) != second.get(name) for name in first.keys() | second.keys())
    texts = (
        "hostile rollouts with a verdict that they did not earn, or honest ones that were refused or not judged",
        "tensors of all models that differ between the two runs",
        "rollouts that did not come out alike in both",
    )
    return [
        claim(texts[0], wrong, f"of {total:,}, {hostile:,} of them hostile", "0", hostile > 0 and not wrong),
        claim(texts[1], differing, f"of {len(first)}", "0", bool(first) and not differing),
        claim(texts[2], (rollouts[0] - rollouts[1]).total(), "", "0", rollouts[0] == rollouts[1]),
    ]


def right(kind: str, status: str) -> bool:
    """Return whether this is a status that rollouts of the kind earn."""
    if kind in NUMBERS:
        return status == "refused"
    if kind in PROGRAMS:
        # NP: an evaluation cuts the tokens at its shorter limits and reads them again, and they are honest
        return status in ("RE", "WA", "CE", "TLE", "MLE", "OLE", "NP")
    return status not in ("refused", "INFRA", "BROKEN")


if __name__ == "__main__":
    main()
