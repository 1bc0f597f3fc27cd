from reforge.rollouts.sampler import rollout_seed


def test_seeds_differ_by_step_problem_and_index_and_fit_the_cpu_generator() -> None:
    seeds = {
        rollout_seed(f"{run}/{step}", problem, index)
        for run in (0, 1)
        for step in range(5)
        for problem in ("a", "b")
        for index in range(50)
    }
    assert len(seeds) == 2 * 5 * 2 * 50
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_seed_is_a_function_of_its_names_alone() -> None:
    assert rollout_seed("7/3", "generated/list.sort", 2) == rollout_seed("7/3", "generated/list.sort", 2)
