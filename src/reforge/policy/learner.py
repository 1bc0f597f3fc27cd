"""The policy under training: one DeepSpeed engine from one CPU rank to a cluster (launched by torchrun)."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reforge.config import Learner as LearnerConfig
from reforge.errors import InfrastructureError
from reforge.policy.model import TokenLogprobs, load_model, load_tokenizer, save_model


@dataclass
class Learner:
    """`engine` wraps TokenLogprobs(`model`); call `logprobs`, `backward` per micro-batch, then `step` once."""

    engine: Any
    model: Any
    tokenizer: Any
    device: torch.device

    def logprobs(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, temperature: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(logprobs_N, entropy_N) of the tokens under the mask; see TokenLogprobs."""
        logprobs_N, entropy_N = self.engine(ids_BT.to(self.device), mask_BT.to(self.device), temperature)
        return logprobs_N, entropy_N

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Accumulate the gradient. `loss` is this micro-batch's part of one global mean: parts add up over
        micro-batches and ranks, so DeepSpeed's own averaging over ranks is undone here."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.engine.dp_world_size)

    def step(self, learning_rate: float) -> float:
        """One optimiser step over what was accumulated; returns the gradient's norm before clipping."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = self._gradient_norm()
        self.engine.step()
        return norm if norm is not None else float(self.engine.get_global_grad_norm())

    def _gradient_norm(self) -> float | None:
        """Under ZeRO gradients are partitioned and DeepSpeed knows the norm only after its step."""
        if self.engine.zero_optimization():
            return None
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def save_model(self, folder: Path) -> None:
        save_model(self.model, self.tokenizer, folder)

    def save_state(self, folder: Path) -> None:
        self.engine.save_checkpoint(str(folder), tag="state")

    def load_state(self, folder: Path) -> None:
        loaded, _ = self.engine.load_checkpoint(str(folder), tag="state")
        if loaded is None:
            raise InfrastructureError(f"{folder} holds no learner state: delete that folder to start the stage anew")


def build_learner(folder: Path, config: LearnerConfig, seed: int) -> Learner:
    """Load the checkpoint in `folder` into a DeepSpeed engine."""
    _quiet()
    import deepspeed

    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(seed)
    _join_group(deepspeed)
    model = load_model(folder, getattr(torch, config.dtype))
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable()
    engine, *_ = deepspeed.initialize(
        model=TokenLogprobs(model),
        model_parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
        config=_deepspeed_config(config),
    )
    engine.train()
    return Learner(engine, model, load_tokenizer(folder), engine.device)


def _quiet() -> None:
    """DeepSpeed picks its accelerator and its verbosity at import; it must hear both before."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")


def _join_group(deepspeed: Any) -> None:
    if torch.distributed.is_initialized():
        return
    if "RANK" in os.environ:  # under torchrun
        deepspeed.init_distributed()
        return
    os.environ.setdefault("LOCAL_RANK", "0")
    # One rank has nobody to share memory with: spare the user a C++ compiler and a minute of compiling.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    rendezvous = Path(tempfile.mkdtemp(prefix="reforge-")) / "rendezvous"  # a file: no port to collide on
    torch.distributed.init_process_group(backend, init_method=f"file://{rendezvous}", rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend)


def _deepspeed_config(config: LearnerConfig) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": config.zero_stage}
    if config.offload:
        zero |= {"offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    return {
        "train_micro_batch_size_per_gpu": 1,  # bookkeeping only: our micro-batches are bounded by tokens
        "gradient_accumulation_steps": 1,  # the boundary is set by hand, and loss parts already add up
        "gradient_clipping": config.gradient_clip,
        "zero_optimization": zero,
        "bf16": {"enabled": config.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": 0.0, "betas": [0.9, 0.95], "weight_decay": config.weight_decay, "torch_adam": True},
        },
    }
