"""The conductor, which reads DVC's graph and runs each stage of it as a Prefect task. It decides when, where and how
often to retry; DVC decides what a stage is and whether it is stale."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from flows.console import say
from flows.hooks import close_tracking
from flows.stage import Outcome, end_all, forget_progress, named, reproduce
from reforge.config.compose import compose, origins
from reforge.config.load import build_config
from reforge.config.params import keep_origins, write_params
from reforge.errors import InfrastructureError
from reforge.files.digests import sha256
from reforge.frame import runs
from reforge.frame.gone import remove_gone
from reforge.frame.values import require_unchanged
from reforge.lineage.graph import StageSpec, graph, stages
from reforge.machine.project import quiet
from reforge.machine.workspace import occupied

TABLE = Path("report/table.md")


@flow(
    name="pipeline",
    on_failure=[close_tracking],
    on_crashed=[close_tracking],
    on_cancellation=[close_tracking],
)
def pipeline(
    experiment: str = "tiny",
    overrides: list[str] = [],  # noqa: B006  Prefect makes its form of these defaults
    targets: list[str] = [],  # noqa: B006
    force: bool = False,
) -> list[Outcome]:
    """From raw problems to the report.

    Args:
        experiment: a file of conf/experiment
        overrides: Hydra overrides, for example ["rl.*.learning_rate=1e-4"]
        targets: stages to bring up to date, with all that they need; none means all
        force: run the targets even if nothing that they depend on has changed
    """
    quiet()
    overrides = [f"experiment={experiment}", *overrides]
    values = compose(overrides)
    with occupied(change=lambda: write_params(values, runs.PARAMS), patience=20.0):
        keep_origins(origins(overrides), runs.PARAMS)
        for line in remove_gone(build_config(values, str(runs.PARAMS))):
            say(line)
        return _run(targets, force)


def _run(targets: list[str], force: bool) -> list[Outcome]:
    me, values = str(flow_run.get_id()), sha256(runs.PARAMS)
    runs.begin_flow(me)
    text = f"```yaml\n{runs.PARAMS.read_text()}```"
    create_markdown_artifact(text, key="config", description=f"sha256 {values}")
    edges, specs = graph(), stages()
    asked = named(edges, targets)
    if force:
        for name in asked:
            forget_progress(name)
    outcomes = _run_all(needed(edges, asked), specs, asked if force else set(), values)
    runs.mirror_cached([outcome.stage for outcome in outcomes if outcome.status != "ran"])
    runs.end_flow(me, "FINISHED")
    create_table_artifact([vars(outcome) for outcome in outcomes], key="stages", description="what each stage did")
    if TABLE.is_file():
        create_markdown_artifact(TABLE.read_text(), key="results", description="held-out problems")
    return outcomes


def needed(edges: dict[str, list[str]], asked: set[str]) -> dict[str, list[str]]:
    """Return the part of the graph that leads to the stages `asked` for, upstream first like `edges`."""
    wanted = set(asked)
    for name in reversed(edges):
        if name in wanted:
            wanted.update(edges[name])
    return {name: upstream for name, upstream in edges.items() if name in wanted}


def _run_all(edges: dict[str, list[str]], specs: dict[str, StageSpec], forced: set[str], values: str) -> list[Outcome]:
    running: dict[str, PrefectFuture[Outcome]] = {}
    try:
        for name, upstream in edges.items():
            limit = "gpu" if specs[name].needs == "gpu" and has_gpu() else ""
            stage = run_stage.with_options(name=name, task_run_name=name)
            before = [running[up] for up in upstream]
            running[name] = stage.submit(name, name in forced, limit, values, wait_for=before, return_state=False)
        wait(list(running.values()))
    except BaseException:  # cancelled, killed or broken: no stage may outlive the flow
        end_all()
        raise
    for future in running.values():
        if future.state.is_failed():
            future.result()
    return [future.result() for future in running.values()]


def _worth_a_retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result()
    except InfrastructureError as error:
        say(f"  trying again: {error}")
        return True
    except BaseException:
        return False
    return False


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=_worth_a_retry)
def run_stage(name: str, force: bool, limit: str, values: str) -> Outcome:
    require_unchanged(values, f"stage {name!r} was not started")
    say(f"── {name}")
    log: Callable[[str], None] = get_run_logger().info
    slot: AbstractContextManager[None] = concurrency(limit, strict=True) if limit else nullcontext()
    with slot:
        outcome = reproduce(name, log, force)
    say(f"   {name}: {outcome.status}" + (f", {outcome.seconds:.0f} s" if outcome.status == "ran" else ""))
    return outcome


def has_gpu() -> bool:
    """Return whether this machine has a GPU. Stages take it where there is one: only there the limit `gpu` counts."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
