"""The data card says what became of the rows, with what is not known, and shows nothing it was not told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.problems.funnel import Quarantined
from reforge.records import Problem, TestCase
from reforge.reports.card import Card, write_card

STEPS = {
    "read": {"in": 9, "kept": 7, "quarantined": 2},
    "split": {"in": 7, "train": 4, "heldout": 2, "surplus": 1},
}
OUT = (
    Quarantined("x|y", "contaminated: by HumanEval/1 <script>alert(1)</script> | `a`\nb", "mbpp", 3),
    Quarantined("z", "too few tests: 1 of 5", "mbpp", 4),
)


@pytest.fixture
def card(repository: Path) -> Card:
    mbpp = "curate.problems.sources.mbpp"
    chosen = ["curate.problems=mbpp", f"{mbpp}.path=some/mbpp", f"{mbpp}.revision=abc"]
    config = build_config(compose([*chosen, "+curate.problems.against.he={adapter: humaneval, path: some/he}"]), "test")
    tests = (TestCase("stdin", "1", "2"),)
    problems = [Problem(str(n), "word " * n, "x" * n, tests * n, difficulty=n) for n in range(1, 7)]
    return Card(config.curate["problems"], STEPS, OUT, {"train": problems[:4], "heldout": problems[4:]})


def test_card(card: Card, tmp_path: Path) -> None:
    write_card(tmp_path, card)
    text = (tmp_path / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "cc-by-4.0"
    assert [part["split"] for part in head["configs"][0]["data_files"]] == ["train", "test"]
    assert "4 training, 2 held-out problems" in text
    assert "| mbpp | mbpp | some/mbpp | abc |  | CC-BY-4.0 | all |" in text
    assert "| read | 9 | 7 | 2 |" in text
    assert "| split | 7 | 4 train, 2 held out | 1 more than was asked for |" in text
    assert "| tests of a problem | 1 | 2 | 2 | 3 | 4 |" in text
    assert "| contaminated | 1 |" in text
    assert "Contamination was looked for in he and nowhere else." in text
    assert "6 of 6 problems have no date" in text
    row = next(line for line in text.splitlines() if line.startswith("| x"))
    assert row == (
        "| x\\|y | mbpp, line 3 | contaminated: by HumanEval/1 &lt;script>alert(1)&lt;/script> \\| \\`a\\` b |"
    )
    for name in ("difficulty", "statement", "tests"):
        assert (tmp_path / "plots" / f"{name}.svg").read_text().startswith("<?xml")


def test_equal_sets_give_equal_bytes(card: Card, tmp_path: Path) -> None:
    contents: list[Any] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_card(tmp_path / name, card)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_what_is_not_known_is_said(card: Card, tmp_path: Path) -> None:
    bare = [replace(problem, solution="", several_answers=True) for problem in card.sides["train"]]
    config = card.config.model_copy(
        update={"near": None, "against": {}, "verify": card.config.verify.model_copy(update={"runs": 1})}
    )
    write_card(tmp_path, replace(card, config=config, sides={"train": bare, "heldout": []}))
    text = (tmp_path / "README.md").read_text()
    assert "4 of 4 problems have no reference program" in text
    assert "4 of 4 problems have published programs that answer differently" in text
    assert "Near-duplicates were not looked for." in text
    assert "contamination was not looked for" in text
    assert "Each reference ran once" in text
