"""The real vLLM server over HTTP: determinism, weight updates, and how it fails."""

import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
import vllm.envs

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.policy import Architecture
from reforge.environments.template import Template
from reforge.errors import InfrastructureError, UserError
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import open_learner
from reforge.policy.model import TokenLogprobs, load_model, new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.records import Prompt
from reforge.rollouts import server as server_room
from reforge.rollouts.flags import ALWAYS
from reforge.rollouts.sampler import Sampler, Sampling, VllmServer, rollout_seed
from reforge.rollouts.server import open_sampler, serving
from reforge.training.handover import publish, published
from reforge.training.update import imitate

TEXTS = ["    x = x[::-1]\n    x = sorted(x)\n", "def solve(x):\n    x = [a + 3 for a in x]\n    return x\n"] * 20
ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=64, intermediate_size=128, layers=2, heads=2, kv_heads=2, context=128,
    extra={"tie_word_embeddings": True},
)  # fmt: skip
CANARIES = [[5, 6, 7, 8, 9, 10], [20, 21, 22]]
PROMPTS = [Prompt(f"p{number}", (5, 6, 7 + number)) for number in range(8)]
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=16)


def attempts(prompts: list[Prompt], count: int) -> list[Prompt]:
    """Several at each problem, as a group has them."""
    return [replace(prompt, index=index) for prompt in prompts for index in range(count)]


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
def own_sampler(checkpoint, config, tmp_path_factory):
    """On two servers of ours, of which the first may be lost."""
    settings = config.sampler.model_copy(update={"patience_seconds": 6.0, "replicas": 2, "startup_seconds": 400.0})
    learner = open_learner(checkpoint, config.learner, seed=0)
    train_a_little(learner)
    folder = tmp_path_factory.mktemp("own")
    weights = publish(learner, folder / "weights", 1, CANARIES)
    with open_sampler(checkpoint, settings, Template(learner.tokenizer).decode, folder / "vllm.log") as sampler:
        yield sampler, weights


@pytest.fixture
def server(own_sampler):
    """The one that is not lost."""
    return own_sampler[0].servers[1]


@pytest.fixture
def learner(checkpoint, config):
    return open_learner(checkpoint, config.learner, seed=0)


@pytest.fixture
def sampler(server, learner, tmp_path):
    sampler = sampler_on([server], learner.tokenizer)
    sampler.load(publish(learner, tmp_path / "weights", 0, CANARIES))
    yield sampler
    sampler.close()


def sampler_on(servers, tokenizer, tolerance=1e-4, patience=60.0):
    return Sampler(list(servers), Template(tokenizer).decode, tolerance, patience)


def draw(sampler, seed="run/1"):
    rollouts = sampler.sample(attempts(PROMPTS, 4), SAMPLING, seed)
    return sorted(rollouts, key=lambda rollout: (rollout.problem_id, rollout.index))


def test_the_same_wave_gives_bitwise_the_same_rollouts(sampler):
    first = draw(sampler)
    assert first == draw(sampler)
    assert [r.token_ids for r in first] != [r.token_ids for r in draw(sampler, "run/2")]


def test_vllm_knows_what_strict_asks_of_it():
    """One that it has renamed it would ignore without a word (stages/determinism.py)."""
    assert {"VLLM_CPU_ATTN_SPLIT_KV", "VLLM_BATCH_INVARIANT"} <= set(vllm.envs.environment_variables)


def test_rollouts_of_a_group_differ_and_carry_what_the_sampler_knew(sampler):
    rollouts = draw(sampler)
    assert [(r.problem_id, r.index) for r in rollouts] == [(p.problem_id, i) for p in PROMPTS for i in range(4)]
    assert len({r.token_ids for r in rollouts[:4]}) == 4
    assert all(len(r.logprobs) == len(r.token_ids) <= 16 for r in rollouts)
    assert all(r.truncated == (len(r.token_ids) == 16 and r.token_ids[-1] != 3) for r in rollouts)
    assert {r.seed for r in rollouts} == {rollout_seed("run/1", prompt) for prompt in attempts(PROMPTS, 4)}


def test_sampler_logprobs_are_the_learners_also_off_temperature_one(sampler, learner):
    (rollout,) = sampler.sample(PROMPTS[:1], Sampling(0.7, 1.0, 12), "x")
    (micro,) = build_batch([Row(rollout.prompt_ids, rollout.token_ids)], 100).micro_batches
    ours, _ = learner.logprobs(micro.inputs, 0.7)
    assert torch.allclose(ours, torch.tensor(rollout.logprobs), atol=1e-4)


