"""What tensors cannot tell of observations and actions, and a config may add under `spaces`."""

import pytest

from test_import_options import (DEPTH, SIDE, UNITS, Drawn, expect_open, expect_refusal, jax_config, jax_params, run, sheeprl_config,
                                 sheeprl_groups, write_jax, write_torch)

# ---- sheeprl-dreamerv3: images of several keys are one picture with all their channels ----

PAIR = {"algo__cnn_keys__encoder": ["rgb", "depth"], "algo__cnn_keys__decoder": ["rgb", "depth"]}


def sheeprl_pictures(channels):
    groups, drawn = sheeprl_groups(), Drawn(11)
    drawn.add("encoder.cnn_encoder.model.0._model.0.weight", DEPTH, channels, 4, 4)
    drawn.add("observation_model.cnn_decoder.model.2._model.3.weight", DEPTH, channels, 4, 4)
    drawn.add("observation_model.cnn_decoder.model.2._model.3.bias", channels)
    groups["world_model"] |= drawn
    return groups


def sheeprl(folder, channels, **options):
    write_torch(folder / "file", sheeprl_pictures(channels))
    return run(folder, "sheeprl-dreamerv3", sheeprl_config(**PAIR | options))


def pictures(rgb, depth, **more):
    return {"rgb": [rgb, SIDE, SIDE], "depth": [depth, SIDE, SIDE]} | more


@pytest.mark.parametrize("channels, options, found", [
    (4, {"spaces": pictures(3, 1, velocity=[3], angle=[1])}, (3, 1)),
    (4, {"spaces": pictures(3, 1, velocity=[3], angle=[], reward=[])}, (3, 1)),  # what no encoder reads is passed over
    (4, {"spaces": pictures(1, 3, velocity=[3], angle=[1]), "env__grayscale": False}, (1, 3)),
    (6, {"env__grayscale": False}, (3, 3)),
    (2, {"env__grayscale": True, "env__frame_stack": -1}, (1, 1)),
    (8, {"env__grayscale": True, "env__frame_stack": 4}, (4, 4)),
])
def test_sheeprls_channels_are_split_as_told(tmp_path, channels, options, found):
    manifest = expect_open(tmp_path, sheeprl(tmp_path, channels, **options))
    spaces = manifest["observation_space"]["spaces"]
    assert [spaces[key]["shape"] for key in ("rgb", "depth")] == [[n, SIDE, SIDE] for n in found]
    assert list(spaces) == ["rgb", "depth", "velocity", "angle"]
    assert spaces["angle"]["shape"] == options.get("spaces", {}).get("angle", [1])


@pytest.mark.parametrize("channels, options, words", [
    (4, {}, ["cnn_keys.encoder", "'spaces'", "4 channels"]),
    (6, {}, ["cnn_keys.encoder", "'spaces'", "6 channels"]),  # alike perhaps, but nobody says so
    (4, {"env__grayscale": False}, ["cnn_keys.encoder", "'spaces'", "4 channels"]),
    (6, {"env__grayscale": True}, ["cnn_keys.encoder", "'spaces'", "6 channels"]),
    (6, {"env__grayscale": "no"}, ["env.grayscale is 'no'"]),
    (6, {"env__grayscale": True, "env__frame_stack": "3"}, ["env.frame_stack is '3'"]),
    (4, {"spaces": pictures(2, 1, velocity=[3], angle=[1])}, ["spaces", "4 channels"]),
    (4, {"spaces": {"rgb": [SIDE, SIDE, 3], "depth": [SIDE, SIDE, 1], "velocity": [3], "angle": [1]}}, ["spaces", "[channels, 16, 16]"]),
    (4, {"spaces": {"rgb": [4, SIDE, SIDE], "velocity": [3], "angle": [1]}}, ["spaces", "depth"]),
    (4, {"spaces": pictures(3, 1, velocity=[3])}, ["spaces", "angle"]),
    (4, {"spaces": pictures(3, 1, velocity=[2], angle=[2])}, ["spaces", "velocity"]),
    (4, {"spaces": [3, 1]}, ["spaces is"]),
])
def test_sheeprls_channels_are_not_guessed(tmp_path, channels, options, words):
    expect_refusal(tmp_path, sheeprl(tmp_path, channels, **options), *words)


