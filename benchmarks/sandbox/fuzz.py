"""Can a hostile program get an exception out of the judge, end a run, make it stand still, or say what no store
takes? Every input is a program (or an answer) that the judge runs and judges; one in ten goes over HTTP.

python -m benchmarks.sandbox.fuzz [--inputs 200000] [--seed 0] [--planted NAME]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import uvicorn

from benchmarks.record import Claim, claim, head, show, write
from benchmarks.sandbox.hostile import hostile
from reforge.machine.process import free_port
from reforge.records import Reward, Rollout, Verdict
from reforge.rollouts.store import read_rows, to_row, write_rows
from reforge.sandbox import limits as limits_module
from reforge.sandbox import wire
from reforge.sandbox.judge import Judge, Limits
from reforge.sandbox.service import RemoteJudge, app_of

LIMITS = Limits(cpu_seconds=0.5, wall_seconds=1.5, memory_mb=256, output_kb=1024, budget_seconds=5.0)
WORKERS, ROUND, INPUTS = 2, 1000, 200_000
SLOW = 1.0  # seconds of a judge's own CPU time for one input, of at most a megabyte


class Campaign:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.verdicts: Counter[str] = Counter()
        self.left: list[str] = []  # exceptions that left the judge
        self.unwritable: list[str] = []  # verdicts that a store, JSON or HTTP would not take
        self.unscored: list[str] = []
        self.ended: list[str] = []  # what would have ended a run
        self.longest = self.slowest = 0.0
        self.failed = 0

    def run(self, inputs: range) -> None:
        """Judge the inputs. Nothing that happens to one of them ends this."""
        over = threading.Event()
        beating = threading.Thread(target=self._listen, args=(over,))
        beating.start()
        try:
            with (
                Judge(LIMITS, WORKERS) as judge,
                serving(judge) as url,
                RemoteJudge([url], LIMITS, WORKERS, patience=5) as remote,
            ):
                for start in range(inputs.start, inputs.stop, ROUND):
                    numbers = range(start, min(start + ROUND, inputs.stop))
                    try:
                        with ThreadPoolExecutor(WORKERS) as pool:
                            one = lambda number: self._one(remote if number % 10 == 9 else judge, number)  # noqa: E731
                            self._store([verdict for verdict in pool.map(one, numbers) if verdict is not None])
                    except Exception as error:  # such as a table that cannot be written: a run would have ended here
                        self.ended.append(f"{start}: {type(error).__name__}: {error!s:.200}")
                    judge._cache._known.clear()
                self.failed = judge.events.counts["failed"] + remote.events.counts["lost"]
        finally:
            over.set()
            beating.join()

    def _one(self, judge: Judge | RemoteJudge, number: int) -> Verdict | None:
        program, problem = hostile(self._seed, number)
        before = time.thread_time()
        try:
            verdict = judge.judge(program, problem)
        except Exception as error:
            self.left.append(f"{number}: {type(error).__name__}: {error!s:.200}")
            return None
        self.slowest = max(self.slowest, time.thread_time() - before)
        self.verdicts[f"{problem.tests[0].kind} {verdict.status}"] += 1
        if not verdict.conclusive:
            self.unscored.append(f"{number}: {verdict.status} {verdict.reason!a:.200}")
        try:
            text = json.dumps(dataclasses.asdict(verdict), ensure_ascii=False, allow_nan=False).encode()
            assert json.loads(text) == dataclasses.asdict(verdict)
            assert len(verdict.reason) <= 300
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", verdict.reason)
        except (ValueError, AssertionError) as error:
            self.unwritable.append(f"{number}: {type(error).__name__}")
            return None
        return verdict

    def _store(self, verdicts: list[Verdict]) -> None:
        """Write the verdicts to Parquet and read them back, as those of a run are."""
        rollout = Rollout("p", 0, 0, (0,), (1,), (2,), (-0.5,), "stop", "text")
        rewards = [Reward(0.0 if verdict.conclusive else None, verdict.solved, {}, verdict) for verdict in verdicts]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.parquet")
            write_rows(path, [to_row(rollout, reward) for reward in rewards])
            back = [(row["status"], row["reason"]) for row in read_rows([path])]
        if back != [(str(verdict.status), verdict.reason) for verdict in verdicts]:
            self.unwritable.append("other reasons came back from Parquet")

    def _listen(self, over: threading.Event) -> None:
        """Note the longest time that this thread did not get the interpreter. It includes how long it waited for a
        processor."""
        last = time.monotonic()
        while not over.wait(0.005):
            now = time.monotonic()
            self.longest = max(self.longest, now - last - 0.005)
            last = now


@contextmanager
def serving(judge: Judge) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app_of(judge, 8), port=free_port(), log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()


def _lets_through(tree: Any, max_depth: int = wire.MAX_DEPTH) -> Any:
    try:
        return wire._build(tree, max_depth)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError("malformed") from error


def _quadratic(reason: str) -> str:
    return re.sub(r"/[^\s'\"]*/reforge-\w+", "…", reason)[:300]


# Faults that there were, each by itself: the patch that brings it back.
PLANTED: dict[str, Callable[[], Any]] = {
    "overflow": lambda: mock.patch.object(wire, "build", _lets_through),
    "recursion": lambda: mock.patch.object(wire, "parse", json.loads),
    "surrogates": lambda: mock.patch.object(limits_module, "fit", lambda reason: reason[:300]),
    "unbounded": lambda: mock.patch.object(
        limits_module, "fit", lambda reason: reason.encode(errors="replace").decode()
    ),
    "quadratic words": lambda: mock.patch.object(limits_module, "fit", _quadratic),
    "quadratic values": lambda: mock.patch.object(wire, "_told_apart", lambda members, nodes: members),
}


def claims_of(campaign: Campaign, inputs: int) -> list[Claim]:
    kinds = Counter[str]()
    for name, count in campaign.verdicts.items():
        kinds[name.split()[0]] += count
    unscored, unwritable = len(campaign.unscored), len(campaign.unwritable)
    left, slowest = len(campaign.left) + campaign.failed, campaign.slowest
    return [
        claim("hostile programs and answers, run and judged end to end", inputs, "", f"≥ {INPUTS}", inputs >= INPUTS),
        claim("exceptions that left the judge, or that its last net caught", left, "", "0", not left),
        claim("verdicts that JSON, HTTP or Parquet would not take", unwritable, "", "0", not unwritable),
        claim("verdicts INFRA or BROKEN, which nobody may buy", unscored, "", "0", not unscored),
        claim("runs ended", len(campaign.ended), "", "0", not campaign.ended),
        claim("the judge's own CPU time for one input, at most", slowest, "s", f"< {SLOW:g}", slowest < SLOW),
        claim("longest standstill of the process, waiting for a processor included", campaign.longest, "s"),
        *(claim(f"of these {kind} tests", count, "") for kind, count in sorted(kinds.items())),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--planted", choices=PLANTED)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    campaign, start, used = Campaign(given.seed), time.monotonic(), time.process_time()
    with PLANTED[given.planted]() if given.planted else mock.MagicMock():
        campaign.run(range(given.inputs))
    claims = claims_of(campaign, given.inputs)
    show(claims)
    for line in [*campaign.left, *campaign.ended, *campaign.unwritable, *campaign.unscored][:40]:
        print(line)
    if not given.planted and given.inputs >= INPUTS:
        run = {
            "seed": given.seed, "seconds": round(time.monotonic() - start),
            "own CPU seconds": round(time.process_time() - used),
            "verdicts": dict(sorted(campaign.verdicts.items())), "left": campaign.left[:20],
            "unscored": campaign.unscored[:20],
        }  # fmt: skip
        write("sandbox_fuzz", claims, [run], head())


if __name__ == "__main__":
    main()
