"""The base of every section of the configuration, and of the entries of its tables, which are the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

from reforge.errors import UserError

Product = Literal["model", "problems", "rollouts"]
NONE = "none"


class Section(BaseModel):
    """A section of the configuration: frozen, with no unknown keys and no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Slot:
    """An input of a stage. Its value names the stage that makes it, such as `rl/short`, or is `none` if it is
    `optional`."""

    wants: Product
    optional: bool = False

    def path(self, value: str) -> str:
        """Return where the stage `value` leaves this input; for `none` a folder that is always there, because DVC takes
        no empty path."""
        return f"outputs/{value}/{self.folder}"

    @property
    def folder(self) -> str:
        return "model" if self.wants == "model" else "data"


FromModel = Annotated[str, Slot("model")]
FromProblems = Annotated[str, Slot("problems")]


@dataclass(frozen=True)
class Limit:
    """A completion limit in tokens, and the `key` of an instance that sets it. It follows the prompts of the `first`
    problems of a `side` (None: all), of which those with more than `prompt` tokens (None: none) are left out.
    """

    key: str
    tokens: int
    side: Literal["train", "heldout"] = "train"
    first: int | None = None
    prompt: int | None = None


class Instance(Section):
    """One entry of a table, which is one stage: entry `short` of table `rl` is stage `rl@short`. `makes`: what other
    stages may take from it."""

    makes: ClassVar[Product | None] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if cls.makes not in (None, *get_args(Product)):
            raise TypeError(f"{cls.__name__}.makes is {cls.makes!r}: {', '.join(get_args(Product))} can be, or None")

    @classmethod
    def slots(cls) -> dict[str, Slot]:
        """Return the slots of the fields that name inputs."""
        return {
            name: mark for name, field in cls.model_fields.items() for mark in field.metadata if isinstance(mark, Slot)
        }

    def input(self, slot: str) -> str:
        """Return the folder of the input that `slot` names, relative to the project."""
        if slot not in self.slots():
            raise UserError(f"{type(self).__name__} has no slot {slot!r}; there are: {', '.join(self.slots())}.")
        return self.slots()[slot].path(getattr(self, slot))

    def inputs(self) -> dict[str, str]:
        """Return the stage that each used slot names, such as `rl/short`."""
        return {name: value for name in self.slots() if (value := getattr(self, name)) != NONE}

    def files(self) -> Mapping[str, Any]:
        """Return the sections that name a file, by key: each with a `path`, and a `sha256` that `reforge compose`
        fills."""
        return {}

    def completion_limits(self) -> list[Limit]:
        """Return the limits that the stage samples completions with."""
        return []
