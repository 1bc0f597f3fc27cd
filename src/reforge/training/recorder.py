"""Record for a replay what each step was: its rollouts, and digests of them and of the weights that it left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from reforge.errors import UserError
from reforge.files.tensors import tensor_digests
from reforge.records import Group
from reforge.rollouts.digests import StepDigests, digests_of, read_digests, rollout_digests, write_digests
from reforge.rollouts.store import to_row, write_rows
from reforge.training.learn import Advantages


class Recorder:
    """A recorder that writes one step beside the training of the next. Where a record of the same step lies there
    already, this one was computed again after an interruption: the two are compared, and `recomputed(step, differing)`
    is called with what differs."""

    def __init__(self, folder: Path, recomputed: Callable[[int, list[str]], None]) -> None:
        self._folder, self._recomputed = folder, recomputed
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._writing: Future[None] | None = None

    def begin(self, step: int, groups: Sequence[Group], advantages: Advantages, weights: Path) -> None:
        """Begin to record a step. `weights` must stay as they are until `settle` has returned."""
        self.settle()
        self._writing = self._thread.submit(self._write, step, groups, advantages, weights)

    def settle(self) -> None:
        """Wait until what was begun is on the disk. Raises what went wrong with it."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def close(self) -> None:
        self._thread.shutdown()

    def _write(self, step: int, groups: Sequence[Group], advantages: Advantages, weights: Path) -> None:
        path = self._folder / f"step-{step:05d}.parquet"
        mark, rollouts = path.with_suffix(".json"), dict[str, list[str]]()
        write_rows(path, _rows(step, groups, advantages), lambda piece: rollouts.update(rollout_digests(piece)))
        record = digests_of(step, rollouts, tensor_digests(weights))
        if mark.is_file():
            try:
                self._compare(read_digests(mark), record)
            except UserError as error:
                logging.warning("Step %d was computed again and cannot be compared: %s", step, error)
        write_digests(mark, record)

    def _compare(self, before: StepDigests, now: StepDigests) -> None:
        differing = before.changed(now) + [f"tensor {name}" for name in before.other_tensors(now)]
        if differing:
            logging.warning(
                "Step %d, computed again after the interruption, is not what it was: %s", now.step, ", ".join(differing)
            )
        self._recomputed(now.step, differing)


def _rows(step: int, groups: Sequence[Group], advantages: Advantages) -> Iterator[dict[str, object]]:
    for group, values in zip(groups, advantages, strict=True):
        for rollout, reward, advantage in zip(group.rollouts, group.rewards, values, strict=True):
            yield to_row(rollout, reward, step, advantage)
