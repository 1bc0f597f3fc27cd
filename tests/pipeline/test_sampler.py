"""The real vLLM server over HTTP: determinism, weight updates, and how it fails."""

from functools import partial
from pathlib import Path

import pytest
import torch

from reforge.batches import Row, build_batch
from reforge.compose import compose
from reforge.config.policy import Architecture
from reforge.errors import InfrastructureError
from reforge.params import build_config
from reforge.policy.learner import open_learner
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.prompts import decoder
from reforge.rollouts.sampler import Sampler, Sampling, rollout_seed
from reforge.rollouts.server import serving
from reforge.training.handover import hand_over, parity_gap, score
from reforge.training.update import imitate
from reforge.types import Prompt

TEXTS = ["    x = x[::-1]\n    x = sorted(x)\n", "def solve(x):\n    x = [a + 3 for a in x]\n    return x\n"] * 20
ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=64, intermediate_size=128, layers=2, heads=2, kv_heads=2, context=128,
    extra={"tie_word_embeddings": True},
)  # fmt: skip
CANARIES = [[5, 6, 7, 8, 9, 10], [20, 21, 22]]
PROMPTS = [Prompt(f"p{number}", (5, 6, 7 + number)) for number in range(8)]
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=16)


@pytest.fixture(scope="module")
def config():
    return build_config(compose(["experiment=smoke"]), "test")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(TEXTS, 300)
    save_model(new_model(ARCHITECTURE, tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def url(checkpoint, config, tmp_path_factory):
    with serving(checkpoint, config.sampler, tmp_path_factory.mktemp("log") / "vllm.log") as url:
        yield url


@pytest.fixture
def learner(checkpoint, config):
    return open_learner(checkpoint, config.learner, seed=0)


@pytest.fixture
def sampler(url, learner, checkpoint):
    sampler = Sampler([url], decoder(learner.tokenizer))
    sampler.load_weights(str(checkpoint), 0)
    return sampler


def draw(sampler, seed="run/1"):
    rollouts = sampler.sample(PROMPTS, 4, SAMPLING, seed)
    return sorted(rollouts, key=lambda rollout: (rollout.problem_id, rollout.index))


def test_the_same_wave_gives_bitwise_the_same_rollouts(sampler):
    first = draw(sampler)
    assert first == draw(sampler)
    assert [r.token_ids for r in first] != [r.token_ids for r in draw(sampler, "run/2")]


def test_rollouts_of_a_group_differ_and_carry_what_the_sampler_knew(sampler):
    rollouts = draw(sampler)
    assert [(r.problem_id, r.index) for r in rollouts] == [(p.problem_id, i) for p in PROMPTS for i in range(4)]
    assert len({r.token_ids for r in rollouts[:4]}) == 4
    assert all(len(r.logprobs) == len(r.token_ids) <= 16 for r in rollouts)
    assert all(r.truncated == (len(r.token_ids) == 16 and r.token_ids[-1] != 3) for r in rollouts)
    assert {r.seed for r in rollouts} == {rollout_seed("run/1", p.problem_id, i) for p in PROMPTS for i in range(4)}


def test_sampler_logprobs_are_the_learners_also_off_temperature_one(sampler, learner):
    (rollout,) = sampler.sample(PROMPTS[:1], 1, Sampling(0.7, 1.0, 12), "x")
    (micro,) = build_batch([Row(rollout.prompt_ids, rollout.token_ids)], 100).micro_batches
    ours, _ = learner.logprobs(micro.inputs, 0.7)
    assert torch.allclose(ours, torch.tensor(rollout.logprobs), atol=1e-4)


def train_a_little(learner):
    imitate(learner, build_batch([Row((5,), (6, 7, 8), 1 / 3)], 100), 1e-2)


def test_an_update_reaches_the_sampler_and_parity_says_so(sampler, learner, tmp_path):
    before = draw(sampler)
    train_a_little(learner)
    assert parity_gap(partial(score, learner), sampler, CANARIES) > 1e-3  # the sampler still has the old weights
    gap = hand_over(learner, sampler, tmp_path, 1, CANARIES, tolerance=1e-4)
    assert gap < 1e-4
    after = draw(sampler)
    assert {rollout.policy_version for rollout in after} == {1}
    assert [r.logprobs for r in before] != [r.logprobs for r in after]


def test_old_weights_left_in_the_sampler_stop_the_run(sampler, learner, tmp_path, monkeypatch):
    train_a_little(learner)
    monkeypatch.setattr(sampler, "load_weights", lambda folder, version: None)  # the planted defect
    with pytest.raises(InfrastructureError, match="is not running the weights"):
        hand_over(learner, sampler, tmp_path, 1, CANARIES, tolerance=1e-4)


def test_a_prompt_beyond_the_context_is_an_error_not_a_short_answer(sampler):
    with pytest.raises(InfrastructureError, match="400"):
        list(sampler.sample([Prompt("long", (5,) * 200)], 1, SAMPLING, "x"))


def test_a_server_that_fails_to_start_shows_its_cause(config, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "no_such_architecture"}')
    with (
        pytest.raises(InfrastructureError, match=r"(?s)before it was ready: .*no_such_architecture.*vllm\.log"),
        serving(folder, config.sampler, Path(tmp_path) / "vllm.log"),
    ):
        pytest.fail("it came up")


def test_an_unreachable_sampler_is_an_infrastructure_error(learner):
    with pytest.raises(InfrastructureError, match="broke off"):
        list(Sampler(["http://127.0.0.1:9"], decoder(learner.tokenizer)).sample(PROMPTS, 1, SAMPLING, "x"))


def test_a_mixture_of_experts_with_latent_attention_trains_and_samples(tmp_path):
    """DeepSeek-V2 in small, through the same path; on CPU vLLM's kernels for it round more."""
    config = build_config(compose(["experiment=smoke", "model=deepseek_v2"]), "test")
    tokenizer = train_tokenizer(TEXTS, 300)
    save_model(new_model(config.model.architecture, tokenizer, seed=0), tokenizer, tmp_path / "first")
    learner = open_learner(tmp_path / "first", config.learner, seed=0)
    with serving(tmp_path / "first", config.sampler, tmp_path / "vllm.log") as url:
        sampler = Sampler([url], decoder(tokenizer))
        assert len(draw(sampler)) == 32
        for _ in range(3):
            train_a_little(learner)
        assert parity_gap(partial(score, learner), sampler, CANARIES) > 0.1  # the old weights
        assert hand_over(learner, sampler, tmp_path / "weights", 1, CANARIES, tolerance=0.02) < 0.02
