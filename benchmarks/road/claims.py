"""Runs of the road → claims, and R4 in a sentence.

The goals were stated in commits before the runs that they are about. The setting was chosen on seed 0: its results are
shown, and the goals are judged on the other seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.record import claim
from reforge.evaluation.scores import problem_means
from reforge.evaluation.statistics import Estimate, mean_interval, paired_difference, rate_interval

EXPERIMENT, PILOT, SEEDS = "tiny", 0, (1, 2, 3, 4)
CONFIDENCE = 0.95
# points that the same seeds may differ by on a different number of threads (R4), stated before any such run
TOLERANCE, THREADED = 5.0, (1, 2, 3)
UNTRAINED, START, CONTROL = "base/", "sft/cold", "sft/more"
_FARTHEST = f"farthest end of the {CONFIDENCE:.0%} interval over problems"
RUNG1, RUNG2, TWICE = "short", "long", "longest"
EXPERTS = ("expert-1", "expert-2", "expert-3")

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """A way along the road, in words, with the models of it that are evaluated; the last one is its result."""

    words: str
    evaluated: tuple[str, ...] = ("sft", "rl-long")
    seeds: Sequence[int] = SEEDS

    @property
    def final(self) -> str:
        return self.evaluated[-1]


VARIANTS = {
    "rungs": Variant("both rungs", ("sft", "sft-more", "rl-short", "rl-long")),
    "cool": Variant("both rungs, scored at a temperature of 0.6", ("sft", "sft-more", "rl-long")),
    "expert": Variant("expert iteration, equal sampled tokens", ("sft", *EXPERTS)),
    "expert_equal": Variant("expert iteration, equal sampled and trained tokens", ("sft", *EXPERTS)),
    "rung1": Variant("rung 1 alone, equal sampled tokens", ("sft", "rl-short")),
    "rung2": Variant("rung 2 alone, equal sampled tokens"),
    "no_filter": Variant("both rungs without overlong filtering"),
    "symmetric": Variant("both rungs without clip-higher (0.2 on both sides)"),
    "synchronous": Variant("both rungs, no batch ahead"),
    "uncorrected": Variant("both rungs, one batch ahead without correction"),
    "stale": Variant("both rungs, four batches ahead"),
    "stale_uncorrected": Variant("both rungs, four batches ahead without correction"),
    "threads": Variant("both rungs, two threads each for learner and sampler", seeds=THREADED),
}
Model = tuple[str, str, str]  # variant, model, limit
MAIN: Model = ("rungs", "rl-long", RUNG2)


@dataclass(frozen=True)
class Comparison:
    """`one` minus `other`, on the held-out problems of some difficulties or on all. As a goal, decided on before the
    runs, it is to be at least `least` points, and the lower ends of its intervals, over problems and over seeds, above
    0."""

    words: str
    one: Model
    other: Model
    least: float = 0.0
    difficulties: Sequence[int] = ()


STARTED, MORE = ("rungs", "sft", RUNG2), ("rungs", "sft-more", RUNG2)
GOALS = [
    Comparison("both rungs minus more fine-tuning on the same solutions", MAIN, MORE, 15.0),
    Comparison("both rungs minus the cold start that its validation ended", MAIN, STARTED, 15.0),
    Comparison(
        "both rungs minus more fine-tuning, both scored at a temperature of 0.6",
        ("cool", "rl-long", RUNG2),
        ("cool", "sft-more", RUNG2),
        15.0,
    ),
    Comparison("both rungs minus expert iteration, equal sampled tokens", MAIN, ("expert", EXPERTS[-1], RUNG2)),
    # stated when two seeds of the one above were there, which trained on 2.5 times the tokens
    Comparison(
        "both rungs minus expert iteration, equal sampled and trained tokens",
        MAIN,
        ("expert_equal", EXPERTS[-1], RUNG2),
    ),
    Comparison("both rungs minus rung 1 alone, equal sampled tokens", MAIN, ("rung1", "rl-short", RUNG2)),
    Comparison("both rungs minus rung 2 alone, equal sampled tokens", MAIN, ("rung2", "rl-long", RUNG2)),
    Comparison("both rungs at the third limit, never trained, minus at the second", ("rungs", "rl-long", TWICE), MAIN),
    Comparison("both rungs minus both without overlong filtering", MAIN, ("no_filter", "rl-long", RUNG2)),
]
SHOWN = [
    Comparison("more fine-tuning minus the cold start", MORE, STARTED),
    Comparison("both rungs minus more fine-tuning where some solutions were shown", MAIN, MORE, 0.0, (3, 4, 5)),
    Comparison("both rungs minus more fine-tuning where no solution was shown", MAIN, MORE, 0.0, (6, 7)),
]


def claims(runs: Sequence[Run]) -> list[dict[str, Any]]:
    by_key = latest(runs)
    found = [item for goal in GOALS for item in _compared(goal, by_key, stated=True)]
    found += [item for shown in SHOWN for item in _compared(shown, by_key, stated=False)]
    for name, variant in VARIANTS.items():
        found += _shown(name, variant, by_key)
    return found + _repeats(by_key)


def _compared(pair: Comparison, by_key: Mapping[tuple[str, int], Run], stated: bool) -> list[dict[str, Any]]:
    known, of = _common(pair.one, pair.other, by_key), pair.difficulties
    sides = {seed: (_means(pair.one, seed, by_key, of), _means(pair.other, seed, by_key, of)) for seed in known}
    goal = f"{f'mean ≥ {pair.least:g}, ' if pair.least else ''}lower ends > 0" if stated else ""
    judged = {seed: side for seed, side in sides.items() if seed != PILOT}
    if judged:
        gain, low, ends = _difference(judged)
        # judged only when all seeds are there, so nobody can stop at a lucky moment
        met = gain >= pair.least and low > 0 if stated and set(judged) >= set(SEEDS) else None
        found = [claim(f"{pair.words}, pass@1, {_seeds([*judged])} ({ends})", gain, "points", goal, met)]
    else:
        found = [claim(f"{pair.words}: of {len(SEEDS)} seeds measured", 0, "seeds", goal)]
    for seed, side in sides.items() if stated else ():
        chosen = " (the setting was chosen on it)" if seed == PILOT else ""
        of_seed = 100 * paired_difference(*side, CONFIDENCE).value
        found.append(claim(f"{pair.words}, seed {seed}{chosen}", of_seed, "points"))
    return found


def _difference(sides: Mapping[int, tuple[dict[str, float], dict[str, float]]]) -> tuple[float, float, str]:
    """Return the mean difference of both sides in points, the lowest end of its intervals, over problems and over
    seeds, and these in words."""
    one, two = ({key: mean for side in sides.values() for key, mean in side[which].items()} for which in (0, 1))
    each = [paired_difference(*side, CONFIDENCE).value for side in sides.values()]
    intervals = {"problems": paired_difference(one, two, CONFIDENCE)}
    if len(set(each)) > 1:
        intervals["seeds"] = mean_interval(each, CONFIDENCE, bounds=(-1.0, 1.0))
    ends = [f"over {unit} {100 * found.low:.2f} to {100 * found.high:.2f}" for unit, found in intervals.items()]
    lowest = min(found.low for found in intervals.values())
    words = f"{CONFIDENCE:.0%} interval{'s' * (len(ends) > 1)} {', '.join(ends)}"
    return 100 * intervals["problems"].value, 100 * lowest, words


def _shown(name: str, variant: Variant, by_key: Mapping[tuple[str, int], Run]) -> list[dict[str, Any]]:
    """Return the variant's result, the tokens that it sampled against both rungs, and, where no goal has it, its
    difference from them."""
    found = []
    result: Model = (name, variant.final, RUNG2)
    seeds = [seed for seed in variant.seeds if (name, seed) in by_key]
    if seeds:
        scores = [_mean(result, seed, by_key).value for seed in seeds]
        found.append(claim(f"{variant.words}: pass@1, {_seeds(seeds)}", 100 * sum(scores) / len(scores), "%"))
    common = [seed for seed in seeds if ("rungs", seed) in by_key and name != "rungs"]
    for what in ("sampled", "trained") if common else ():
        spent = [_tokens(by_key[name, seed], what) / _tokens(by_key["rungs", seed], what) for seed in common]
        found.append(claim(f"{variant.words}: tokens {what}", sum(spent) / len(spent), "of those of both rungs"))
    if seeds and name == "rungs":
        runs = [by_key[name, seed] for seed in seeds]
        spent = [run["trained"][CONTROL] / _tokens(run, "trained") for run in runs]
        found.append(claim("more fine-tuning: tokens trained", sum(spent) / len(spent), "of those of both rungs"))
    if common and result not in [goal.other for goal in GOALS]:
        sides = {seed: (_means(result, seed, by_key), _means(MAIN, seed, by_key)) for seed in common}
        gap, _, ends = _difference(sides)
        found.append(claim(f"{variant.words}: minus both rungs, {_seeds(common)} ({ends})", gap, "points"))
    return found


def _common(one: Model, other: Model, by_key: Mapping[tuple[str, int], Run]) -> list[int]:
    return sorted(seed for name, seed in by_key if name == one[0] and (other[0], seed) in by_key)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _mean(model: Model, seed: int, by_key: Mapping[tuple[str, int], Run]) -> Estimate:
    return rate_interval(list(_means(model, seed, by_key).values()), CONFIDENCE)


def _means(
    model: Model, seed: int, by_key: Mapping[tuple[str, int], Run], difficulties: Sequence[int] = ()
) -> dict[str, float]:
    """Return the mean of each problem of these difficulties, or of all; the name of a generated problem has its
    operations, and its difficulty is how many they are. The few problems that seeds share are counted once for each."""
    variant, name, limit = model
    means = problem_means(by_key[variant, seed]["scores"][name]["limits"][limit]["per_problem"])
    asked = {key for key in means if not difficulties or key.count("+") + 1 in difficulties}
    return {f"{seed}/{key}": mean for key, mean in means.items() if key in asked}


def _tokens(run: Run, what: str) -> float:
    """Return the tokens sampled or trained since the cold start."""
    return float(sum(count for stage, count in run[what].items() if stage not in (START, CONTROL)))


def latest(runs: Sequence[Run]) -> dict[tuple[str, int], Run]:
    return {(run["variant"], run["seed"]): run for run in runs}


def require_one_setting(runs: Sequence[Run]) -> None:
    """Raise SystemExit unless the runs that count have one commit, and the seeds of a variant the same overrides, but
    for the steps that one rung alone gets."""
    counted = [*latest(runs).values()]
    for run in counted:
        same_variant = next(one for one in counted if one["variant"] == run["variant"])
        odd = [counted[0]] if run["commit"] != counted[0]["commit"] else []
        odd += [same_variant] if _changes(run) != _changes(same_variant) else []
        for other in odd:
            raise SystemExit(
                f"road: {run['variant']}, seed {run['seed']} and {other['variant']}, seed {other['seed']} were not run "
                "with one commit and setting, so they cannot be compared. Run the older one again, or move the runs of "
                "the older setting to benchmarks/results/archive/ and say why."
            )


def _changes(run: Run) -> list[str]:
    return [change for change in run["overrides"] if not re.match(r"seed=|rl\.\w+\.steps=", change)]


def _repeats(by_key: Mapping[tuple[str, int], Run]) -> list[dict[str, Any]]:
    if not _pairs(by_key):
        return []
    far, same, what = _apart(by_key), _same(by_key), VARIANTS["threads"].words
    return [
        claim(f"{what}: minus both rungs, {_FARTHEST}", far, "points", f"≤ {TOLERANCE:g}", far <= TOLERANCE),
        claim(f"{what}: trained models with the weights of both rungs, bit by bit", 100 * same, "%"),
    ]


def _pairs(by_key: Mapping[tuple[str, int], Run]) -> list[tuple[Run, Run]]:
    """Return the runs that R4 compares: each seed on two threads and on one; none where one is missing."""
    pairs = [(by_key.get(("threads", seed)), by_key.get(("rungs", seed))) for seed in THREADED]
    found = [(two, one) for two, one in pairs if two and one]
    return found if len(found) == len(THREADED) else []


def _apart(by_key: Mapping[tuple[str, int], Run]) -> float:
    """Return how many points the runs are apart, by the farthest end of the interval."""
    two, one = (
        {key: mean for seed in THREADED for key, mean in _means((name, *MAIN[1:]), seed, by_key).items()}
        for name in ("threads", "rungs")
    )
    apart = paired_difference(two, one, CONFIDENCE)
    return 100 * max(abs(apart.low), abs(apart.high))


def _same(by_key: Mapping[tuple[str, int], Run]) -> float:
    """Return the share of trained models that have the same weights in both."""
    same = [
        digest == one["weights"].get(model)
        for two, one in _pairs(by_key)
        for model, digest in two["weights"].items()
        if not model.startswith(UNTRAINED)
    ]
    return float(sum(same) / len(same))


def repeated(runs: Sequence[Run]) -> str | None:
    """Return R4 in a sentence for the report; None where seeds are missing or the tolerance was not kept."""
    by_key = latest(runs)
    pairs = _pairs(by_key)
    if not pairs or (far := _apart(by_key)) > TOLERANCE:
        return None
    commits = ", ".join(sorted({run["commit"][:10] for pair in pairs for run in pair}))
    seeds = f"{len(pairs)} seeds with two threads each for learner and sampler ended"
    if _same(by_key) == 1:
        return f"{seeds} with the same weights as with one, bit by bit ({commits})."
    return f"{seeds} at most {far:.1f} points from where they ended with one ({_FARTHEST}; {commits})."
