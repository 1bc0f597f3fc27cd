"""The whole configuration: what all stages share, and a table of stages for each kind. Every check of a value is made
in this package."""

from __future__ import annotations

import difflib
import re
from graphlib import CycleError, TopologicalSorter
from typing import Literal, get_args, get_origin

from pydantic import Field, model_validator

from reforge.config.policy import Base, LearnerConfig, SamplerConfig
from reforge.config.problems import Curate
from reforge.config.sampling import Evaluate, Sample
from reforge.config.sandbox import Sandbox
from reforge.config.section import NONE, Instance, Product, Section
from reforge.config.training import Rl, Sft

Determinism = Literal["fast", "strict"]  # what they do: reforge.frame.determinism


class Tracking(Section):
    mlflow_uri: str
    mlflow_experiment: str
    wandb: bool


class Config(Section):
    """The configuration: after what all stages share, a table for each kind of stage, in the order in which they are
    made."""

    experiment: str
    seed: int = Field(ge=0)
    determinism: Determinism
    sandbox: Sandbox
    learner: LearnerConfig
    sampler: SamplerConfig
    curate: dict[str, Curate]
    base: dict[str, Base]
    sft: dict[str, Sft]
    sample: dict[str, Sample]
    rl: dict[str, Rl]
    evaluate: dict[str, Evaluate]
    tracking: Tracking

    @model_validator(mode="after")
    def _names_are_plain(self) -> Config:
        for kind in KINDS:
            for key in getattr(self, kind):
                if not re.fullmatch(r"[\w-]+", key, re.ASCII):
                    raise ValueError(f"{kind}: {key!r} is no name: letters, digits, dashes and underscores are")
        return self

    @model_validator(mode="after")
    def _inputs_are_made(self) -> Config:
        stages = instances(self)
        for name, instance in stages.items():
            for field, slot in instance.slots().items():
                value, key = getattr(instance, field), f"{dotted(name)}.{field}"
                if value == NONE and not slot.optional:
                    raise ValueError(f"{key}: is none, and {_a(slot.wants)} is needed here")
                if value != NONE and (value not in stages or stages[value].makes != slot.wants):
                    made = [other for other, made in stages.items() if made.makes == slot.wants and other != name]
                    there = f"{', '.join(made)} {'do' if len(made) > 1 else 'does'}" if made else "nothing does"
                    wrong = f"makes {_a(stages[value].makes)}" if value in stages else "is no stage"
                    close = difflib.get_close_matches(value.replace("@", "/"), made, n=1, cutoff=0.7)
                    near = f". Did you mean {close[0]}?" if close else ""
                    raise ValueError(
                        f"{key}: {value} {wrong}; here {_a(slot.wants)} is wanted, and {there} make one{near}"
                    )
        try:
            TopologicalSorter({name: instance.inputs().values() for name, instance in stages.items()}).prepare()
        except CycleError as error:
            waits = list(dict.fromkeys(reversed(error.args[1])))
            needs = [
                f"{dotted(name)}.{field} is {value}"
                for name in waits
                for field, value in stages[name].inputs().items()
                if value in waits
            ]
            raise ValueError(
                f"{', '.join(needs)}: none of them could be the first. Let one begin with a different stage"
            ) from error
        return self

    @model_validator(mode="after")
    def _fits_context(self) -> Config:
        """Check that each completion limit leaves room for a prompt in the model's context. A model from `path` is left
        out: its own files say what it holds."""
        for name, instance in instances(self).items():
            for limit in instance.completion_limits():
                base = base_of(self, name)
                context = self.base[base].architecture.context
                if limit.tokens >= context and not self.base[base].path:
                    key, held = f"{dotted(name)}.{limit.key}", f"base.{base}.architecture.context"
                    raise ValueError(f"{key} is {limit.tokens} but {held} is {context}: no prompt would fit")
        return self

    @model_validator(mode="after")
    def _lora_has_a_base(self) -> Config:
        for name, instance in instances(self).items() if self.learner.lora else ():
            base = base_of(self, name) if instance.makes == "model" else ""
            if base and name != f"base/{base}" and not self.base[base].path:
                raise ValueError(
                    f"learner.lora: adds to a trained model, and {name} begins with the random weights of base.{base}, "
                    "which has no path"
                )
        return self

    @model_validator(mode="after")
    def _evaluations_compare(self) -> Config:
        """Check that all evaluations ask alike, because one report shows them side by side."""
        first, *others = self.evaluate or [""]
        alike = (
            "problems",
            "side",
            "count",
            "limits",
            "confidence",
            "environment",
            "own",
            "ks",
            "temperature",
            "top_p",
        )
        for key in others:
            for field in alike:
                value, usual = getattr(self.evaluate[key], field), getattr(self.evaluate[first], field)
                if value != usual:
                    raise ValueError(
                        f"evaluate.{key}.{field} is {value!r} and evaluate.{first}.{field} is {usual!r}: the report "
                        f"compares models on the same problems, asked alike. For all: evaluate.*.{field}=…"
                    )
        return self


