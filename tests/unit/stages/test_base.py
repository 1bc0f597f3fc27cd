"""The first stage asks of a checkpoint what the later ones need."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from reforge.config.policy import Architecture
from reforge.errors import UserError
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import write_problems
from reforge.records import Problem, TestCase
from reforge.stages import base

ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=32, intermediate_size=64, layers=2, heads=2, kv_heads=2, context=128,
    extra={"tie_word_embeddings": True},
)  # fmt: skip
PROBLEMS = [
    Problem(f"p{i}", "Write solve(x)." + " x" * i, "def solve(x):\n    return x\n", (TestCase("call", "[1]", "1"),))
    for i in range(20)
]


@pytest.fixture
def ctx(tmp_path: Path) -> SimpleNamespace:
    (tmp_path / "problems").mkdir()
    write_problems(tmp_path / "problems" / "train.parquet", PROBLEMS)
    write_problems(tmp_path / "problems" / "heldout.parquet", PROBLEMS[::-1])
    (tmp_path / "out").mkdir()
    tokenizer = train_tokenizer([problem.statement for problem in PROBLEMS], 300)
    save_model(new_model(ARCHITECTURE, tokenizer, 0), tokenizer, tmp_path / "mine")
    cfg = SimpleNamespace(
        model=SimpleNamespace(path=str(tmp_path / "mine"), vocab_size=300, architecture=ARCHITECTURE),
        learner=SimpleNamespace(lora=None, sequence_parallel=1),
        sampler=SimpleNamespace(tensor_parallel=1),
        rl=SimpleNamespace(max_prompt_tokens=64, rungs={"16k": SimpleNamespace(max_tokens=32)}),
        distill=SimpleNamespace(max_tokens=32),
        evaluate=SimpleNamespace(lengths={"64k": 64}, problems=20, side="heldout"),
    )
    return SimpleNamespace(cfg=cfg, dep=lambda name: tmp_path / name, out=tmp_path / "out", seed=0, metrics={})


def test_a_sound_checkpoint_is_copied_without_code_or_pickles(ctx: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("modeling.py", "pytorch_model.bin"):
        (tmp_path / "mine" / name).write_text("never run")
    base.run(ctx)
    made = {path.name for path in (ctx.out / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= made
    assert not {"modeling.py", "pytorch_model.bin"} & made
    assert ctx.metrics["vocabulary"] == json.loads((tmp_path / "mine" / "config.json").read_text())["vocab_size"]


def test_without_a_chat_template_base_refuses_it_in_the_user_s_own_folder(ctx: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "mine" / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=f"{tmp_path}/mine/tokenizer_config.json has no chat_template"):
        base.run(ctx)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda cfg: cfg.evaluate.lengths.update({"128k": 126}), r"evaluate\.lengths\.128k is 126"),
        (
            lambda cfg: cfg.rl.rungs.update({"32k": SimpleNamespace(max_tokens=127)}),
            r"rl\.rungs\.32k\.max_tokens is 127",
        ),
        (lambda cfg: setattr(cfg.distill, "max_tokens", 128), r"distill\.max_tokens is 128"),
    ],
)
def test_every_limit_must_fit_with_the_longest_prompt(ctx: SimpleNamespace, change, key: str) -> None:
    change(ctx.cfg)
    with pytest.raises(UserError, match=f"{key} and the longest prompt has .*128.*max_position_embeddings"):
        base.run(ctx)


def test_a_model_made_here_is_asked_the_same(ctx: SimpleNamespace) -> None:
    ctx.cfg.model.path = ""
    base.run(ctx)
    shutil.rmtree(ctx.out / "model")
    ctx.cfg.model.architecture = ARCHITECTURE.model_copy(update={"context": 64})
    with pytest.raises(UserError, match=r"evaluate\.lengths\.64k is 64"):
        base.run(ctx)
