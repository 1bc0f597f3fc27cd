"""Every key of the configuration is used by code: an option that nothing reads would be a silent no-op."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from reforge import config
from reforge.config import Config


def attributes_read(folder: Path) -> set[str]:
    """Names read as attributes anywhere in the code that uses the configuration."""
    sources = [path for path in folder.rglob("*.py") if path.parent.name != "config"]
    trees = [ast.parse(path.read_text()) for path in sources]
    return {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def keys(section: type[BaseModel], where: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if is_section(kind)]
        yield f"{where}{name}"
        for kind in inner:
            yield from keys(kind, f"{where}{name}.")


def is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def unread(section: type[BaseModel], folder: Path) -> list[str]:
    read = attributes_read(folder)
    return [key for key in keys(section) if key.rpartition(".")[2] not in read]


def test_every_key_is_read_somewhere(repository: Path) -> None:
    assert unread(Config, repository / "src") == []


def test_a_planted_option_that_nothing_reads_is_found(repository: Path) -> None:
    class Planted(config.Section):
        seed: int
        temperatura: float

    assert unread(Planted, repository / "src") == ["temperatura"]
