import hashlib

from reforge.records import Prompt
from reforge.rollouts.sampler import rollout_seed


def test_seeds_differ_by_step_problem_index_and_turn_and_fit_the_cpu_generator() -> None:
    seeds = {
        rollout_seed(f"{run}/{step}", Prompt(problem, (1,), index, turn))
        for run in (0, 1)
        for step in range(5)
        for problem in ("a", "b")
        for index in range(50)
        for turn in range(3)
    }
    assert len(seeds) == 2 * 5 * 2 * 50 * 3
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_seed_is_a_function_of_its_names_alone() -> None:
    one, other = Prompt("generated/list.sort", (1,), 2), Prompt("generated/list.sort", (4, 5), 2)
    assert rollout_seed("7/3", one) == rollout_seed("7/3", other)


def test_first_turns_have_the_seeds_that_they_have_always_had() -> None:
    digest = hashlib.sha256(b"7/3/generated/list.sort/2").digest()
    assert rollout_seed("7/3", Prompt("generated/list.sort", (1,), 2)) == int.from_bytes(digest[:4]) >> 1
