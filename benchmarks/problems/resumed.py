"""Does curation that is killed at random moments and started again give the same bytes, and no finished verification
twice?

python -m benchmarks.problems.resumed
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import ROOT, Claim, claim, head, show, write

STAGE, KILLS, PROBLEMS = "curate@problems", 25, 300
SPIN = """
total = 0
for number in range({rounds}):
    total += number * number % 7
print(int(input()) + {add})
"""


def rows(count: int, rounds: int) -> list[dict[str, Any]]:
    """Return rows with three programs of some CPU time each; one in ten has a wrong one, one in twenty the words of a
    different one."""
    draw, found = random.Random(0), []
    for number in range(count):
        program = SPIN.format(rounds=rounds + number, add=number)
        wrong = program.replace("print(", "print(1 + ")
        inputs = [draw.randrange(10**6) for _ in range(5)]
        words = f"Add {number} to the number that you read and print what comes out of it."
        found.append(
            {
                "id": f"add/{number}",
                "statement": words if number % 20 else "Add the same to the number that you read and print it.",
                "solution": wrong if number % 10 == 3 else program,
                "alternatives": [f"# again\n{program}", f"# and again\n{program}"],
                "tests": [{"kind": "stdin", "input": str(n), "expected": str(n + number)} for n in inputs],
            }
        )
    return found


def prepare(project: Path, count: int, rounds: int) -> None:
    """Give a project such rows to curate."""
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(count, rounds)))
    (project / "conf" / "curate" / "mine.yaml").write_text(
        "defaults: [_published]\nsources: {mine: {adapter: reforge, path: rows.jsonl}}\nnear: null\n"
    )
    sizes = [f"curate.problems.train={count // 2}", f"curate.problems.heldout={count // 10}"]
    done = command(project, "compose", "curate.problems=mine", *sizes).wait()
    assert done == 0, (project / "log").read_text()


def curated(project: Path, kills: int, draw: random.Random, longest: float) -> list[float]:
    """Curate, with so many kills of the whole process group before. Returns the seconds that each run was left."""
    left: list[float] = []
    while len(left) < kills:
        seconds = draw.uniform(0.5, longest)
        running = command(project, "stage", STAGE)
        try:
            if running.wait(seconds) == 0:
                break  # done before its time: nothing is left to kill
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            left.append(round(seconds, 2))
    assert command(project, "stage", STAGE).wait() == 0, (project / "log").read_text()[-2000:]
    return left


def outcome(project: Path) -> dict[str, bytes]:
    """Return every file that the stage made, headline numbers included."""
    made = [path for path in (project / "outputs" / "curate" / "problems").rglob("*") if path.is_file()]
    headline = project / "metrics" / "curate" / "problems.json"
    return {str(path.relative_to(project)): path.read_bytes() for path in [*made, headline]}


def verdicts(project: Path) -> list[str]:
    """Return the keys of all verifications that were finished, in their order."""
    path, found = project / ".runs" / "verdicts.jsonl", []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            found.append(str(json.loads(line)["key"]))
        except (ValueError, KeyError):
            continue  # torn by a kill: that one was not finished
    return found


def command(project: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `reforge` with these words on the project's own code, in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{project / 'src'}:{project}"}
    log = (project / "log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-c", "from reforge.cli.main import main; main()", *words],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        calm, disturbed = Path(folder, "calm"), Path(folder, "disturbed")
        for project in (calm, disturbed):
            subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
            prepare(project, PROBLEMS, 150_000)
        start = time.perf_counter()
        curated(calm, 0, random.Random(0), 1.0)
        seconds = time.perf_counter() - start
        left = curated(disturbed, KILLS, random.Random(1), seconds / 8)
        expected, found, asked = outcome(calm), outcome(disturbed), verdicts(disturbed)
        needed = len(set(verdicts(calm)))
        shutil.copy(disturbed / "outputs" / "curate" / "problems" / "funnel.json", Path(folder, "funnel.json"))
        funnel = json.loads(Path(folder, "funnel.json").read_text())
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    claims = claims_of(left, differing, asked, needed, len(expected))
    show(claims)
    run = {"uninterrupted_seconds": round(seconds, 1), "left": left, "differing": differing, "funnel": funnel}
    write("problems_resumed", claims, [run], head())


def claims_of(left: list[float], differing: list[str], asked: list[str], needed: int, files: int) -> list[Claim]:
    again = len(asked) - len(set(asked))
    return [
        claim("kills of the whole process group", len(left), "", f"{KILLS}", len(left) == KILLS),
        claim(f"files that differ from the uninterrupted run, of {files}", len(differing), "", "0", not differing),
        claim(f"finished verifications repeated, of {needed:,}", again, "", "0", again == 0),
        claim("verifications beyond those of the uninterrupted run", len(set(asked)) - needed, "", "0"),
    ]


if __name__ == "__main__":
    main()
