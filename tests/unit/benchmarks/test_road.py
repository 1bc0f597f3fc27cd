import json

import pytest

from benchmarks import record
from benchmarks.road import claims as road_claims
from benchmarks.road import run as road
from reforge.config.compose import compose


def run(variant, seed, tokens=(1000.0, 3000.0), **solved):
    """`solved` of 10 problems with 4 rollouts each are always solved, by model name; at the longest limit one more."""

    def at(count):
        per_problem = {f"p{i}": [4 * (i < count), 4] for i in range(10)}
        return {"per_problem": per_problem, "pass@1": {"value": count / 10}}

    scores = {name.replace("_", "-"): {"limits": {"long": at(n), "longest": at(n + 1)}} for name, n in solved.items()}
    rungs = {"short": {"steps": 10, "tokens": tokens[0]}, "long": {"steps": 15, "tokens": tokens[1]}}
    weights = {"base/policy/model": "b"} | {name: f"{seed}/{n}" for name, n in solved.items()}
    return {"variant": variant, "seed": seed, "commit": "c" * 40, "rungs": rungs, "scores": scores, "weights": weights}


def claim_of(claims, *words):
    return next(claim for claim in claims if all(word in claim["claim"] for word in words))


def test_one_rung_alone_gets_the_steps_that_spend_the_same_tokens():
    runs = [run("rungs", 1)]
    # rung 1 sampled 100 tokens a step and rung 2 200: 4000 in all are 40 steps of the one, 20 of the other
    assert "rl.short.steps=40" in road.overrides("rung1", 1, runs)
    assert "rl.long.steps=20" in road.overrides("rung2", 1, runs)
    with pytest.raises(SystemExit, match="Run that first"):
        road.overrides("rung1", 2, runs)


@pytest.mark.parametrize("variant", list(road_claims.VARIANTS))
def test_overrides_of_every_variant_compose(variant):
    values = compose(["experiment=tiny", "seed=1", *road.overrides(variant, 1, [run("rungs", 1)])])
    assert set(road_claims.VARIANTS[variant].evaluated) <= set(values["evaluate"])
    assert list(values["rl"]) == {"rung1": ["short"], "rung2": ["long"]}.get(variant, ["short", "long"])
    assert values["rl"]["long" if variant == "rung2" else "short"]["init"] == "sft/cold"


def test_claims_by_hand():
    claims = road_claims.claims([run("rungs", 0, sft=3, rl_long=6), run("rungs", 1, sft=4, rl_long=5)])
    pooled = claim_of(claims, "minus sft", "pooled")
    assert (pooled["value"], pooled["met"]) == (20.0, True)  # 4 of 20 problems
    # 16 differences of 0, 4 of 1: s = 0.4104, t(0.975, 19) = 2.093, 0.2 − 2.093 · 0.4104 / √20 = 0.0079
    low = claim_of(claims, "low end", "pooled")
    assert (low["value"], low["met"]) == (pytest.approx(0.79, abs=0.01), True)
    assert (claim_of(claims, "minus sft", "seed 0")["value"], claim_of(claims, "minus sft", "seed 1")["met"]) == (
        30,
        False,
    )
    assert claim_of(claims, "longest", "seed 1")["value"] == 10.0


def test_the_synchronous_schedule_is_compared_by_hand():
    ahead = [run("rungs", seed, sft=1, rl_long=solved) for seed, solved in enumerate((6, 5, 7))]
    synchronous = [run("synchronous", seed, sft=1, rl_long=solved) for seed, solved in enumerate((7, 5, 5))]
    claims = road_claims.claims([*ahead, *synchronous])
    assert [claim_of(claims, "as it is", f"seed {seed}")["value"] for seed in range(3)] == [10.0, 0.0, -20.0]
    # over seeds: mean −1/30, s = 0.15275, t(0.975, 2) = 4.3027: ± 0.3795
    seeds = claim_of(claims, "as it is", "over seeds -41.28 to 34.61")
    assert (seeds["value"], seeds["goal"], seeds["met"]) == (-3.333, "", None)
    # over 30 problems: one +1, two −1: s = 0.3198, t(0.975, 29) = 2.0452: ± 0.1194
    assert claim_of(claims, "as it is", "over problems -15.28 to 8.61")["value"] == -3.333


