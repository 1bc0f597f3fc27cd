"""AgileRL's side (PyTorch on a CPU): its GRPO, which trains adapters only (LoRA, rank 16, all linear layers). Its Liger
kernels need a GPU and are switched off.   python agilerl_side.py MODEL WORK.json MICRO_BATCH [packed]"""

import json
import os
import sys
from pathlib import Path

import agilerl.algorithms.core.base as base
import torch
from agilerl.algorithms.grpo import GRPO
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from turns import take

base.HAS_LIGER_KERNEL = False
torch.set_num_threads(len(os.sched_getaffinity(0)))
work = json.loads(Path(sys.argv[2]).read_text())
rollouts, group = len(work["completions"]), work["group"]
trainer = GRPO(
    pad_token_id=0,
    pad_token="<pad>",
    actor_network=AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32),
    batch_size=rollouts // group,
    group_size=group,
    micro_batch_size_per_gpu=int(sys.argv[3]),
    beta=0.0,
    lr=1e-6,
    clip_coef=(0.2, 0.28),
    max_grad_norm=1.0,
    device="cpu",
    gradient_checkpointing=False,
    use_liger_loss=False,
    use_sequence_packing="packed" in sys.argv,
    max_output_tokens=max(map(len, work["completions"])),
    lora_config=LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", lora_dropout=0.0),
    use_separate_reference_adapter=False,
)
ids, masks = [], []
for first in range(0, rollouts, group):
    prompt, completions = work["prompts"][first], work["completions"][first : first + group]
    width = len(prompt) + max(map(len, completions))
    of_group, mask = torch.zeros(group, width, dtype=torch.long), torch.zeros(group, width - 1, dtype=torch.bool)
    for number, completion in enumerate(completions):
        end = len(prompt) + len(completion)
        of_group[number, :end] = torch.tensor(prompt + completion)
        mask[number, len(prompt) - 1 : end - 1] = True
    ids.append(of_group)
    masks.append(mask)
rewards = torch.tensor(work["advantages"]).reshape(-1, group)

take(lambda: trainer.learn((ids, masks, rewards)))
