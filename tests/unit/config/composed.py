"""Compositions of `tiny` with changes, for the tests of tables."""

from __future__ import annotations

from typing import Any

import pytest

from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.errors import UserError


def config(*overrides: str) -> Config:
    return build_config(compose(list(overrides)), "test")


def complaint(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        compose(list(overrides))
    return str(caught.value)


def written(value: Any) -> str:
    """A value as an override gives it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {written(inner)}' for key, inner in value.items())}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
