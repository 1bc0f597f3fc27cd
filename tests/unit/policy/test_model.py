from dataclasses import replace

import pytest
import torch

from reforge.config.policy import Architecture
from reforge.environments.template import Template, worked_answer
from reforge.errors import UserError
from reforge.policy.folder import check_checkpoint, load_tokenizer
from reforge.policy.model import load_model, new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.records import Problem
from tests.unit.environments.reading import program_in

TEXTS = ["    x = x[::-1]\n    x = sorted(x)\n", "def solve(x):\n    x = [a + 3 for a in x]\n    return x\n"] * 20
ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=32, intermediate_size=64, layers=2, heads=2, kv_heads=2, context=128,
    extra={"tie_word_embeddings": True},
)  # fmt: skip
PROBLEM = Problem("p", "Write solve(x).", "def solve(x):\n    return x\n", (), thinking="list: keep it")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    return new_model(ARCHITECTURE, tokenizer, seed=0)


def test_a_saved_tokenizer_gives_the_same_ids_after_loading(tmp_path, model, tokenizer):
    """transformers' AutoTokenizer puts Qwen2's own pre-tokenizer in place of the saved one: every id would change."""
    save_model(model, tokenizer, tmp_path)
    assert load_tokenizer(tmp_path).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    assert load_tokenizer(tmp_path).decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]


def test_weights_are_a_function_of_the_seed_and_survive_saving(tmp_path, model, tokenizer):
    save_model(model, tokenizer, tmp_path)
    again, other = (
        new_model(ARCHITECTURE, tokenizer, 0).state_dict(),
        new_model(ARCHITECTURE, tokenizer, 1).state_dict(),
    )
    loaded = load_model(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], again[name]) for name in again)
    assert not all(torch.equal(other[name], again[name]) for name in again)


def test_any_text_round_trips_through_bytes(tokenizer):
    text = "naïve 模型 \t\r\n🙂 12345"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_prompt_ends_where_the_assistant_begins_and_the_answer_ends_with_the_end_token(tokenizer):
    template = Template(tokenizer)
    assert tokenizer.decode(template.question(PROBLEM)) == "<|user|>Write solve(x).<|end|><|assistant|>"
    answer = template.answer(worked_answer(PROBLEM))
    assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(answer) == (
        "<think>\nlist: keep it\n</think>\n```python\ndef solve(x):\n    return x\n```<|end|>"
    )


def test_where_the_template_begins_the_thinking_it_is_ended_once_and_what_never_ends_holds_no_program():
    tokenizer = train_tokenizer(TEXTS, 300)
    plain = tokenizer.chat_template
    tokenizer.chat_template = f"{plain}{{% if add_generation_prompt %}}<think>\n{{% endif %}}"
    template = Template(tokenizer)
    assert tokenizer.decode(template.question(PROBLEM)).endswith("<|assistant|><think>\n")
    program = "```python\ndef solve(x):\n    return x\n```"
    answer = template.answer(worked_answer(PROBLEM))
    assert tokenizer.decode(answer) == f"list: keep it\n</think>\n{program}<|end|>"
    without = template.answer(worked_answer(replace(PROBLEM, thinking="")))
    assert tokenizer.decode(without) == f"</think>\n{program}<|end|>"

    text = template.decode(answer[:-1])
    assert text == f"<think>\nlist: keep it\n</think>\n{program}"
    assert program_in(text) == PROBLEM.solution
    unfinished = tokenizer.encode(f"perhaps\n{program}")
    assert program_in(template.decode(unfinished)) is None
    tokenizer.chat_template = plain
    assert program_in(Template(tokenizer).decode(unfinished)) == PROBLEM.solution


def test_a_value_that_the_family_does_not_know_is_refused(tokenizer):
    wrong = ARCHITECTURE.model_copy(update={"extra": {"tie_word_embedding": True}})
    with pytest.raises(UserError, match="qwen2 has no value 'tie_word_embedding', did you mean 'tie_word_embeddings'"):
        new_model(wrong, tokenizer, 0)
    twice = ARCHITECTURE.model_copy(update={"extra": {"hidden_size": 8}})
    with pytest.raises(UserError, match="'hidden_size' follows from the other values"):
        new_model(twice, tokenizer, 0)


def test_a_folder_that_is_no_checkpoint_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"config\.json, tokenizer\.json, tokenizer_config\.json, \*\.safetensors"):
        check_checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"\*\.safetensors"):
        load_model(tmp_path)


def test_a_broken_config_names_the_file(tmp_path, model, tokenizer):
    save_model(model, tokenizer, tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is not valid JSON"):
        check_checkpoint(tmp_path)
