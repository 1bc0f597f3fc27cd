"""The policy, and the machines that train and sample it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from reforge.config.section import FromProblems, Instance, Section


class Architecture(Section):
    """A decoder of one of these families, in transformers' implementation. `extra` holds what else its config takes, by
    transformers' names (rope_parameters for YaRN; a mixture of experts and latent attention:
    conf/base/deepseek_v2.yaml).
    """

    family: Literal["qwen2", "qwen3", "llama", "deepseek_v2"]
    hidden_size: int = Field(ge=32)
    intermediate_size: int = Field(ge=32)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    context: int = Field(ge=64)
    extra: dict[str, JsonValue]

    @model_validator(mode="after")
    def _heads_divide(self) -> Architecture:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden_size ({self.hidden_size})")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads ({self.kv_heads}) must divide heads ({self.heads})")
        return self


class Base(Instance):
    """The model that everything starts from. `path` names a local checkpoint folder to start from; empty: train a
    tokenizer on the training problems of `texts` and initialise `architecture`."""

    makes = "model"

    texts: FromProblems
    path: str
    vocab_size: int = Field(ge=300)
    architecture: Architecture


class Lora(Section):
    """Train low-rank additions to the modules that `targets` names (peft); the sampler gets them merged."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    targets: list[str] = Field(min_length=1)


class LearnerConfig(Section):
    """The learner: `ranks` processes on each of `nodes` machines, started by torchrun; `rendezvous` (host:port) is
    where several machines meet. `betas` and `weight_decay` are AdamW's. `sequence_parallel` ranks share each
    micro-batch, cut along its tokens (Ulysses)."""

    ranks: int = Field(ge=1)
    nodes: int = Field(ge=1)
    rendezvous: str
    sequence_parallel: int = Field(ge=1)
    zero_stage: Literal[0, 1, 2, 3]
    offload: bool
    activation_checkpointing: bool
    dtype: Literal["float32", "bfloat16"]
    threads: int = Field(ge=0)
    micro_batch_tokens: int = Field(ge=64)
    gradient_clip: float = Field(gt=0)
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=2, max_length=2)
    weight_decay: float = Field(ge=0)
    lora: Lora | None
    checkpoints: int = Field(ge=1)

    @model_validator(mode="after")
    def _ranks_fit(self) -> LearnerConfig:
        if self.ranks * self.nodes % self.sequence_parallel:
            raise ValueError(f"sequence_parallel ({self.sequence_parallel}) must divide the number of ranks")
        if self.nodes > 1 and not re.fullmatch(r"[^:\s]+:\d+", self.rendezvous):
            raise ValueError("rendezvous: several nodes need a host:port to meet at")
        if self.dtype == "bfloat16" and self.zero_stage == 0:
            raise ValueError("dtype: bfloat16 needs zero_stage 1, 2 or 3, which keep the weights in float32 as well")
        if self.offload and self.zero_stage == 0:
            raise ValueError("offload: needs zero_stage 1, 2 or 3")
        return self


class SamplerConfig(Section):
    """The sampler: vLLM over HTTP. Where `urls` is empty, `replicas` servers are started and supervised here, each with
    `tensor_parallel` of the GPUs that `devices` lists (empty: all that there are). A server that gives no sign of life
    for `patience_seconds` is lost. `handover`: new weights go to the servers through this machine's memory, or through
    the project's folder."""

    urls: list[str]
    replicas: int = Field(ge=1)
    devices: list[int]
    handover: Literal["memory", "files"]
    patience_seconds: float = Field(ge=5)  # a live server gives a sign every two seconds
    dtype: Literal["float32", "bfloat16"]
    threads: int = Field(ge=0)
    tensor_parallel: int = Field(ge=1)
    memory_gb: int = Field(ge=1)  # vLLM takes whole numbers only
    gpu_memory_utilization: float = Field(gt=0, le=1)
    max_sequences: int = Field(ge=1)
    enforce_eager: bool
    startup_seconds: float = Field(gt=0)
    parity_tolerance: float = Field(gt=0)

    @model_validator(mode="after")
    def _devices_suffice(self) -> SamplerConfig:
        if self.devices and len(self.devices) < self.replicas * self.tensor_parallel:
            raise ValueError(f"devices: {self.replicas} × {self.tensor_parallel} GPUs are needed")
        return self