KINDS: dict[str, type[Instance]] = {
    name: get_args(field.annotation)[1]
    for name, field in Config.model_fields.items()
    if get_origin(field.annotation) is dict
}


def instances(config: Config) -> dict[str, Instance]:
    """Return all stages of the tables by name, such as `rl/short`."""
    return {f"{kind}/{key}": one for kind in KINDS for key, one in getattr(config, kind).items()}


def dotted(name: str) -> str:
    """Return the name that overrides have for the stage `rl/short` or `rl@short`: `rl.short`."""
    return name.replace("/", ".").replace("@", ".")


def base_of(config: Config, name: str) -> str:
    """Return the key in `base` of the model that the model of the stage `name`, such as `rl/short`, began with."""
    kind, _, key = name.partition("/")
    while kind != "base":
        instance = getattr(config, kind)[key]
        (value, *_) = (getattr(instance, field) for field, slot in instance.slots().items() if slot.wants == "model")
        kind, _, key = value.partition("/")
    return key


def begun_with(config: Config, name: str) -> dict[str, Instance]:
    """Return the stages whose model began with the one that the stage `name`, such as `base@policy`, makes."""
    kind, _, key = name.partition("@")
    found = instances(config) if kind == "base" else {}
    return {
        other: one
        for other, one in found.items()
        if any(slot.wants == "model" for slot in one.slots().values()) and base_of(config, other) == key
    }


def compared_limit(config: Config) -> str:
    """Return the name of the completion limit at which models are compared: that of the last evaluated model of RL, if
    it is among those evaluated at, else the longest; empty where no model is evaluated.
    """
    limits = next((one.limits for one in config.evaluate.values()), {})
    trained = _last_rl(config)
    wanted = config.rl[trained].max_tokens if trained else 0
    return next(
        (name for name, tokens in limits.items() if tokens == wanted),
        max(limits, key=limits.__getitem__, default=""),
    )


def road(config: Config) -> list[str]:
    """Return what RL began with and the rungs from there to the last one that is evaluated, as models (`sft/cold`,
    `rl/short`); empty without such a rung."""
    models = [f"rl/{key}"] if (key := _last_rl(config)) else []
    while models and models[0].startswith("rl/"):
        models.insert(0, config.rl[models[0].removeprefix("rl/")].init)
    return models


def evaluated_as(config: Config) -> dict[str, str]:
    """Return the key in `evaluate` of each model that is evaluated, the first of several."""
    return {one.model: name for name, one in reversed(config.evaluate.items())}


def compared_models(config: Config) -> list[tuple[str, str]]:
    """Return pairs of keys in `evaluate`: the last model of RL and what it is compared with, which is the model that RL
    began with, and then each that was fine-tuned further from there instead. Empty where the first two are not
    evaluated.
    """
    models, evaluated = road(config), evaluated_as(config)
    if not models or models[0] not in evaluated:
        return []
    controls = [f"sft/{key}" for key, one in config.sft.items() if one.init == models[0]]
    return [(evaluated[models[-1]], evaluated[other]) for other in [models[0], *controls] if other in evaluated]


def _last_rl(config: Config) -> str:
    evaluated = evaluated_as(config)
    return next((key for key in reversed(config.rl) if f"rl/{key}" in evaluated), "")


def _a(product: Product | None) -> str:
    return {"model": "a model", "problems": "a set of problems", "rollouts": "a set of rollouts", None: "nothing"}[
        product
    ]
