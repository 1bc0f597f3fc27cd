"""A rung in which one rollout in three is hostile: it ends, and alike twice; each of them has the verdict it earns."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from reforge.rollouts.refusal import refusal
from reforge.rollouts.store import from_row
from reforge.tensors import tensor_digests
from tests.pipeline.projects import run, server_of

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
NUMBERS = ["-inf", "inf", "nan", "0.5"]
DRIVER = """\
import json, sys
from dataclasses import replace
from reforge.rollouts.sampler import Sampler
from reforge.stages.contract import run_stage

PROGRAMS, NUMBERS = json.loads(sys.argv[1])
honest = Sampler._rollout

def hostile(self, prompt, index, seed, answer):
    if seed % 3:
        return honest(self, prompt, index, seed, answer)
    kind = seed // 3 % (len(PROGRAMS) + len(NUMBERS))
    if kind >= len(PROGRAMS):
        bad = float(NUMBERS[kind - len(PROGRAMS)])
        return honest(self, prompt, index, seed, {**answer, "logprobs": [bad, *answer["logprobs"][1:]]})
    rollout = honest(self, prompt, index, seed, answer)
    return replace(rollout, text=f"```python\\n{PROGRAMS[kind]}\\n```")

Sampler._rollout = hostile
run_stage("rl@16k")
"""


def test_one_rollout_in_three_is_hostile(smoke: Path, tmp_path: Path) -> None:
    ends = []
    for name in ("first", "second"):
        project = tmp_path / name
        shutil.copytree(smoke, project, ignore=shutil.ignore_patterns(".runs", ".scratch"), symlinks=True)
        run(["reforge", "compose", "experiment=smoke", server_of(smoke)], project)
        ends.append(rung(project))
    assert ends[0] == ends[1]


def rung(project: Path) -> tuple[dict[str, str], list[str]]:
    """Digests of its weights, and all statuses."""
    out = project / "outputs/rl/16k"
    shutil.rmtree(out)
    asked = json.dumps([list(PROGRAMS.values()), NUMBERS])
    run([sys.executable, "-c", DRIVER, asked], project, PYTHONHASHSEED="0")
    steps = sorted((out / "rollouts").glob("*.parquet"))
    rows = [row for step in steps for row in pq.read_table(step).to_pylist()]
    programs = [row for row in rows if row["seed"] % 3 == 0 and row["seed"] // 3 % 12 < len(PROGRAMS)]
    said = Counter((list(PROGRAMS)[row["seed"] // 3 % 12], row["status"]) for row in programs)
    assert {kind for kind, _ in said} == set(PROGRAMS)
    assert {status for _, status in said} <= {"RE", "WA", "CE", "TLE", "MLE", "OLE"}, said
    assert all(row["status"] not in ("INFRA", "BROKEN") for row in rows)
    refused = [row for row in rows if row["seed"] % 3 == 0 and row["seed"] // 3 % 12 >= len(PROGRAMS)]
    assert refused
    assert sum(bool(refusal(from_row(row)[0])) for row in rows) == len(refused)
    assert all(row["advantage"] is None and row["solved"] is None for row in refused)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["rollouts/refused"] for line in lines) == len(refused)
    assert sum(line["infra"] for line in lines) == 0
    return tensor_digests(out / "model"), [row["status"] for row in rows]
