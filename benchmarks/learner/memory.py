"""How much memory does a learner's pass take beyond the model's own, beside TRL's: a vocabulary of 151,936, eight
layers, 4,096 response tokens? And how does ours grow to 32K tokens?   python -m benchmarks.learner.memory

TRL's loss is that of its trainer as users run it: a language-model head in chunks, whose Triton kernels are replaced by
TRL's own torch operations where there is no GPU. Each side's pass is measured ROUNDS times, in processes that take
turns.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.learner.trl_peer import new_trainer
from benchmarks.record import ROOT, Claim, claim, head, mean_ratio, show, write

VOCABULARY, PROMPT, RESPONSE = 151_936, 32, 4_096
LENGTHS = (2_048, 8_192, 32_768)
ROUNDS = 7


def measure(what: str, folder: Path, response: int) -> dict[str, float]:
    """Measure a pass in a process of its own, and return the MiB beyond what is there before it."""
    command = [sys.executable, "-m", "benchmarks.learner.memory", what, str(folder), str(response)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _resident(key: str) -> float:
    """Return VmRSS now, or VmHWM, the most since `_forget`, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def _forget() -> None:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def new_model(folder: Path) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from reforge.policy.model import save_model
    from reforge.policy.tokenizer import train_tokenizer

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=65_536, tie_word_embeddings=True, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    make: Any = Qwen2ForCausalLM
    save_model(make(config), train_tokenizer(["abc"], 300), folder)


def ids(response: int) -> tuple[list[int], list[int]]:
    generator = torch.Generator().manual_seed(0)
    every = torch.randint(4, VOCABULARY, (PROMPT + response,), generator=generator).tolist()
    return every[:PROMPT], every[PROMPT:]


def ours(folder: Path, response: int) -> dict[str, float]:
    from reforge.config.compose import compose
    from reforge.config.load import build_config
    from reforge.policy.batches import Row, build_batch
    from reforge.policy.learner import open_learner
    from reforge.training.update import Objective, Seen, _accumulate

    overrides = ["learner.activation_checkpointing=true", "learner.threads=2"]
    config = build_config(compose([*overrides, "rl.*.guards.gap=1e9"]), "benchmark")
    learner = open_learner(folder, config.learner, 0)
    rl = config.rl["short"]
    objective = Objective(rl.loss, 1.0, 1e-6, 1.0, rl.guards)
    prompt, completion = ids(response)

    def batch(tokens: int) -> Any:
        row = Row(tuple(prompt), tuple(completion[:tokens]), 1 / tokens, 1.0, (-10.0,) * tokens)
        return build_batch([row], PROMPT + tokens)

    _accumulate(learner, batch(8), None, objective, Seen())  # so that the libraries' own buffers are there
    learner.discard()
    return _peak(lambda: _accumulate(learner, batch(response), None, objective, Seen()))


def theirs(folder: Path, response: int) -> dict[str, float]:
    torch.set_num_threads(2)
    trainer = new_trainer(folder, gradient_checkpointing=True, num_generations=2, max_completion_length=response)
    trainer.model.train()
    trainer.model.gradient_checkpointing_enable()
    prompt, completion = ids(response)

    def step(tokens: int) -> None:
        inputs = {
            "prompt_ids": torch.tensor([prompt]),
            "prompt_mask": torch.ones(1, PROMPT, dtype=torch.long),
            "completion_ids": torch.tensor([completion[:tokens]]),
            "completion_mask": torch.ones(1, tokens, dtype=torch.long),
            "advantages": torch.tensor([1.0]),
            "num_items_in_batch": torch.tensor(tokens),
        }
        trainer._compute_loss(trainer.model, inputs).backward()

    step(8)
    trainer.model.zero_grad()
    return _peak(lambda: step(response))


def _peak(work: Any) -> dict[str, float]:
    _forget()
    before = _resident("VmRSS")
    work()
    return {"before": before, "peak": _resident("VmHWM") - before}


def main() -> None:
    commit = head()
    folder = Path(tempfile.mkdtemp(prefix="reforge-memory-"))
    new_model(folder)
    runs: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        for what in ("ours", "theirs"):
            runs.append({"what": what, "response": RESPONSE, **measure(what, folder, RESPONSE)})
    peaks = {what: [run["peak"] for run in runs if run["what"] == what] for what in ("ours", "theirs")}
    share, low, high = mean_ratio([one / other for one, other in zip(peaks["ours"], peaks["theirs"], strict=True)])
    medians = {what: statistics.median(values) for what, values in peaks.items()}
    both = f"ours ({medians['ours']:.0f} MiB) to TRL's chunked head on a CPU ({medians['theirs']:.0f} MiB)"
    text = (
        f"peak beyond the model's own memory, gradients included, at {RESPONSE} tokens: {both} (95% interval {low:.3g} "
        f"to {high:.3g})"
    )
    claims: list[Claim] = [claim(text, share, "times", "upper end ≤ 1", high <= 1)]
    grown = {length: measure("ours", folder, length)["peak"] for length in LENGTHS}
    runs.append({"what": "ours by response tokens", "peak": grown})
    first, last = grown[LENGTHS[0]], grown[LENGTHS[-1]]
    exponent = torch.tensor(last / first).log2() / torch.tensor(LENGTHS[-1] / LENGTHS[0]).log2()
    text = f"memory grows from 2K ({first:.0f} MiB) to 32K tokens ({last:.0f} MiB) as tokens to the power of"
    claims.append(claim(text, float(exponent), "", "≤ 1.1", float(exponent) <= 1.1))
    show(claims)
    write("learner_memory", claims, runs, commit)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "theirs": theirs}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
