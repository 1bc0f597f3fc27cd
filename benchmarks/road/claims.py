"""Runs of the road → claims, and R4 in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.record import claim
from reforge.evaluation.scores import problem_means
from reforge.evaluation.statistics import Estimate, mean_interval, paired_difference

EXPERIMENT, SEEDS = "tiny", (0, 1, 2)
GOAL, CONFIDENCE = 15.0, 0.95
# points that the same seeds may differ by on a different number of threads (R4), stated before any such run
TOLERANCE = 5.0
UNTRAINED = "base/"
_FARTHEST = f"farthest end of the {CONFIDENCE:.0%} interval over problems"
RUNG1, RUNG2, TWICE = "short", "long", "longest"

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """A way along the road, and the one `against` which its last model is compared, seed by seed."""

    words: str
    against: str = ""
    evaluated: tuple[str, ...] = ("sft", "rl-long")
    seeds: Sequence[int] = SEEDS

    @property
    def final(self) -> str:
        """Return the variant's last model by reinforcement learning."""
        return [model for model in self.evaluated if model.startswith("rl-")][-1]


VARIANTS = {
    "rungs": Variant("both rungs", seeds=(*SEEDS, 3)),
    "rung1": Variant("rung 1 alone, equal sampled tokens", evaluated=("sft", "rl-short")),
    "rung2": Variant("rung 2 alone, equal sampled tokens"),
    "no_filter": Variant("both rungs without overlong filtering"),
    "synchronous": Variant("both rungs, no batch ahead (rl.*.staleness=0)", "rungs"),
    "stale": Variant("both rungs, four batches ahead without correction", "rungs", seeds=(0,)),
    "threads": Variant("both rungs, two threads each for learner and sampler", "rungs"),
    "annealed": Variant("both rungs, learning rate of fine-tuning falling to 0 (cosine)", "rungs", seeds=(0,)),
    "steep_synchronous": Variant("both rungs, no batch ahead, learning rate 3e-4"),
    "steep": Variant("both rungs, one batch ahead, learning rate 3e-4", "steep_synchronous"),
}


def claims(runs: Sequence[Run]) -> list[dict[str, Any]]:
    by_key = latest(runs)
    found = []
    for name, variant in VARIANTS.items():
        of_variant = {seed: run for (of, seed), run in sorted(by_key.items()) if of == name}
        if of_variant:
            found += _goals(of_variant) if name == "rungs" else _shown(variant, of_variant, by_key)
        if variant.against:
            found += _against(name, variant.against, of_variant, by_key)
    return found


def _goals(runs: Mapping[int, Run]) -> list[dict[str, Any]]:
    found = []
    groups = {f"{len(runs)} seeds pooled": list(runs.values()), **{f"seed {seed}": [run] for seed, run in runs.items()}}
    for name, group in groups.items():
        gain, longer = _gain(group), _longer(group)
        what = f"rl-long minus sft, pass@1 at {RUNG2}, {name}"
        found += [
            claim(what, 100 * gain.value, "points", f"≥ {GOAL:g}", 100 * gain.value >= GOAL),
            claim(
                f"{what}: low end of the paired {CONFIDENCE:.0%} interval",
                100 * gain.low,
                "points",
                "> 0",
                gain.low > 0,
            ),
            claim(f"rl-long at {TWICE} minus at {RUNG2}, {name}", 100 * longer, "points"),  # few are truncated there
        ]
    return found


def _shown(variant: Variant, runs: Mapping[int, Run], by_key: Mapping[tuple[str, int], Run]) -> list[dict[str, Any]]:
    gain = _gain(list(runs.values()))
    tokens = [_tokens(run) / _tokens(by_key["rungs", seed]) for seed, run in runs.items() if ("rungs", seed) in by_key]
    what = f"{variant.words}: {variant.final} minus sft, pass@1 at {RUNG2}, seed {', '.join(map(str, runs))}"
    found = [claim(what, 100 * gain.value, "points")]
    if tokens:
        found.append(claim(f"{variant.words}: tokens sampled", sum(tokens) / len(tokens), "of those of both rungs"))
    return found


