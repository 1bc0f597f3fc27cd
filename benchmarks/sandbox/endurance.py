"""Many programs in a row: what do they leave behind in this process, in the servers and on the machine?

python -m benchmarks.sandbox.endurance
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from benchmarks.record import Claim, claim, head, show, write
from benchmarks.sandbox.speed import LIMITS, SUM, TRIVIAL, WORKERS
from reforge.records import Status
from reforge.sandbox.judge import Isolation, Judge

PROGRAMS, BLOCKS = 100_000, 10


def main() -> None:
    noted = []
    with Judge(LIMITS, WORKERS, minimum=Isolation.FULL) as judge:
        for block in range(BLOCKS):
            jobs = [
                (f"open('left', 'w').write('x')\n{TRIVIAL}# {block} {number}", SUM)
                for number in range(PROGRAMS // BLOCKS)
            ]
            verdicts = judge.judge_many(jobs)
            wrong = [verdict for verdict in verdicts if verdict.status is not Status.ACCEPTED]
            assert not wrong, wrong[0]
            del verdicts, jobs, wrong
            judge._cache._known.clear()  # what it remembers on purpose is not what is measured
            noted.append(state(judge))
            print(noted[-1], flush=True)
    left = len(psutil.Process().children(recursive=True))
    claims = claims_of(noted, left)
    show(claims)
    write("sandbox_endurance", claims, noted, head())


def claims_of(noted: list[dict[str, int]], left: int) -> list[Claim]:
    """Return claims about the time from the second tenth on: by then every pool has filled."""
    before, after = noted[1], noted[-1]
    claims = []
    for what in ("processes", "descriptors", "mounts", "files"):
        more = after[what] - before[what]
        text = f"{what} more after {PROGRAMS:,} programs than after {2 * PROGRAMS // BLOCKS:,}"
        claims.append(claim(text, more, "", "≤ 0", more <= 0))
    growth = after["memory_kb"] / before["memory_kb"]
    return [
        *claims,
        claim("memory of the judge and its servers, at the end to then", growth, "times", "≤ 1.02", growth <= 1.02),
        claim("processes left when the judge is closed", left, "", "0", left == 0),
    ]


def state(judge: Judge) -> dict[str, int]:
    """Return what this process, the servers and all below them hold."""
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    inside = [os.path.join("/proc", str(process.pid), "root", "scratch") for process in processes]
    scratch = [*judge._fleet._folders.values(), *inside]
    return {
        "processes": len(processes),
        "descriptors": sum(process.num_fds() for process in processes),
        "mounts": sum(len(Path(f"/proc/{process.pid}/mounts").read_text().splitlines()) for process in processes),
        "files": sum(len(os.listdir(folder)) for folder in scratch if os.path.isdir(folder)),
        "memory_kb": sum(process.memory_info().rss for process in processes) >> 10,
    }


if __name__ == "__main__":
    main()