def test_other_threads_are_within_the_tolerance_or_not(monkeypatch):
    monkeypatch.setattr(road_claims, "TOLERANCE", 12.0)
    one = [run("rungs", seed, sft=1, rl_long=6) for seed in range(3)]
    # of 30 problems one differs: 3.33 points, s = 0.1826, t(0.975, 29) = 2.0452: ± 6.82; two: 6.67, s = 0.2537: ± 9.47
    for solved, far, met in (((6, 7, 6), 10.15, True), ((6, 5, 6), 10.15, True), ((7, 7, 6), 16.14, False)):
        two = [run("threads", seed, sft=1, rl_long=each) for seed, each in enumerate(solved)]
        claims = road_claims.claims([*one, *two])
        found = claim_of(claims, "threads", "3 seeds: farthest end")
        assert (found["value"], found["goal"], found["met"]) == (pytest.approx(far, abs=0.01), "≤ 12", met)
        same = 3 + solved.count(6)  # each seed's sft, and its last model where as many problems were solved
        assert claim_of(claims, "threads", "bit by bit")["value"] == pytest.approx(100 * same / 6, abs=0.1)


def test_a_goal_that_is_missed_says_so():
    claims = road_claims.claims([run("rungs", 0, sft=6, rl_long=6)])
    assert [claim["met"] for claim in claims if claim["goal"]] == [False] * 4


def test_the_last_run_of_a_seed_counts_and_variants_have_no_goal():
    runs = [run("rungs", 0, sft=3, rl_long=3), run("rungs", 0, sft=3, rl_long=8)]
    runs.append(run("rung1", 0, tokens=(4400.0, 0.0), sft=3, rl_short=5))
    claims = road_claims.claims(runs)
    assert claim_of(claims, "minus sft", "pooled")["value"] == 50.0
    alone = claim_of(claims, "rung 1 alone", "minus sft")
    assert (alone["value"], alone["goal"], alone["met"]) == (20.0, "", None)
    assert claim_of(claims, "rung 1 alone", ": tokens sampled")["value"] == 1.1


def test_results_are_written_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert road.read_runs() == []
    runs = [run("rungs", 0, sft=3, rl_long=6), run("rungs", 1, sft=3, rl_long=6)]
    road.write_results(runs)
    assert road.read_runs() == runs
    text = (tmp_path / "road.json").read_text()
    written = json.loads(text)
    assert set(written) == {"name", "command", "commit", "hardware", "runs", "claims"}
    assert sum(line.startswith('{"variant"') for line in text.splitlines()) == 2


@pytest.mark.parametrize(("solved", "said"), [(6, True), (3, False)])
def test_r4_is_said_when_all_seeds_stayed_within_the_tolerance(solved, said, monkeypatch):
    monkeypatch.setattr(road_claims, "TOLERANCE", 15.0)  # ten problems for each seed leave the interval wide
    runs = [run("rungs", seed, sft=1, rl_long=6) for seed in road_claims.SEEDS]
    runs += [run("threads", seed, sft=1, rl_long=solved) for seed in road_claims.SEEDS[:-1]]
    assert road_claims.repeated(runs) is None  # a seed is missing
    runs.append(run("threads", road_claims.SEEDS[-1], sft=1, rl_long=6))
    assert (road_claims.repeated(runs) is not None) is said
    assert said is ("bit by bit" in str(road_claims.repeated(runs)))


def test_r4_says_how_far_apart_where_weights_differ(monkeypatch):
    monkeypatch.setattr(road_claims, "TOLERANCE", 15.0)
    runs = [run("rungs", seed, sft=1, rl_long=6) for seed in road_claims.SEEDS]
    runs += [run("threads", seed, sft=1, rl_long=6 + (seed == 1)) for seed in road_claims.SEEDS]
    assert "ended at most 10.2 points from where they ended with one" in str(road_claims.repeated(runs))


def test_the_recorded_claims_are_those_of_the_recorded_runs():
    recorded = json.loads((record.RESULTS / "road.json").read_text())
    assert recorded["claims"] == road_claims.claims(recorded["runs"])


def test_models_that_were_not_trained_are_not_compared():
    one = run("rungs", 0, sft=1, rl_long=6) | {
        "weights": {"base/policy/model": "b", "sft/cold/model": "s", "rl/long/model": "l"}
    }
    two = {"base/policy/model": "other", "sft/cold/model": "s", "rl/long/model": "m"}
    latest = road_claims.latest([one, run("threads", 0, sft=1, rl_long=6) | {"weights": two}])
    assert road_claims._same([(latest["threads", 0], latest["rungs", 0])]) == 0.5