def train_a_little(learner):
    imitate(learner, build_batch([Row((5,), (6, 7, 8), 1 / 3)], 100), 1e-2)


def test_an_update_reaches_the_sampler_and_parity_says_so(server, sampler, learner, tmp_path):
    before = draw(sampler)
    train_a_little(learner)
    weights = publish(learner, tmp_path, 1, CANARIES)
    assert sampler.gap(server, weights) > 1e-3  # the sampler still has the old ones
    assert sampler.load(weights) < 1e-4
    after = draw(sampler)
    assert {version for rollout in after for version in rollout.policy_versions} == {1}
    assert all(len(rollout.policy_versions) == len(rollout.token_ids) for rollout in after)
    assert [r.logprobs for r in before] != [r.logprobs for r in after]
    assert published(tmp_path, 1) == weights  # what a resume would load


def test_old_weights_left_in_the_sampler_stop_the_run(sampler, learner, tmp_path):
    """The planted defect: the folder of the new version holds the old weights."""
    old = publish(learner, tmp_path, 0, CANARIES)
    train_a_little(learner)
    new = publish(learner, tmp_path, 1, CANARIES)
    with pytest.raises(InfrastructureError, match="is not running the weights"):
        sampler.load(replace(new, folder=old.folder))


def test_a_swap_in_the_middle_of_a_wave_shows_in_the_version_of_each_token(server, sampler, learner, tmp_path):
    """Tokens before the swap are of the old policy, those after it of the new one, and say so: scored by the policy
    that each names, their log-probs are right."""
    policies = [publish(learner, tmp_path, 1, CANARIES)]
    for _ in range(20):
        train_a_little(learner)
    policies.append(publish(learner, tmp_path, 2, CANARIES))
    sampler.load(policies[0])
    prompts = [Prompt(f"p{number}", (5, 6, 7 + number)) for number in range(40)]
    long = Sampling(1.0, 1.0, 100)
    answers = sampler.sample(attempts(prompts, 8), long, "swap")
    first = next(answers)
    sampler.load(policies[1])
    rollouts = [first, *answers]
    mixed = [rollout for rollout in rollouts if set(rollout.policy_versions) == {1, 2}]
    assert mixed
    assert all(list(rollout.policy_versions) == sorted(rollout.policy_versions) for rollout in mixed)
    for rollout in mixed[:5]:
        own = torch.tensor(rollout.logprobs)
        for weights in policies:
            policy = TokenLogprobs(load_model(weights.folder))
            row = Row(rollout.prompt_ids, rollout.token_ids)
            found = policy(*build_batch([row], 500).micro_batches[0].inputs, 1.0)[0].detach()
            same = torch.tensor(rollout.policy_versions) == weights.version
            if weights.version == 1:  # what came before the swap has seen nothing else
                assert torch.allclose(found[same], own[same], atol=1e-4)
            assert not torch.allclose(found[~same], own[~same], atol=1e-4)


def test_a_prompt_beyond_the_context_is_an_error_not_a_short_answer(sampler):
    with pytest.raises(InfrastructureError, match="400"):
        list(sampler.sample([Prompt("long", (5,) * 200)], SAMPLING, "x"))


def test_a_server_that_fails_to_start_shows_its_cause(config, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "no_such_architecture"}')
    with (
        pytest.raises(InfrastructureError, match=r"(?s)before it was ready: .*no_such_architecture.*vllm\.log"),
        serving(folder, config.sampler, Path(tmp_path) / "vllm.log"),
    ):
        pytest.fail("it came up")


def test_a_server_with_a_wrong_flag_is_refused_and_refuses(config, checkpoint, learner, tmp_path, monkeypatch):
    """Raw log-probs: at temperature 1 nobody would notice."""
    monkeypatch.setattr(server_room, "ALWAYS", {**ALWAYS, "logprobs-mode": "raw_logprobs"})
    with serving(checkpoint, config.sampler, tmp_path / "vllm.log") as wrong:
        monkeypatch.undo()
        asked = config.sampler.model_copy(update={"urls": [wrong.url]})
        said = "logprobs-mode is raw_logprobs, and processed_logprobs is wanted"
        with (
            pytest.raises(UserError, match=said),
            open_sampler(checkpoint, asked, Template(learner.tokenizer).decode, tmp_path / "log"),
        ):
            pytest.fail("it was taken")
        sampler = sampler_on([wrong], learner.tokenizer)
        with pytest.raises(InfrastructureError, match=said):
            sampler.load(publish(learner, tmp_path / "weights", 0, CANARIES))


