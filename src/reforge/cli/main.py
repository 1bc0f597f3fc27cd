"""The command line, as `reforge --help` shows it. Heavy imports are made inside the commands."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable
from gc import set_threshold
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from reforge.cli.judge import judging
from reforge.cli.sampler import sampling
from reforge.errors import InfrastructureError, UserError, disk_failure
from reforge.machine.project import command, project_root, quiet

app = typer.Typer(
    name="reforge",
    help="From raw programming problems to a verified, evaluated reasoning model for code, reproducibly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # these hold for all commands below, too
)


def _version(asked: bool) -> None:
    if asked:
        print(f"reforge {version('reforge')}")
        raise typer.Exit


@app.callback()
def start(
    show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it, end.")] = False,
) -> None:
    pass


@app.command()
def compose(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="As in Hydra: experiment=smoke 'rl.*.learning_rate=1e-4' rl.short.steps=20"),
    ] = None,
) -> None:
    """Resolve conf/ and the overrides into params.yaml."""
    from reforge.config.compose import compose, origins
    from reforge.config.load import build_config
    from reforge.config.params import keep_origins, write_params
    from reforge.frame.gone import remove_gone
    from reforge.machine.workspace import occupied

    os.chdir(project_root())
    path = Path("params.yaml")
    values = compose(overrides or [])
    with occupied(change=lambda: write_params(values, path)):
        keep_origins(origins(overrides or []), path)
        for line in remove_gone(build_config(values, path.name)):
            print(line)
    print(f"{path.name}: experiment {values['experiment']}, seed {values['seed']}")


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="A stage of dvc.yaml, such as rl@short.")],
    node: Annotated[int, typer.Option(min=0, help="This machine's number, of learner.nodes; 0 runs the stage.")] = 0,
) -> None:
    """Run one stage here and now, whether or not DVC thinks it stale. `dvc commit` afterwards records it."""
    _fixed_hashes()
    from reforge.frame.run import run_stage

    run_stage(name, node)


def _fixed_hashes() -> None:
    """Start this process again with a fixed seed for string hashes, unless it has it: the order of a set of strings
    follows a seed that is drawn before the first line of Python runs."""
    seed = os.environ.get("REFORGE_HASH_SEED", "0")  # `verify` sets a different one
    if os.environ.get("PYTHONHASHSEED") != seed:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": seed})


@app.command()
def table() -> None:
    """Print the table of the last report."""
    path = project_root() / "report" / "table.md"
    if not path.is_file():
        raise UserError(f"{path} not found. Make it with: {command('dvc repro report')}")
    try:
        print(path.read_text(), end="")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text any more. Bring it back with: {command('dvc checkout report')}") from error


@app.command()
def why(
    what: Annotated[
        str,
        typer.Argument(
            help="A stage, a file that one made (outputs/rl/long/model), a digest, a metric's name or value "
            "(pass@1/long, 67.5), or a rollout (rl@short/3/PROBLEM/0)."
        ),
    ],
) -> None:
    """Print what a result was made from, back to the rows of the sources: digests, MLflow runs, and how surely each
    comes about again."""
    from reforge.retrace.why import why

    print("\n".join(why(what)))


@app.command()
def replay(
    stage: Annotated[str, typer.Argument(help="A rung that dvc.lock knows, such as rl@short.")],
    steps: Annotated[str, typer.Option(help="As 3:5; empty: all of them.")] = "",
    resample: Annotated[bool, typer.Option("--resample", help="Sample again: the first token that differs.")] = False,
    regrade: Annotated[bool, typer.Option("--regrade", help="Judge again.")] = False,
) -> None:
    """Train a rung again on its recorded rollouts and compare the weights after each step; or draw its rollouts again;
    or judge all programs of a rung, an evaluation or the teacher again. Exit code 1: something differs."""
    if regrade and (resample or steps):
        raise UserError("--regrade judges all that a stage recorded: leave --steps and --resample out.")
    bounds = _bounds(steps)
    _fixed_hashes()
    if regrade:
        from reforge.retrace.regrade import regrade as judge_again

        _tell(judge_again(stage))
    else:
        from reforge.retrace import replay as rung

        _tell((rung.resample if resample else rung.replay)(stage, *bounds))


@app.command()
def verify(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages of dvc.yaml, such as sft.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every stage, from the first.")] = False,
) -> None:
    """Run stages again in a clean copy and compare what they leave with dvc.lock. Exit code 1: the output differs."""
    from reforge.retrace.verify import verify

    if bool(stages) == all:
        raise UserError("Name the stages to verify, or give --all.")
    _tell(verify(stages or []))


@app.command()
def sync() -> None:
    """Send MLflow what it has missed of finished stages while it was away. Exit code 75: it is still away."""
    from reforge.config.load import load_config
    from reforge.frame import runs

    os.chdir(project_root())
    config = load_config(runs.PARAMS)
    if not runs.send_unsent(config):
        raise InfrastructureError("MLflow has not received everything. What it lacks is kept: try again.")
    runs.require_known(config)
    print("MLflow has heard of everything that has finished here.")


@app.command()
def gc(yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would go.")] = False) -> None:
    """Free the disk of what no dvc.lock, no commit and no report that MLflow knows needs."""
    from reforge.retrace.gc import collect

    found = collect(remove=yes)
    done, more = ("Removed", "") if yes else ("Would remove", f" Do it with: {command('reforge gc --yes')}")
    for folder in found.folders:
        print(f"{done}: {folder}")
    print(
        f"{done} {len(found.files)} files of DVC's cache and {len(found.folders)} states of interrupted stages, "
        f"{found.size / 2**20:.1f} MiB. Kept: what dvc.lock and the commits name, and what {found.reports} reports in "
        f"MLflow hang on.{more}"
    )


def _tell(outcomes: Iterable[tuple[str, list[str]]]) -> None:
    """Print each outcome as it comes. Exit with code 1 in the end if anything differs."""
    any_wrong = False
    for what, wrong in outcomes:
        print(f"{what}: {'as recorded' if not wrong else 'differs'}", flush=True)
        for line in wrong:
            print(f"    {line}", flush=True)
        any_wrong = any_wrong or bool(wrong)
    if any_wrong:
        sys.exit(1)


def _bounds(steps: str) -> tuple[int, int | None]:
    first, colon, last = steps.partition(":")
    try:
        start, end = int(first or 1), int(last) if last else int(first) if first and not colon else None
        if start < 1 or (end is not None and end < start):
            raise ValueError(steps)
    except ValueError as error:
        raise UserError(
            f"--steps {steps}: two numbers from 1 with a colon are meant, the smaller one first, such as 3:5."
        ) from error
    return start, end


app.add_typer(judging, name="judge")
app.add_typer(sampling, name="sampler")

problems = typer.Typer(no_args_is_help=True, help="What curation kept and what it left out.")
app.add_typer(problems, name="problems")


@problems.command("why")
def problems_why(
    id: Annotated[str, typer.Argument(help="A problem's id, its line, or SOURCE:LINE.")],
) -> None:
    """Say what became of a problem, and why."""
    from reforge.problems.store import fate_of

    folders = sorted((project_root() / "outputs" / "curate").glob("*/data"))
    if not folders:
        raise UserError(f"No problems have been curated here. Start with: {command('dvc repro curate')}")
    print("\n".join(fate_of(folders, id)))


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000) -> None:
    """Show every run and metric in MLflow's own pages, on this machine only."""
    database = project_root() / "mlflow.db"
    if not database.is_file():
        first = command("make demo")
        raise UserError(f"There is nothing to show yet: mlflow.db appears with the first run. Start with: {first}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}). Stop what listens there or take another: "
                f"{command(f'make ui PORT={port + 1 if port < 65535 else 5000}')}"
            ) from error
    os.chdir(project_root())
    from reforge.config.load import load_config
    from reforge.tracking.mlflow_mirror import page_of

    page = page_of(f"sqlite:///{database}", load_config(Path("params.yaml")).tracking.mlflow_experiment)
    print(f"Open http://127.0.0.1:{port}/{page} (Ctrl-C ends it)", flush=True)
    shown = ["mlflow", "ui", "--backend-store-uri", f"sqlite:///{database}", "--host", "127.0.0.1"]
    shown += ["--artifacts-destination", str(database.with_name("mlartifacts"))]
    os.execvp("mlflow", [*shown, "--port", str(port)])


@app.command()
def doctor() -> None:
    """Say what this machine has of what Reforge needs; exit 2 if something is missing."""
    from reforge.cli.doctor import examine

    lines, problems = examine()
    print("\n".join(lines))
    if problems:
        raise UserError(" ".join(problems))


def main() -> None:
    set_threshold(50_000)  # at Python's own 700, a sixth of a stage's start goes into looking for garbage among imports
    quiet()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(prog_name=Path(sys.argv[0]).name)
    except (UserError, InfrastructureError) as error:
        print(f"reforge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        failure = disk_failure(error)
        print(f"reforge: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        kept = "; finished steps are kept, the same command goes on from there" if "stage" in sys.argv[1:2] else ""
        print(f"reforge: interrupted{kept}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
