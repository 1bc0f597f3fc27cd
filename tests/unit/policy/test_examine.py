"""What a later stage would break on is refused of a checkpoint at once, with the file, the key and what to write."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from reforge.config.policy import Architecture, Lora
from reforge.errors import UserError
from reforge.policy.examine import Needs, context_of, examine
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer

TEXTS = ["    x = x[::-1]\n    x = sorted(x)\n", "def solve(x):\n    x = [a + 3 for a in x]\n    return x\n"] * 20
ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=32, intermediate_size=64, layers=2, heads=2, kv_heads=2, context=128,
    extra={"tie_word_embeddings": False},
)  # fmt: skip
NEEDS = Needs(lora=None, sequence_parallel=1, tensor_parallel=1, answers=["```python\nprint('a', \"b\")\n```"])
GONE = object()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    tokenizer = train_tokenizer(TEXTS, 300)
    save_model(new_model(ARCHITECTURE, tokenizer, 0), tokenizer, folder)
    jinja = folder / "chat_template.jinja"  # one file less to keep in step
    edit(folder, "tokenizer_config.json", chat_template=jinja.read_text())
    jinja.unlink()
    return folder


@pytest.fixture
def checkpoint(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "m")


def edit(folder, name, **values):
    path = folder / name
    said = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({key: value for key, value in {**said, **values}.items() if value is not GONE}))


def tensors(folder, change):
    path = folder / "model.safetensors"
    found = load_file(path)
    change(found)
    save_file(found, path, {"format": "pt"})


def template(folder, text):
    edit(folder, "tokenizer_config.json", chat_template=text)


def special(folder, *contents):
    path = folder / "tokenizer.json"
    said = json.loads(path.read_text())
    first = len(said["model"]["vocab"])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    said["added_tokens"] += [
        {"id": first + number, "content": content, "special": True, **flags} for number, content in enumerate(contents)
    ]
    path.write_text(json.dumps(said))


def lower_case(folder):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "normalizer": {"type": "Lowercase"}}))


def half(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def not_a_number(found):
    found["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.nan


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def wider_embeddings(folder):
    special(folder, "<|one|>", "<|two|>")


def sharded(folder):
    edit(folder, "model.safetensors.index.json", weight_map={"a": "model.safetensors", "b": "model-2.safetensors"})


BREAKAGES = {
    # the chat
    "no template": (
        lambda m: edit(m, "tokenizer_config.json", chat_template=GONE),
        r'm/tokenizer_config.json has no chat_template .* add.*"chat_template": "\{% for',
    ),
    "a template with an error": (lambda m: template(m, "{% for %}"), "m/tokenizer_config.json: chat_template cannot"),
    "a template that wants a system's turn": (
        lambda m: template(m, "{{ raise_exception('no system') }}"),
        "chat_template cannot render.*no system",
    ),
    "a template without the content": (lambda m: template(m, "{{ messages|length }}"), "leaves out what the messages"),
    "a prompt that is no beginning": (
        lambda m: template(
            m,
            "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>"
            "{% endif %}",
        ),
        "which is not how it begins",
    ),
    # special tokens
    "no pad token": (
        lambda m: edit(m, "tokenizer_config.json", pad_token=GONE),
        r'm/tokenizer_config.json has no pad_token.*"pad_token": "<\|end\|>"',
    ),
    "no end token": (lambda m: edit(m, "tokenizer_config.json", eos_token=GONE), r"has no eos_token.*\"eos_token\": "),
    "an end token of several pieces": (
        lambda m: edit(m, "tokenizer_config.json", eos_token="</s>"),
        "",  # transformers adds it: an id without a row
    ),
    "more tokens than rows": (wider_embeddings, r"the token '<\|two\|>' has the id \d+, but vocab_size in .* is 300"),
    "other end in config": (
        lambda m: edit(m, "config.json", eos_token_id=7),
        r'm/config.json: eos_token_id is 7.*"eos_token_id": 3',
    ),
    "other ends in generation_config": (
        lambda m: edit(m, "generation_config.json", eos_token_id=[5, 6]),
        r"m/generation_config.json: eos_token_id is \[5, 6\]",
    ),
    "a pad outside of the vocabulary": (lambda m: edit(m, "config.json", pad_token_id=300), "pad_token_id is 300"),
    "thinking dropped": (
        lambda m: (special(m, "</think>"), edit(m, "config.json", vocab_size=301), tensors(m, one_row)),
        r"'</think>' is a special token there, so it is dropped: set its \"special\": false",
    ),
    "a tokenizer that loses capitals": (lower_case, "tokenizer.json does not give back what it was given"),
    # values
    "broken json": (lambda m: (m / "tokenizer_config.json").write_text("{"), "m/tokenizer_config.json is not valid"),
    "a list": (lambda m: (m / "config.json").write_text("[]"), "m/config.json is not a JSON object"),
    "code": (lambda m: edit(m, "config.json", auto_map={"AutoConfig": "x.Y"}), "m/config.json: auto_map .* Delete"),
    "code of the tokenizer": (
        lambda m: edit(m, "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}),
        "m/tokenizer_config.json: auto_map",
    ),
    "another family": (
        lambda m: edit(m, "config.json", model_type="gpt2"),
        "model_type is 'gpt2'.*qwen2, qwen3, llama",
    ),
    "no family": (lambda m: edit(m, "config.json", model_type=GONE), "model_type is None"),
    "another head": (
        lambda m: edit(m, "config.json", architectures=["Qwen2ForSequenceClassification"]),
        r'"architectures": \["Qwen2ForCausalLM"\]',
    ),
    "quantised": (lambda m: edit(m, "config.json", quantization_config={"bits": 4}), "quantization_config"),
    "dropout": (lambda m: edit(m, "config.json", attention_dropout=0.1), '"attention_dropout": 0.0'),
    "windows": (
        lambda m: edit(
            m, "config.json", use_sliding_window=True, max_window_layers=0, sliding_window=8, layer_types=GONE
        ),
        '"use_sliding_window": false',
    ),
    "a value of the wrong kind": (lambda m: edit(m, "config.json", num_hidden_layers="two"), "m/config.json"),
    "sampling values that cannot be saved": (
        lambda m: edit(m, "generation_config.json", do_sample=False, temperature=0.5),
        "m/generation_config.json holds values that contradict",
    ),
    # weights
    "pickles": (pickled, r"\*.safetensors not found there.*pickles, which are never read.*save_pretrained"),
    "cut short": (half, "m/model.safetensors is broken or cut short"),
    "no safetensors": (
        lambda m: (m / "model.safetensors").write_bytes(b"version https"),
        "model.safetensors is broken",
    ),
    "a shard missing": (sharded, "index.json names model-2.safetensors, which"),
    "a tensor missing": (
        lambda m: tensors(m, lambda found: found.pop("model.norm.weight")),
        "the weights lack model.norm.weight",
    ),
    "the head missing": (
        lambda m: tensors(m, lambda found: found.pop("lm_head.weight")),
        'the weights lack lm_head.weight.*"tie_word_embeddings": true',
    ),
    "a tensor more": (
        lambda m: tensors(m, lambda found: found.update({"model.layers.0.odd.weight": torch.ones(2)})),
        "the weights hold model.layers.0.odd.weight",
    ),
    "other layers than weights": (
        lambda m: edit(m, "config.json", num_hidden_layers=1, layer_types=GONE),
        "the weights hold",
    ),
    "another shape": (lambda m: edit(m, "config.json", intermediate_size=80), r"mlp.*has the shape \[.*64.*80"),
    "tied and different": (lambda m: edit(m, "config.json", tie_word_embeddings=True), '"tie_word_embeddings": false'),
    "no number": (lambda m: tensors(m, not_a_number), "m: model.layers.1.mlp.up_proj.weight holds what is no finite"),
    "whole numbers": (
        lambda m: tensors(m, lambda found: found.update({"lm_head.weight": torch.ones(300, 32, dtype=torch.int8)})),
        "lm_head.weight of type I8 cannot be trained",
    ),
}


def one_row(found):
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        found[name] = torch.cat([found[name], found[name][:1]])


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_would_break_later_is_refused_with_the_remedy(checkpoint, breakage):
    change, words = BREAKAGES[breakage]
    change(checkpoint)
    with pytest.raises(UserError, match=f"(?s){words}") as raised:
        examine(checkpoint, NEEDS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_sound_ones_pass(tmp_path, family):
    tokenizer = train_tokenizer(TEXTS, 300)
    extra = {"tie_word_embeddings": True} | ({"head_dim": 16} if family == "qwen3" else {})
    architecture = ARCHITECTURE.model_copy(update={"family": family, "extra": extra})
    save_model(new_model(architecture, tokenizer, 0), tokenizer, tmp_path)
    _, read = examine(tmp_path, NEEDS)
    assert context_of(tmp_path) == (128, f"max_position_embeddings in {tmp_path / 'config.json'}")
    assert len(read) == 300


THINKING = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|>"
    "{{ m.content.split('</think>')[-1] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)


def test_published_habits_pass(checkpoint):
    """DeepSeek-R1's template opens the thinking; Llama-3 has several ends; many pad with the end; bfloat16."""
    template(checkpoint, THINKING)
    edit(checkpoint, "tokenizer_config.json", pad_token="<|end|>")
    edit(checkpoint, "config.json", eos_token_id=[0, 3])
    edit(checkpoint, "generation_config.json", eos_token_id=[1, 3], do_sample=True, temperature=0.6, top_p=0.95)
    tensors(checkpoint, lambda found: found.update({name: value.bfloat16() for name, value in found.items()}))
    examine(checkpoint, NEEDS)


