"""Tunix's side (JAX on a CPU): its RL trainer with its GRPO loss on all weights. Completions are padded to the longest
rollout, as its GRPOLearner pads them, or packed into rows of about as many tokens as a micro-batch has.

    python tunix_side.py MODEL WORK.json MICRO_BATCH [packed]
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tunix.models.qwen2 import model as qwen2
from tunix.models.qwen2.params import create_model_from_safe_tensors
from tunix.rl import algo_core, function_registry  # noqa: F401  algo_core registers the loss
from tunix.rl.common import TrainExample
from tunix.rl.grpo.grpo_learner import GRPOConfig
from tunix.rl.trainer import Trainer
from tunix.rl.utils import pack_sequences
from tunix.sft.peft_trainer import TrainingConfig
from turns import take

folder, micro_batch = sys.argv[1], int(sys.argv[3])
model = json.loads((Path(folder) / "config.json").read_text())
work = json.loads(Path(sys.argv[2]).read_text())
rollouts, longest = len(work["completions"]), max(map(len, work["completions"]))

architecture = qwen2.ModelConfig(
    num_layers=model["num_hidden_layers"],
    vocab_size=model["vocab_size"],
    embed_dim=model["hidden_size"],
    hidden_dim=model["intermediate_size"],
    num_heads=model["num_attention_heads"],
    head_dim=model["hidden_size"] // model["num_attention_heads"],
    num_kv_heads=model["num_key_value_heads"],
    rope_theta=int(model["rope_parameters"]["rope_theta"]),
    norm_eps=model["rms_norm_eps"],
    use_tied_embedding=model["tie_word_embeddings"],
)
prompts, advantages = np.array(work["prompts"], np.int32), np.array(work["advantages"], np.float32)
ids, mask = (np.zeros((rollouts, longest), np.int32) for _ in range(2))
for number, row in enumerate(work["completions"]):
    ids[number, : len(row)] = row
    mask[number, : len(row)] = 1


def padded() -> Iterator[TrainExample]:
    for first in range(0, rollouts, micro_batch):
        rows = slice(first, first + micro_batch)
        yield TrainExample(
            prompt_ids=jnp.array(prompts[rows]),
            prompt_mask=jnp.ones_like(prompts[rows]),
            completion_ids=jnp.array(ids[rows]),
            completion_mask=jnp.array(mask[rows]),
            advantages=jnp.array(advantages[rows]),
            ref_per_token_logps=None,
            old_per_token_logps=None,
        )


def packed() -> Iterator[TrainExample]:
    most = max(len(prompts[0]) + longest, micro_batch * (prompts.size + int(mask.sum())) // rollouts)
    for examples in pack_sequences(iter([[example] for example in padded()]), most):
        yield from examples


micro_batches = packed if "packed" in sys.argv else padded
grpo = GRPOConfig(num_generations=work["group"], beta=0.0, epsilon=0.2, loss_agg_mode="token-mean")
grpo.epsilon_high = 0.28
grpo.temperature = 1.0
loss = function_registry.get_policy_loss_fn("grpo")
trainer = Trainer(
    create_model_from_safe_tensors(folder, architecture, dtype=jnp.float32),
    optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-6, weight_decay=0.0)),
    TrainingConfig(eval_every_n_steps=1_000_000, gradient_accumulation_steps=sum(1 for _ in micro_batches())),
    custom_checkpoint_metadata_fn=dict,
)
trainer.is_managed_externally = True  # as its GRPOLearner has it: several calls of `train`
trainer.with_loss_fn(
    lambda policy, example: loss(policy, example, algo_config=grpo, pad_id=0, eos_id=model["eos_token_id"]),
    has_aux=True,
)
trainer.with_gen_model_input_fn(lambda example: {"example": example})


def step() -> None:
    trainer.train(micro_batches())
    jax.block_until_ready(nnx.state(trainer.model))


take(step)
