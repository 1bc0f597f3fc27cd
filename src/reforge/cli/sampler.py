"""The command `reforge sampler serve`. Heavy imports are made inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reforge.errors import UserError
from reforge.machine.process import stop_cleanly_on_sigterm
from reforge.machine.project import project_root

sampling = typer.Typer(no_args_is_help=True, help="A vLLM server with the flags that training needs, for sampler.urls.")


@sampling.callback()
def _commands() -> None:
    """This callback keeps `serve` a word of its own, although there is one command."""


@sampling.command("serve")
def sampler_serve(
    model: Annotated[
        Path | None, typer.Argument(help="A checkpoint of the policy's shape; its weights are replaced. [base's]")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Beyond this machine only with a token in REFORGE_SAMPLER_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8500,
) -> None:
    """Sample for stages here or on other machines, with the values of sampler in params.yaml."""
    from reforge.config.load import load_config
    from reforge.policy.folder import check_checkpoint
    from reforge.rollouts.protocol import token_header
    from reforge.rollouts.server import serve

    if host not in ("127.0.0.1", "::1", "localhost") and not token_header():
        raise UserError(
            f"--host {host} lets others in: set REFORGE_SAMPLER_TOKEN, here and where sampler.urls is used."
        )
    root = project_root()
    folder = model or root / "outputs" / "base" / "model"
    check_checkpoint(folder)
    stop_cleanly_on_sigterm()
    log = root / ".runs" / "sampler" / "vllm.log"
    print(f"starting vLLM with {folder}; its log: {log}", flush=True)

    def ready() -> None:
        print(f"sampling at http://{host}:{port}", flush=True)

    serve(folder, load_config(root / "params.yaml").sampler, log, host, port, ready)
