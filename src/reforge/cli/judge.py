"""The commands `reforge judge FILE` and `reforge judge serve`. Heavy imports are made inside them."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import tokenize
from pathlib import Path
from typing import Annotated, Any

import typer

from reforge.errors import InfrastructureError, UserError
from reforge.machine.project import project_root


class _JudgeCommands(typer.core.TyperGroup):
    """A command group in which `reforge judge FILE` judges; only the other commands have names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["program", *args])


_JUDGE_HELP = "Judge a program (PROGRAM --tests FILE; all options: program --help), or serve a judge over HTTP."
judging = typer.Typer(cls=_JudgeCommands, no_args_is_help=True, help=_JUDGE_HELP)


@judging.command("program")
def judge_program(
    program: Annotated[Path, typer.Argument(help="A Python file.", exists=True, dir_okay=False)],
    tests: Annotated[Path, typer.Option(help="JSON: tests, entry_point, setup, files, checker (docs/sandbox.md).")],
    checker: Annotated[
        list[str] | None, typer.Option(help="Instead of the file's; several are shown together.")
    ] = None,
    package: Annotated[list[str] | None, typer.Option(help="What the program may import beside the library.")] = None,
    minimum: Annotated[str, typer.Option(help="limits, syscalls, files or full: refuse to run below it.")] = "syscalls",
    cpu_seconds: float = 6.0,
    wall_seconds: float = 20.0,
    memory_mb: int = 512,
    output_kb: int = 4096,
) -> None:
    """Print a verdict as JSON. Exit code 0 accepted, 1 not, 75 not judged."""
    from reforge.sandbox.judge import Isolation, Judge, Limits
    from reforge.sandbox.spec import read_spec

    limits = Limits(cpu_seconds, wall_seconds, memory_mb, output_kb, 15 * cpu_seconds)
    spec, source = read_spec(tests), _source_of(program)
    if minimum.upper() not in Isolation.__members__:
        raise UserError(f"--minimum {minimum}: it is one of {', '.join(level.label for level in Isolation)}.")
    with Judge(limits, 1, minimum=Isolation[minimum.upper()], packages=package or []) as judge:
        verdicts = [judge.judge(source, problem) for problem in spec.problems(program.name, checker)]
    for verdict in verdicts:
        print(json.dumps(dataclasses.asdict(verdict)))
    if not all(verdict.conclusive for verdict in verdicts):
        sys.exit(InfrastructureError.exit_code)
    sys.exit(any(verdict.status != "AC" for verdict in verdicts))


def _source_of(program: Path) -> str:
    """Return the source as Python reads it: in UTF-8, or in the encoding that its first lines declare. Raises UserError
    where it is no such text."""
    try:
        with tokenize.open(program) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"{program} is not text that Python reads: {error}. Save it as UTF-8.") from error


@judging.command("serve")
def judge_serve(
    host: Annotated[
        str, typer.Option(help="Beyond this machine only with a token in REFORGE_JUDGE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8400,
    queue: Annotated[int, typer.Option(min=1, help="Jobs at a time; those beyond are asked to come again.")] = 256,
) -> None:
    """Judge for other machines, by the limits of params.yaml."""
    import uvicorn

    from reforge.config.load import load_config
    from reforge.frame.judge import local_judge, token
    from reforge.sandbox.service import app_of

    if host not in ("127.0.0.1", "::1", "localhost") and not token():
        raise UserError(f"--host {host} lets others in: set REFORGE_JUDGE_TOKEN, here and where sandbox.urls is used.")
    config = load_config(project_root() / "params.yaml").sandbox
    try:
        door = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"--host {host} --port {port} cannot be used: {error.strerror or error}.") from error
    with door, local_judge(config) as judge:
        print(f"judging at http://{host}:{port}, {config.workers} at a time, isolation {judge.isolation.label}")
        app = app_of(judge, queue, token())
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[door])