def test_the_right_flags_pass_and_the_canaries_are_drawn_at_the_temperature(server, config, learner, tmp_path):
    asked = config.sampler.model_copy(update={"urls": [server.url]})
    with open_sampler(tmp_path, asked, Template(learner.tokenizer).decode, tmp_path / "log") as sampler:
        weights = publish(learner, tmp_path / "weights", 0, CANARIES, None, 0.6)
        assert sampler.load(weights) < 1e-4
        raw = publish(learner, tmp_path / "raw", 0, CANARIES, None, 1.0)  # what a server of raw log-probs would say
        assert sampler.gap(server, replace(weights, next_logprobs=raw.next_logprobs)) > 0.1


def test_an_unreachable_sampler_is_an_infrastructure_error(learner):
    sampler = sampler_on([VllmServer("http://127.0.0.1:9"), VllmServer("http://127.0.0.1:19")], learner.tokenizer)
    with pytest.raises(InfrastructureError, match=r"broke off.*It was the last one"):
        list(sampler.sample(PROMPTS, SAMPLING, "x"))


def test_the_requests_of_a_server_that_is_not_ours_and_gone_go_to_another(server, sampler):
    whole = draw(sampler)
    sampler.servers = [VllmServer("http://127.0.0.1:9"), VllmServer(server.url)]
    found = draw(sampler)
    assert [(r.token_ids, r.seed) for r in found] == [(r.token_ids, r.seed) for r in whole]
    assert sampler.events.counts == {"dropped": 1}
    assert [kept.url for kept in sampler.servers] == [server.url]


def test_a_mixture_of_experts_with_latent_attention_trains_and_samples(tmp_path):
    """DeepSeek-V2 in small, through the same path; on CPU vLLM's kernels for it round more."""
    small = ("hidden_size=64", "intermediate_size=192", "layers=2", "heads=2", "kv_heads=2", "context=256")
    sizes = [f"base.policy.architecture.{size}" for size in small]  # whoever chooses a model chooses its own
    config = build_config(compose(["experiment=smoke", "base.policy=deepseek_v2", *sizes]), "test")
    tokenizer = train_tokenizer(TEXTS, 300)
    save_model(new_model(config.base["policy"].architecture, tokenizer, seed=0), tokenizer, tmp_path / "first")
    learner = open_learner(tmp_path / "first", config.learner, seed=0)
    with serving(tmp_path / "first", config.sampler, tmp_path / "vllm.log") as server:
        sampler = sampler_on([server], tokenizer, tolerance=0.02)
        assert len(draw(sampler)) == 32
        for _ in range(3):
            train_a_little(learner)
        weights = publish(learner, tmp_path / "weights", 1, CANARIES)
        assert sampler.gap(server, weights) > 0.1  # the old weights
        assert sampler.load(weights) < 0.02


@pytest.mark.parametrize("fault", ["killed", "stopped", "answers 500"])
def test_a_server_of_ours_that_is_lost_in_the_middle_of_a_wave_leaves_no_trace(fault, own_sampler):
    """It is started again, given the same weights and the same wave: bitwise the same rollouts."""
    own_sampler, weights = own_sampler
    own_sampler.load(weights)
    prompts = [Prompt(f"p{number}", (5, 6, 7 + number)) for number in range(40)]
    long = Sampling(1.0, 1.0, 100)
    own_sampler.events.counts.clear()
    whole = {(r.problem_id, r.index): r for r in own_sampler.sample(attempts(prompts, 8), long, fault)}
    answers = own_sampler.sample(attempts(prompts, 8), long, fault)
    found = [next(answers)]
    if fault == "answers 500":
        break_engine(own_sampler)
    else:
        signal_server(own_sampler, signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
    found += answers
    assert {(r.problem_id, r.index): r for r in found} == whole
    assert len(found) == len(whole)
    assert own_sampler.events.counts == {"restarted": 1}


def server_process(sampler):
    port = sampler.servers[0].url.rpartition(":")[2]
    return next(p for p in psutil.process_iter(["cmdline"]) if {port, "--port"} <= set(p.info["cmdline"] or ()))


def signal_server(sampler, number):
    """To the whole of it."""
    process = server_process(sampler)
    for one in [*process.children(recursive=True), process]:
        one.send_signal(number)


def break_engine(sampler):
    """Its engine alone dies: the HTTP server stays and answers 500."""
    children = server_process(sampler).children(recursive=True)
    engines = [child for child in children if child.name().startswith("VLLM")]
    assert engines, [child.name() for child in children]
    for engine in engines:
        engine.kill()
