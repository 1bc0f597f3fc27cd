"""The mechanics of a benchmark run, with real Git, DVC and `reforge compose`, and stages of a few lines."""

import shutil
import subprocess
from pathlib import Path

import pytest

import benchmarks.road.run
from reforge.records import Reward, Rollout, Status, Verdict
from reforge.rollouts.store import to_row, write_rows

ROOT = Path(__file__).parents[3]
GRAPH = """\
stages:
  base:
    foreach: ${base}
    do:
      cmd: python stage.py base/${key}
      params: [seed, "base.${key}"]
      outs: ["outputs/base/${key}"]
  sft:
    foreach: ${sft}
    do:
      cmd: python stage.py sft/${key}
      params: [seed, "sft.${key}"]
      deps: ["outputs/${item.init}"]
      outs: ["outputs/sft/${key}"]
  rl:
    foreach: ${rl}
    do:
      cmd: python stage.py rl/${key}
      params: [seed, "rl.${key}"]
      deps: ["outputs/${item.init}"]
      outs: ["outputs/rl/${key}"]
  evaluate:
    foreach: ${evaluate}
    do:
      cmd: python stage.py evaluate/${key}
      params: ["evaluate.${key}"]
      deps: ["outputs/${item.model}"]
      outs: ["outputs/evaluate/${key}"]
"""
STAGE = """\
import json, sys
from pathlib import Path
out = Path("outputs", sys.argv[1])
out.mkdir(parents=True)
with (Path(__file__).resolve().parents[1] / "ran.txt").open("a") as ran:
    ran.write(sys.argv[1] + "\\n")
(out / "name").write_text(sys.argv[1])
header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
(out / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + sys.argv[1][:1].encode())
own = [{"tokens/sampled": 30.0}, {"tokens/sampled": 40.0}]
if sys.argv[1].startswith("sft/"):
    own = [{"validation/accuracy": 0.75}, {"validation/accuracy": 0.5}]
lines = [{"step": at + 1, "tokens/trained": 3.0 + at, **line} for at, line in enumerate(own)]
(out / "metrics.jsonl").write_text("\\n".join(map(json.dumps, lines)))
(out / "scores.json").write_text(json.dumps({"model": out.name, "limits": {}}))
"""


@pytest.fixture
def road(tmp_path, monkeypatch):
    """benchmarks/road/run.py at work in a repository of its own."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "stage.py").write_text(STAGE)
    (root / ".gitignore").write_text("/outputs/\n.scratch/\nparams.yaml\n")
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(benchmarks.road.run, "ROOT", root)
    return benchmarks.road.run


def ran(road):
    """What ran since the last call: every clone's stages write into the folder beside it."""
    path = road.ROOT / ".scratch" / "road" / "ran.txt"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return set(names)


def test_a_variant_repeats_only_what_it_changes(road):
    both = road.run_road("rungs", 1, [])
    assert both["steps"] == dict.fromkeys(("sft/cold", "sft/more", "rl/short", "rl/long"), 2)
    assert both["trained"]["sft/more"] == 7.0
    assert both["best"] == {"sft/cold": BEST, "sft/more": BEST}
    assert both["sampled"] == {"rl/short": 70.0, "rl/long": 70.0}
    assert both["scores"]["rl-long"] == {"model": "rl-long", "limits": {}}
    assert both["weights"]["rl/short"] == both["weights"]["rl/long"] != both["weights"]["sft/cold"]
    assert {"sft/cold", "sft/more", "rl/short", "rl/long", "evaluate/sft-more", "evaluate/rl-long"} <= ran(road)
    alone = road.run_road("rung1", 1, road.overrides("rung1", 1, [both]))
    assert set(alone["steps"]) == {"sft/cold", "rl/short"}
    assert set(alone["scores"]) == {"sft", "rl-short"}
    # sft came out of the shared cache; the rung, whose steps changed, did not (what it makes is the same here, so its
    # evaluation is there, too)
    assert ran(road) == {"rl/short"}
    assert list((road.ROOT / ".scratch" / "road").iterdir()) == []


def test_expert_iteration_counts_the_tokens_of_its_answers(road, tmp_path):
    outputs = tmp_path / "outputs"
    for name, lengths in (("expert-1", [2, 3]), ("expert-2", [4])):
        rollouts = [
            Rollout("p", number, 0, (0,) * length, (7,), (5,) * length, (-0.1,) * length, "stop", "")
            for number, length in enumerate(lengths)
        ]
        rows = [to_row(rollout, Reward(0.0, False, {}, Verdict(Status.WRONG_ANSWER))) for rollout in rollouts]
        write_rows(outputs / "sample" / name / "data" / "rollouts.parquet", rows)
    for model in road.VARIANTS["expert"].evaluated:
        (outputs / "evaluate" / model).mkdir(parents=True)
        (outputs / "evaluate" / model / "scores.json").write_text('{"limits": {}}')
    assert road.collect(tmp_path, "expert")["sampled"] == {"sample/expert-1": 5.0, "sample/expert-2": 4.0}


def test_an_interrupted_run_goes_on_in_its_clone(road, monkeypatch):
    monkeypatch.setattr(road, "collect", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        road.run_road("rung2", 1, road.overrides("rung2", 1, [FINISHED]))
    assert "rl/long" in ran(road)
    monkeypatch.setattr(road, "collect", lambda *_: {})
    road.run_road("rung2", 1, road.overrides("rung2", 1, [FINISHED]))
    assert ran(road) == set()


BEST = {"step": 1, "accuracy": 0.75}
FINISHED = {
    "variant": "rungs",
    "seed": 1,
    "steps": {"rl/short": 2, "rl/long": 2},
    "sampled": {"rl/short": 70.0, "rl/long": 70.0},
}
