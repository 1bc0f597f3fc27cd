"""`make demo`: a Prefect server, a work pool, a worker and one run of the pipeline, here, and gone afterwards.

    python -m flows.local --experiment tiny [KEY=VALUE ...]

Killed at any point and started again it goes on where it was: DVC skips what is finished, a stage resumes inside.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

from flows.hooks import close_tracking
from flows.leash import end, leashed
from flows.stage import named
from reforge.config.compose import compose
from reforge.errors import InfrastructureError, UserError, disk_failure
from reforge.lineage.graph import graph
from reforge.machine.process import free_port
from reforge.machine.progress import TERMINAL
from reforge.machine.project import command, project_root, quiet
from reforge.machine.workspace import described, occupied

PORT = "PREFECT_SERVER_API_PORT"
START_SECONDS = 600.0
MARK = "REFORGE_LOCAL"  # set in the environment of every process of a local run, to the run's Prefect folder


def main(arguments: list[str]) -> int:
    quiet()
    parser = argparse.ArgumentParser(prog="python -m flows.local", description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="tiny", help="a file of conf/experiment")
    parser.add_argument("--target", action="append", default=[], help="only this stage and what it needs")
    parser.add_argument("--force", action="store_true", help="run even what is up to date")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides")
    wanted = vars(parser.parse_args(arguments))
    wanted["targets"] = wanted.pop("target")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        root = project_root()
        os.chdir(root)
        with only_one(root / ".runs"):
            # Report what would stop the run before the wait for Prefect
            compose([f"experiment={wanted['experiment']}", *wanted["overrides"]])
            if wanted["targets"] and Path("params.yaml").is_file():
                named(graph(), wanted["targets"])
            with occupied(change=lambda: None, patience=20.0):
                pass
            return run(root, wanted)
    except (UserError, InfrastructureError) as error:
        print(f"reforge: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        failure = disk_failure(error)
        print(f"reforge: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        how = "Without --force the same" if wanted["force"] else "The same"
        print(f"\nStopped. {how} command goes on from here.", file=sys.stderr)
        return 130


def run(root: Path, wanted: dict[str, Any]) -> int:
    started = time.monotonic()
    print("Starting Prefect (server and worker on this machine, about half a minute)", flush=True)
    with ExitStack() as stack:
        home = root / ".runs" / "prefect"
        environment = settings(home, free_port())
        os.environ.update(environment)  # this must precede the first import of prefect
        log = stack.enter_context((home / "server.log").open("ab"))
        server = stack.enter_context(running([*PREFECT, "server", "start"], stdout=log, stderr=log))
        wait_until_healthy(environment["PREFECT_API_URL"], server, home / "server.log")
        print(f"Prefect shows this run, while it goes, at http://127.0.0.1:{environment[PORT]}", flush=True)
        asyncio.run(prepare())
        call([*PREFECT, "--no-prompt", "deploy", "--name", "cpu"], log)
        worker = stack.enter_context(running([sys.executable, "-c", WORKER], stderr=log))
        flow_run = asyncio.run(run_deployment(wanted, worker))
    if flow_run.state.is_crashed():  # the worker, which should have run the hooks, may have gone before
        close_tracking(None, flow_run, flow_run.state)
    return show(root, flow_run.state, time.monotonic() - started, wanted["targets"])


NEXT = {
    "make ui": "every run and metric, in a browser",
    "reforge why report": "what the numbers were made from, and how surely each comes about again",
    "dvc dag": "the graph",
    "reforge --help": "the rest",
}
PREFECT = [sys.executable, "-m", "prefect"]
# `prefect worker start --pool cpu` without its own messages, which would appear among those of the stages.
WORKER = """
import asyncio
from prefect.workers.process import ProcessWorker
asyncio.run(ProcessWorker(work_pool_name="cpu").start(printer=lambda *_: None))
"""


def settings(home: Path, port: int) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    return {
        MARK: str(home),
        TERMINAL: "tty" if sys.stdout.isatty() else "plain",
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        PORT: str(port),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the stages speak for themselves
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock that allows one local run per folder, and first end what a killed run has left running. Raises
    UserError where the lock is taken."""
    folder.mkdir(exist_ok=True)
    with (folder / "local.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            pid = lock.read().strip()
            raise UserError(
                f"The pipeline is already running: {described(int(pid) if pid.isdecimal() else -1)}"
            ) from error
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        end(left_over(str(folder / "prefect")), grace=3.0)
        yield


def left_over(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue  # the process is gone, or somebody else's
    return found


@contextmanager
def running(words: list[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = leashed(words, **popen)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def call(words: list[str], log: IO[bytes]) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    log.write(done.stdout)
    if done.returncode:
        raise InfrastructureError(f"`prefect {words[3]}` failed: {done.stdout.decode(errors='replace')[-800:]}")


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    said = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise InfrastructureError(f"The Prefect server did not start: {' '.join(said)}. Its log: {log}")


async def prepare() -> None:
    """Create the work pool and the concurrency limit, and end the runs that a kill has left open, as they would hold
    the deployment's slot."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="cpu", type="process"), overwrite=True)
        try:
            await client.read_global_concurrency_limit_by_name("gpu")
        except ObjectNotFound:
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="gpu", limit=1))
        open_types = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        open_runs = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=open_types)))
        for zombie in await client.read_flow_runs(flow_run_filter=open_runs):
            state: Any = Crashed(message="its processes are gone")
            await client.set_flow_run_state(zombie.id, state, force=True)
            if zombie.start_time:
                close_tracking(None, zombie, state)


async def run_deployment(parameters: dict[str, Any], worker: subprocess.Popen[bytes]) -> Any:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        deployment = await client.read_deployment_by_name("pipeline/cpu")
        flow_run = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        while True:
            flow_run = await client.read_flow_run(flow_run.id)
            if flow_run.state and flow_run.state.is_final():
                return flow_run
            if worker.poll() is not None:
                raise InfrastructureError("The Prefect worker ended before the run did. See .runs/prefect/server.log")
            await asyncio.sleep(1)


def show(root: Path, state: Any, seconds: float, targets: Sequence[str] = ()) -> int:
    if not state.is_completed():
        reason = re.sub(r"^.*?(UserError|InfrastructureError): ", "", state.message or state.name, flags=re.DOTALL)
        own = "UserError" in (state.message or "")
        then = "once that is mended, the same command goes on" if own else "the same command goes on"
        print(f"\nreforge: {reason}\nFinished stages are kept: {then} from here.", file=sys.stderr)
        return UserError.exit_code if own else InfrastructureError.exit_code
    if targets and "report" not in targets and not report_is_current():
        print(f"\nDone in {seconds / 60:.1f} min: {', '.join(targets)} with all that it needs. The report is older, or")
        print("not made yet. To bring all up to date, type:")
        print(f"  {command('dvc repro')}")
        return 0
    table, page = root / "report" / "table.md", root / "report" / "report.html"
    print(f"\n{table.read_text().strip()}\n" if table.is_file() else "")
    print(f"Done in {seconds / 60:.1f} min. Next, open {page} in a browser, or type:")
    for words, what in NEXT.items():
        print(f"  {command(words)}  # {what}")
    return 0


def report_is_current() -> bool:
    """Return whether DVC would run neither the report nor anything that it depends on."""
    words = ["dvc", "status", "--quiet", "--with-deps", "report"]
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
