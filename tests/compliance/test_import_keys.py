"""Observations that no manifest may have: refused at import, when nothing is written yet."""

import pytest

from test_import_options import (UNITS, Drawn, expect_refusal, jax_config, jax_params, run, sheeprl_config, sheeprl_groups, write_jax,
                                 write_torch)


@pytest.mark.parametrize("key", ["arm.left", "", "é" * 32, "a\nb\ud800"])
def test_a_key_that_no_manifest_may_have(tmp_path, key):
    config = sheeprl_config(algo__mlp_keys={"encoder": ["velocity", key], "decoder": ["velocity", key]})
    write_torch(tmp_path / "file", sheeprl_groups())
    expect_refusal(tmp_path, run(tmp_path, "sheeprl-dreamerv3", config), "observation", "1 to 63 bytes without a dot")


def test_a_key_of_the_jax_code_with_a_dot(tmp_path):
    params = {name.replace("vec/state/", "vec/robot.state/"): value for name, value in jax_params().items()}
    write_jax(tmp_path, params)
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config()), "'robot.state'", "1 to 63 bytes without a dot")


@pytest.mark.parametrize("shape", [[1, 1, 1, 3], [1, 1, 1, 1, 3]])
def test_a_vector_of_more_dimensions_than_are_served(tmp_path, shape):
    write_jax(tmp_path, jax_params(images=False))
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(spaces={"state": shape})), "state", "2 dimensions")


def test_more_observations_than_a_manifest_may_have(tmp_path):
    groups, drawn, keys = sheeprl_groups(images=False), Drawn(13), [f"k{i}" for i in range(65)]
    drawn.add("encoder.mlp_encoder.model._model.0.weight", UNITS, len(keys))
    for i in range(len(keys)):
        drawn.linear(f"observation_model.mlp_decoder.heads.{i}", 1, UNITS)
    groups["world_model"] |= drawn
    write_torch(tmp_path / "file", groups)
    config = sheeprl_config(False, algo__mlp_keys={"encoder": keys, "decoder": keys})
    expect_refusal(tmp_path, run(tmp_path, "sheeprl-dreamerv3", config), "65 observations", "at most 64")
