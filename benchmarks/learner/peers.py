"""How fast is a learner step beside trainers that need environments of their own: same model, same completions, same
machine, taking turns?   python -m benchmarks.learner.peers

- Tunix trains all weights with JAX.
- AgileRL trains adapters only (LoRA, rank 16, all linear layers), and so do we beside it.

Each has both cores and its fastest micro-batch, with or without its own sequence packing. Its first step, which
compiles, does not count. verl 0.9.1 is not here: its engines ask for an accelerator.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.learner.speed import GROUP, MICRO_BATCHES, ROUNDS, SHAPES, STEPS, alone, new_policy, our_round, work
from benchmarks.record import ROOT, Claim, claim, head, mean_ratio, show, write

TORCH_INDEX = ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]
WAYS = ("", "packed")
GOALS = {"long-tailed": 2.0, "equal": 1.2}  # for the lower end of the interval


@dataclass(frozen=True)
class Peer:
    name: str
    needs: Sequence[str]
    adapters: bool = False

    @property
    def script(self) -> Path:
        return Path(__file__).parent / "sides" / f"{self.name.lower()}_side.py"


PEERS = (
    Peer("Tunix", ["google-tunix==0.1.7"]),
    Peer(
        "AgileRL",
        ["agilerl[cpu-llm]==2.58.0", f"torch=={version('torch')}"],
        adapters=True,
    ),
)


def environment(peer: Peer) -> Path:
    """Return the Python of an environment in which the peer is installed from PyPI, apart from our own."""
    folder = ROOT / ".scratch" / "peers" / peer.name
    python = folder / "bin" / "python"
    if not (folder / "installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        # The CPU build of torch is not on PyPI. Whoever has a mirror or find-links with it is served first.
        if all(subprocess.run([*pip, *index, *peer.needs], check=False).returncode for index in ([], TORCH_INDEX)):
            raise SystemExit(f"{peer.name} could not be installed: pip's words are above.")
        (folder / "installed").touch()
    return python


class Side:
    """The peer's process: a learner with its model and work, which waits for its turn."""

    def __init__(self, peer: Peer, shape: str, way: str, micro_batch: int) -> None:
        given = work(SHAPES[shape])
        self.file = Path(tempfile.mkdtemp(prefix="reforge-peer-")) / "work.json"
        self.file.write_text(json.dumps({**asdict(given), "group": GROUP}))
        command = [str(environment(peer)), str(peer.script), str(new_policy()), str(self.file), str(micro_batch)]
        self.process = subprocess.Popen(
            [*command, *([way] if way else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.file.with_suffix(".log").open("w"),
            text=True,
        )
        self.seconds(1)

    def seconds(self, steps: int = STEPS) -> float:
        """Return the median seconds of a few steps."""
        assert self.process.stdin
        assert self.process.stdout
        found = []
        for _ in range(steps):
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            if not answer:
                raise SystemExit(f"{self.file.with_suffix('.log').read_text()[-3000:]}")
            found.append(float(answer))
        return statistics.median(found)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def beside(peer: Peer, shape: str) -> dict[str, Any]:
    """Return the seconds of both sides, round by round."""
    tried = {}
    for way in WAYS:
        for size in MICRO_BATCHES:
            with Side(peer, shape, way, size) as side:
                tried[way, size] = side.seconds()
    way, size = min(tried, key=tried.__getitem__)
    theirs, own = [], []
    with Side(peer, shape, way, size) as side, alone() as process:
        process.submit(our_round, shape, peer.adapters).result()
        for _ in range(ROUNDS):
            theirs.append(side.seconds())
            own.append(process.submit(our_round, shape, peer.adapters).result())
    return {
        "peer": peer.name,
        "lengths": shape,
        peer.name: theirs,
        "ours": own,
        "its micro-batch": f"{size} {way}".strip(),
        "tried": {f"{size} {way}".strip(): seconds for (way, size), seconds in tried.items()},
        "packages": subprocess.check_output([environment(peer), "-m", "pip", "freeze"], text=True).split(),
    }


def compared(peer: Peer, shape: str, run: dict[str, Any]) -> Claim:
    theirs, own = run[peer.name], run["ours"]
    mean, low, high = mean_ratio([one / other for one, other in zip(theirs, own, strict=True)])
    what = "adapters of rank 16" if peer.adapters else "all weights"
    text = (
        f"learner step, {what}, {shape} lengths: {peer.name} ({statistics.median(theirs):.2f} s) to ours "
        f"({statistics.median(own):.2f} s) (95% interval {low:.3g} to {high:.3g})"
    )
    return claim(text, mean, "times", f"lower end ≥ {GOALS[shape]:g}", low >= GOALS[shape])


def main() -> None:
    commit, claims, runs = head(), [], []
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for peer in PEERS:
        for shape in SHAPES:
            runs.append(beside(peer, shape))
            claims.append(compared(peer, shape, runs[-1]))
    show(claims)
    write("learner_peers", claims, runs, commit)


if __name__ == "__main__":
    main()
