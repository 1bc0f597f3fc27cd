from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.rollouts.server import _environment


def test_each_replica_gets_gpus_of_its_own() -> None:
    overrides = ["sampler.replicas=2", "sampler.tensor_parallel=2", "sampler.devices=[4, 5, 6, 7]"]
    config = build_config(compose(["experiment=smoke", *overrides]), "test").sampler
    assert [_environment(config, number)["CUDA_VISIBLE_DEVICES"] for number in (0, 1)] == ["4,5", "6,7"]