@pytest.mark.parametrize("channels, grayscale", [(1, False), (4, False), (3, True)])
def test_spaces_tell_a_single_images_channels_too(tmp_path, channels, grayscale):
    """env.grayscale does not matter then, as with several images."""
    options = {"algo__cnn_keys__encoder": ["rgb"], "algo__cnn_keys__decoder": ["rgb"], "env__grayscale": grayscale}
    told = {"rgb": [channels, SIDE, SIDE], "velocity": [3], "angle": [1]}
    manifest = expect_open(tmp_path, sheeprl(tmp_path, channels, spaces=told, **options))
    assert manifest["observation_space"]["spaces"]["rgb"]["shape"] == told["rgb"]


def test_a_single_image_that_no_space_tells_agrees_with_the_options(tmp_path):
    options = {"algo__cnn_keys__encoder": ["rgb"], "algo__cnn_keys__decoder": ["rgb"]}
    expect_refusal(tmp_path, sheeprl(tmp_path, 1, env__grayscale=False, **options), "env.grayscale is False", "the tensors say True")
    expect_refusal(tmp_path, sheeprl(tmp_path, 3, env__grayscale=True, **options), "env.grayscale is True", "the tensors say False")
    expect_refusal(tmp_path, sheeprl(tmp_path, 3, spaces={"rgb": [1, SIDE, SIDE], "velocity": [3], "angle": [1]}, **options),
                   "spaces", "3 channels")
    expect_open(tmp_path, sheeprl(tmp_path, 4, env__grayscale=True, env__frame_stack=4, **options))


def test_sheeprls_vectors_that_are_not_decoded(tmp_path):
    """Two of them: no tensor tells their widths."""
    groups, drawn = sheeprl_groups(), Drawn(12)
    drawn.add("encoder.mlp_encoder.model._model.0.weight", UNITS, 4 + 2 + 5)
    groups["world_model"] |= drawn
    write_torch(tmp_path / "file", groups)
    keys = {"algo__mlp_keys__encoder": ["velocity", "wind", "angle", "rays"]}
    expect_refusal(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(**keys)), "mlp_keys.encoder", "'spaces'", "wind")
    spaces = {"rays": [5], "wind": [2], "angle": [1], "velocity": [3], "rgb": [3, SIDE, SIDE]}
    manifest = expect_open(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(**keys, spaces=spaces)))
    assert {key: space["shape"] for key, space in manifest["observation_space"]["spaces"].items()} == spaces
    assert list(manifest["observation_space"]["spaces"]) == ["rgb", "velocity", "wind", "angle", "rays"]
    assert manifest["config"]["decoder"]["keys"] == ["rgb", "velocity", "angle"]


# ---- dreamerv3-jax: the action, under its key of the policy's head ----

SEEN = {"state": [3], "image": [12, 12, 3]}


@pytest.mark.parametrize("discrete, said, found", [
    (False, [2], {"shape": [2]}), (False, [2, 1], {"shape": [2, 1]}), (False, {"shape": [1, 1, 2]}, {"shape": [1, 1, 2]}),
    (True, {"classes": 2}, {"n": 2}), (True, {"shape": [], "classes": 2}, {"n": 2}),
])
def test_an_action_of_the_jax_code_is_as_told(tmp_path, discrete, said, found):
    write_jax(tmp_path, jax_params(discrete=discrete))
    manifest = expect_open(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(spaces=SEEN | {"action": said})))
    assert found.items() <= manifest["action_space"].items()
    assert list(manifest["observation_space"]["spaces"]) == list(SEEN)


@pytest.mark.parametrize("discrete, said, words", [
    (True, {"shape": [2], "classes": 1}, ["action", "[2]", "a choice to be one"]),  # as wide as one choice of two
    (True, {"classes": 3}, ["action", "3 classes", "one of 2"]),
    (True, [2], ["action", "[2]", "one of 2"]),
    (False, {"classes": 2}, ["action", "2 classes", "[2]"]),
    (False, [3], ["action", "[3]", "[2]"]),
    (False, [1, 1, 1, 1, 2], ["action", "at most 4 dimensions"]),
])
def test_an_action_of_the_jax_code_that_the_tensors_deny(tmp_path, discrete, said, words):
    write_jax(tmp_path, jax_params(discrete=discrete))
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(spaces=SEEN | {"action": said})), *words)
