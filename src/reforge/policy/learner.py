"""The policy under training: one DeepSpeed engine from one CPU rank to a cluster (launched by torchrun)."""

from __future__ import annotations

import gc
import logging
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import distributed

from reforge.config.policy import LearnerConfig
from reforge.errors import UserError
from reforge.policy import ranks
from reforge.policy.batches import Inputs
from reforge.policy.folder import load_tokenizer
from reforge.policy.lora import add_lora, merged
from reforge.policy.model import TokenLogprobs, load_model, save_model
from reforge.policy.state import read_state, write_state

_REFERENCE = "reference.safetensors"
_BUCKET = 500_000_000  # parameters whose gradients are summed at once: DeepSpeed's default
_NO_COMPILER = "TORCHDYNAMO_DISABLE"

T = TypeVar("T")


@dataclass
class Learner:
    """The policy under training. `engine` wraps TokenLogprobs(`model`); `reference` is a frozen one or None, `renewed`
    where it is no longer the first policy. On several ranks every method is to be called on all of them
    (ranks.everyone): `logprobs` and `backward` per micro-batch, then `step` or `discard`."""

    engine: Any
    model: Any
    tokenizer: Any
    device: torch.device
    config: LearnerConfig
    reference: Any
    renewed: bool = False

    @property
    def leads(self) -> bool:
        return distributed.get_rank() == 0

    @property
    def replicas(self) -> int:
        """Return how many micro-batches are worked on at a time."""
        return distributed.get_world_size() // self.config.sequence_parallel

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this rank's micro-batches."""
        return items[distributed.get_rank() // self.config.sequence_parallel :: self.replicas]

    def logprobs(self, inputs: Inputs, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logprobs_N, entropy_N) of a micro-batch; see TokenLogprobs."""
        logprobs_N, entropy_N = self.engine(*self._placed(inputs), temperature)
        return logprobs_N, entropy_N

    @torch.no_grad()
    def reference_logprobs(self, inputs: Inputs, temperature: float) -> torch.Tensor:
        logprobs_N: torch.Tensor = self.reference(*self._placed(inputs), temperature)[0]
        return logprobs_N

    def _placed(self, inputs: Inputs) -> Inputs:
        ids_T, positions_T, trees, states_N, targets_N = inputs
        device = self.device
        return ids_T.to(device), positions_T.to(device), trees, states_N.to(device), targets_N.to(device)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Accumulate the gradient. `loss` is this micro-batch's part of one global mean: parts add up over
        micro-batches and ranks, so DeepSpeed's own averaging over ranks is undone here."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss * self.engine.dp_world_size)

    def gradients(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the name and the gradient of each trained parameter, whole and summed over the ranks, after the last
        `backward`. They are gathered one by one, so every rank must take them all."""
        from deepspeed.utils import safe_get_full_grad

        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                gradient = safe_get_full_grad(parameter)
                if gradient is not None:
                    yield name, gradient

    def gradient_norm(self) -> float:
        """Return the norm before clipping, over all ranks. DeepSpeed would know it only after its step, and skips
        silently where it is not finite. It is summed in double precision: what the order of threads does there is
        rounded away."""
        squares = [gradient.float().square().sum(dtype=torch.float64) for _, gradient in self.gradients()]
        return float(torch.stack(squares).sum().sqrt().float())

    def step(self, learning_rate: float) -> None:
        """Make one optimiser step with the accumulated gradient, clipped."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self.engine.step()

    def discard(self) -> None:
        """Forget the accumulated gradient."""
        optimizer = self.engine.optimizer
        self.engine.zero_grad()
        optimizer.zero_grad()
        partitions = getattr(optimizer, "averaged_gradients", {})
        for number in partitions:
            partitions[number] = None

    def peak_memory(self) -> float:
        """Return the peak memory, in GiB, of this rank's GPU, or of its process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    def save_model(self, folder: Path, worn: Path | None = None) -> None:
        """Write the model as the sampler, and everyone else, reads it: LoRA merged, safetensors. Rank 0 writes, into
        the files of `worn` where it can (model.save_model)."""
        state = merged(self.model, self.leads)
        if self.leads:
            save_model(self.model, self.tokenizer, folder, state, worn)
        self._wait()

    def renew_reference(self) -> None:
        """Measure KL from the policy as it is now."""
        self._fill_reference(merged(self.model, True))

    def _fill_reference(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy `state` into the reference. ZeRO-3 keeps parts on each rank, and takes from rank 0 what it deals out;
        else each rank has the whole."""
        import deepspeed

        for name, parameter in self._reference_model().named_parameters():
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
                if self.leads or not hasattr(parameter, "ds_id"):
                    parameter.copy_(state[name])
        self.renewed = True
        self._wait()

    def _reference_model(self) -> Any:
        return getattr(self.reference, "module", self.reference).model

    def save_state(self, folder: Path) -> None:
        if self.leads:
            folder.mkdir(parents=True, exist_ok=True)
        self._wait()
        write_state(self.engine, folder)
        if self.renewed:
            state = merged(self._reference_model(), self.leads)
            if self.leads:  # tied weights are saved once
                names = [name for name, _ in self._reference_model().named_parameters()]
                save_file({name: state[name].contiguous() for name in names}, folder / _REFERENCE)
        self._wait()

    def load_state(self, folder: Path) -> None:
        read_state(self.engine, folder)
        if self.reference is not None and (folder / _REFERENCE).is_file():
            self._fill_reference(load_file(folder / _REFERENCE))
        self._wait()

    def _wait(self) -> None:
        if distributed.get_world_size() > 1:
            distributed.barrier()


def open_learner(folder: Path, config: LearnerConfig, seed: int, reference: bool = False) -> Learner:
    """Open a learner on every rank, from the checkpoint in `folder`, and return rank 0's. Call this on rank 0."""
    learner: Learner = ranks.lead(_build, folder, config, seed, reference)
    return learner


def _build(folder: Path, config: LearnerConfig, seed: int, reference: bool) -> Learner:
    deepspeed = import_deepspeed()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(seed)
    # Ranks of one CPU machine talk over gloo: spare the user a C++ compiler and a minute of compiling.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()
    model = load_model(folder, getattr(torch, config.dtype))
    _check_heads(model.config, config.sequence_parallel)
    if config.lora is not None:
        add_lora(model, config.lora)
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    engine, *_ = deepspeed.initialize(
        model=TokenLogprobs(model, _sequence_group(config)),
        model_parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
        config=_deepspeed_config(config, model),
    )
    engine.train()
    frozen = _frozen(deepspeed, folder, config, engine.device) if reference else None
    return Learner(engine, model, load_tokenizer(folder), engine.device, config, frozen)


def _frozen(deepspeed: Any, folder: Path, config: LearnerConfig, device: torch.device) -> Any:
    """Return the policy that KL is measured from: partitioned like the learner's under ZeRO-3, else whole on a rank."""
    network = load_model(folder, getattr(torch, config.dtype))
    model = TokenLogprobs(network, _sequence_group(config)).requires_grad_(False)
    if config.zero_stage < 3:
        return model.to(device).eval()
    settings = {name: value for name, value in _deepspeed_config(config, network).items() if name != "optimizer"}
    engine, *_ = deepspeed.initialize(model=model, config=settings)
    engine.eval()
    return engine


def _check_heads(network: Any, ranks: int) -> None:
    heads, kv_heads = network.num_attention_heads, network.num_key_value_heads
    if heads % ranks or (kv_heads % ranks and ranks % kv_heads):
        raise UserError(
            f"learner.sequence_parallel is {ranks}, but the model has {heads} attention heads and {kv_heads} for keys: "
            "they cannot be dealt evenly. Take a divisor of both."
        )


def _sequence_group(config: LearnerConfig) -> Any:
    """Return the group of consecutive ranks that share this rank's micro-batches; None where each rank has whole
    micro-batches. Every rank makes all groups, as torch wants it."""
    size = config.sequence_parallel
    if size == 1:
        return None
    firsts = range(0, distributed.get_world_size(), size)
    groups = [distributed.new_group(list(range(first, first + size))) for first in firsts]
    return groups[distributed.get_rank() // size]


def import_deepspeed() -> Any:
    """Import DeepSpeed, quietly and as quickly as it goes: half of its start would be spent on what is never used."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    before = os.environ.get(_NO_COMPILER)
    os.environ[_NO_COMPILER] = "1"  # or its Muon optimizer, which we do not use, loads all of torch's compiler
    try:
        import deepspeed
        import deepspeed.runtime.zero.muon.muon_optimizer
    finally:
        os.environ.pop(_NO_COMPILER)
        os.environ.update({_NO_COMPILER: before} if before else {})
    gc.freeze()  # it collects garbage time and again; what was imported is none
    return deepspeed


def _deepspeed_config(config: LearnerConfig, model: torch.nn.Module) -> dict[str, Any]:
    # A bucket that is larger than the model wastes memory, and `strict` writes all over it each step.
    bucket = min(_BUCKET, sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters()))
    zero: dict[str, Any] = {"stage": config.zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
    if config.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
        if config.zero_stage == 3:
            zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,  # bookkeeping only: our micro-batches are bounded by tokens
        "gradient_accumulation_steps": 1,  # the boundary is set by hand, and loss parts already add up
        "gradient_clipping": config.gradient_clip,
        "zero_optimization": zero,
        "bf16": {"enabled": config.dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},  # also where the weights are bfloat16
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": 0.0, "betas": config.betas, "weight_decay": config.weight_decay, "torch_adam": True},
        },
    }