def test_the_tokenizer_s_limit_counts_as_it_does_for_vllm(checkpoint):
    edit(checkpoint, "tokenizer_config.json", model_max_length=100)
    examine(checkpoint, NEEDS)
    assert context_of(checkpoint) == (100, f"model_max_length in {checkpoint / 'tokenizer_config.json'}")


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (
            {"lora": Lora(rank=2, alpha=4, targets=["q_proj", "query"])},
            "targets: the model has no 'query'; there are .*q_proj",
        ),
        ({"lora": Lora(rank=2, alpha=4, targets=["lm_head"])}, "the output layer cannot be targets"),
        ({"sequence_parallel": 3}, "learner.sequence_parallel is 3.*num_attention_heads 2"),
        ({"tensor_parallel": 4}, "sampler.tensor_parallel is 4, which does not divide num_attention_heads 2"),
    ],
)
def test_what_the_machines_ask_of_it(checkpoint, needs, words):
    with pytest.raises(UserError, match=words):
        examine(checkpoint, Needs(**{**vars(NEEDS), **needs}))


def test_lora_on_modules_that_are_there(checkpoint):
    examine(checkpoint, Needs(**{**vars(NEEDS), "lora": Lora(rank=2, alpha=4, targets=["q_proj", "v_proj"])}))
