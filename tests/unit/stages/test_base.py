"""The first stage asks of a checkpoint what the later ones need."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reforge.config import begun_with
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.policy import Architecture
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import write_problems
from reforge.records import Problem, TestCase
from reforge.stages import base
from reforge.tracking.tracker import Tracker

ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=32, intermediate_size=64, layers=2, heads=2, kv_heads=2, context=128,
    extra={"tie_word_embeddings": True},
)  # fmt: skip
PROBLEMS = [
    Problem(f"p{i}", "Write solve(x)." + " x" * i, "def solve(x):\n    return x\n", (TestCase("call", "[1]", "1"),))
    for i in range(20)
]


FITTING = [
    "experiment=smoke", "rl.*.max_tokens=32", "rl.*.max_prompt_tokens=64", "sample.teacher.max_tokens=32",
    "evaluate.*.limits={short: 16, long: 32, longest: 64}", "evaluate.*.count=20",
]  # fmt: skip


@pytest.fixture
def context(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StageContext]:
    """Of a stage of kind `base` that begins with the checkpoint `mine`, beside curated problems."""
    tokenizer = train_tokenizer([problem.statement for problem in PROBLEMS], 300)
    save_model(new_model(ARCHITECTURE, tokenizer, 0), tokenizer, tmp_path / "mine")
    texts = Path("outputs/curate/problems/data")
    write_problems(tmp_path / texts / "train.parquet", PROBLEMS)
    write_problems(tmp_path / texts / "heldout.parquet", PROBLEMS[::-1])

    def made(*overrides: str, key: str = "policy") -> StageContext:
        monkeypatch.chdir(repository)
        mine = f"base.{key}.path={tmp_path / 'mine'}"
        cfg = build_config(compose([*FITTING, mine, *overrides]), "test")
        monkeypatch.chdir(tmp_path)
        out, name = Path(f"out{len(list(Path().glob('out*')))}"), f"base@{key}"
        out.mkdir()
        tracker = Tracker(tmp_path / "scratch", tmp_path / "records")
        return StageContext(name, cfg, (texts,), {}, out, out, out, 0, tracker, begun_with(cfg, name))

    return made


@pytest.fixture
def ctx(context: Callable[..., StageContext]) -> StageContext:
    return context()


def test_a_sound_checkpoint_is_copied_without_code_or_pickles(ctx: StageContext, tmp_path: Path) -> None:
    for name in ("modeling.py", "pytorch_model.bin"):
        (tmp_path / "mine" / name).write_text("never run")
    base.run(ctx)
    made = {path.name for path in (ctx.out / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= made
    assert not {"modeling.py", "pytorch_model.bin"} & made
    assert ctx.metrics["vocabulary"] == json.loads((tmp_path / "mine" / "config.json").read_text())["vocab_size"]


def test_without_a_chat_template_base_refuses_it_in_the_user_s_own_folder(ctx: StageContext, tmp_path: Path) -> None:
    (tmp_path / "mine" / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=f"{tmp_path}/mine/tokenizer_config.json has no chat_template"):
        base.run(ctx)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("evaluate.*.limits.longest=126", r"evaluate\.sft\.limits\.longest is 126"),
        ("rl.long.max_tokens=127", r"rl\.long\.max_tokens is 127"),
        ("sample.teacher.max_tokens=128", r"sample\.teacher\.max_tokens is 128"),
    ],
)
def test_every_limit_must_fit_with_the_longest_prompt(context, change: str, key: str) -> None:
    with pytest.raises(UserError, match=f"{key} and the longest prompt has .*128.*max_position_embeddings"):
        base.run(context(change))


def test_of_limits_on_other_problems_the_stage_itself_asks(context) -> None:
    """The planted limit is that of `test_every_limit…`, and the prompts that it follows are not those of `texts`."""
    ctx = context("+curate.others=generated", "rl.long.problems=curate/others", "rl.long.max_tokens=127")
    base.run(ctx)
    assert (ctx.out / "model" / "model.safetensors").is_file()
    with pytest.raises(UserError, match=r"rl\.long\.max_tokens is 127"):
        base.run(context("rl.long.max_tokens=127"))


def test_what_began_with_another_model_has_no_say(context) -> None:
    other = ["base.policy.path=somewhere"]
    scored = ["+evaluate.student=smoke", "evaluate.student.model=sft/student"]
    base.run(context("rl.long.max_tokens=127", *other, key="student"))
    with pytest.raises(UserError, match=r"evaluate\.student\.limits\.longest is 126"):
        base.run(context(*scored, "evaluate.*.limits.longest=126", *other, key="student"))


def test_a_model_made_here_is_asked_the_same(context) -> None:
    small = ["base.policy.path=''", "base.policy.vocab_size=300"]
    small += [
        f"base.policy.architecture.{key}={value}" for key, value in ARCHITECTURE.model_dump(exclude={"extra"}).items()
    ]
    tight = ["base.policy.architecture.context=64", "rl.*.max_tokens=8", "rl.*.max_prompt_tokens=8"]
    tight += ["sample.teacher.max_tokens=8"]
    base.run(context(*small))
    with pytest.raises(UserError, match=r"evaluate\.sft\.limits\.longest is 60"):
        base.run(context(*small, *tight, "evaluate.*.limits.longest=60"))