def _against(
    variant: str, other: str, runs: Mapping[int, Run], by_key: Mapping[tuple[str, int], Run]
) -> list[dict[str, Any]]:
    """Compare with `other` on the same seeds, problems and updates. The interval over problems says how sure the scores
    are; that over seeds also what chance does to a training."""
    pairs = {seed: (run, by_key[other, seed]) for seed, run in runs.items() if (other, seed) in by_key}
    if not pairs:
        return []
    each = [paired_difference(_means([one]), _means([two]), CONFIDENCE).value for one, two in pairs.values()]
    by_problem = paired_difference(
        _means([one for one, _ in pairs.values()]), _means([two for _, two in pairs.values()]), CONFIDENCE
    )
    than = "tiny as it is" if other == "rungs" else VARIANTS[other].words
    what = f"{VARIANTS[variant].words}: rl-long minus that of {than}, pass@1 at {RUNG2}"
    found = [claim(f"{what}, seed {seed}", 100 * value, "points") for seed, value in zip(pairs, each, strict=True)]
    intervals = {"problems": by_problem}
    if len(each) > 1:
        intervals["seeds"] = mean_interval(each, CONFIDENCE, bounds=(-1.0, 1.0))
    for unit, interval in intervals.items():
        ends = f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"
        found.append(
            claim(f"{what}, mean ({CONFIDENCE:.0%} interval over {unit} {ends})", 100 * interval.value, "points")
        )
    return found + (_repeats(what, by_key) if variant == "threads" else [])


def _repeats(what: str, by_key: Mapping[tuple[str, int], Run]) -> list[dict[str, Any]]:
    pairs = _pairs(by_key)
    if not pairs:
        return []
    far, same = _apart(pairs), _same(pairs)
    return [
        claim(f"{what}, {len(pairs)} seeds: {_FARTHEST}", far, "points", f"≤ {TOLERANCE:g}", far <= TOLERANCE),
        claim(
            f"{VARIANTS['threads'].words}: trained models with the weights of tiny as it is, bit by bit",
            100 * same,
            "%",
        ),
    ]


def _pairs(by_key: Mapping[tuple[str, int], Run]) -> list[tuple[Run, Run]]:
    """Return the runs that R4 compares: each seed on two threads and on one; none where one is missing."""
    pairs = [(by_key.get(("threads", seed)), by_key.get(("rungs", seed))) for seed in SEEDS]
    found = [(two, one) for two, one in pairs if two and one]
    return found if len(found) == len(SEEDS) else []


def _apart(pairs: Sequence[tuple[Run, Run]]) -> float:
    """Return how many points the runs are apart, by the farthest end of the interval."""
    two, one = zip(*pairs, strict=True)
    apart = paired_difference(_means(two), _means(one), CONFIDENCE)
    return 100 * max(abs(apart.low), abs(apart.high))


def _same(pairs: Sequence[tuple[Run, Run]]) -> float:
    """Return the share of trained models that have the same weights in both."""
    same = [
        digest == one["weights"].get(model)
        for two, one in pairs
        for model, digest in two["weights"].items()
        if not model.startswith(UNTRAINED)
    ]
    return float(sum(same) / len(same))


def _gain(runs: Sequence[Run]) -> Estimate:
    """Return the gain of the last model over sft at rung 2."""
    return paired_difference(_means(runs), _means(runs, "sft"), CONFIDENCE)


def _means(runs: Sequence[Run], model: str = "") -> dict[str, float]:
    """Return each problem's mean for the last model, or `model`, at rung 2. Problems of different seeds are different
    problems."""
    means: dict[str, float] = {}
    for run in runs:
        per_problem = run["scores"][model or VARIANTS[run["variant"]].final]["limits"][RUNG2]["per_problem"]
        means.update({f"{run['seed']}/{key}": mean for key, mean in problem_means(per_problem).items()})
    return means


def _longer(runs: Sequence[Run]) -> float:
    at = [run["scores"][VARIANTS[run["variant"]].final]["limits"] for run in runs]
    return float(sum(length[TWICE]["pass@1"]["value"] - length[RUNG2]["pass@1"]["value"] for length in at) / len(at))


def _tokens(run: Run) -> float:
    return float(sum(rung["tokens"] for rung in run["rungs"].values()))


def latest(runs: Sequence[Run]) -> dict[tuple[str, int], Run]:
    return {(run["variant"], run["seed"]): run for run in runs}


def repeated(runs: Sequence[Run]) -> str | None:
    """Return R4 in a sentence for the report; None where seeds are missing or the tolerance was not kept."""
    pairs = _pairs(latest(runs))
    if not pairs or (far := _apart(pairs)) > TOLERANCE:
        return None
    commits = ", ".join(sorted({run["commit"][:10] for pair in pairs for run in pair}))
    seeds = f"{len(pairs)} seeds with two threads each for learner and sampler ended"
    if _same(pairs) == 1:
        return f"{seeds} with the same weights as with one, bit by bit ({commits})."
    return f"{seeds} at most {far:.1f} points from where they ended with one ({_FARTHEST}; {commits})."
