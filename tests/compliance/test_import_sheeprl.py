"""What the published code does with an option of its config, where that is not what the option's name suggests.

A probe's first observed state is compared with the published formula, written out here; opening then compares the probe
with the C.
"""

import numpy as np
import pytest
from test_golden_rssm import load
from test_import_options import expect_open, expect_refusal, run, sheeprl_config, sheeprl_groups, write_torch

ACTIVATIONS = {"SiLU": lambda x: x / (1 + np.exp(-x)), "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))}
NORM = "sheeprl.models.models.LayerNorm"


def normed(tensors, name, x, eps):
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + eps) * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def first_deter(tensors, dense, eps):
    """h after one step from the learned start, without an action: RecurrentModel's activation is always SiLU."""
    w = {name.removeprefix("rssm."): value.astype(np.float64) for name, value in tensors.items()}
    h = np.tanh(w["initial_recurrent_state"])
    prior = "transition_model._model"
    x = ACTIVATIONS[dense](normed(w, f"{prior}.1", w[f"{prior}.0.weight"] @ h, eps))
    logits = (w[f"{prior}.3.weight"] @ x + w[f"{prior}.3.bias"]).reshape(3, 4)
    stoch = np.eye(4)[logits.argmax(-1)].reshape(-1)
    cell = "recurrent_model.mlp._model"
    x = ACTIVATIONS["SiLU"](normed(w, f"{cell}.1", w[f"{cell}.0.weight"] @ np.concatenate([stoch, [0, 0]]), eps))
    cell = "recurrent_model.rnn"
    gates = normed(w, f"{cell}.layer_norm", w[f"{cell}.linear.weight"] @ np.concatenate([h, x]), eps)
    reset, candidate, update = np.split(gates, 3)
    update = 1 / (1 + np.exp(1 - update))
    return update * np.tanh(candidate / (1 + np.exp(-reset))) + (1 - update) * h


@pytest.mark.parametrize("options, dense, eps", [
    ({}, "SiLU", 1e-3),
    ({"algo__dense_act": "torch.nn.ELU"}, "ELU", 1e-3),
    ({"algo__mlp_layer_norm": {"cls": NORM, "kw": {"eps": 0.1}}}, "SiLU", 0.1),
    ({"algo__mlp_layer_norm": {"cls": NORM, "kw": {}}}, "SiLU", 1e-5),  # PyTorch's own
])
def test_the_recurrent_model_is_as_published(tmp_path, options, dense, eps):
    groups = sheeprl_groups(images=False)
    write_torch(tmp_path / "file", groups)
    expect_open(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(False, **options)))
    probe, _ = load(tmp_path / "out/probe.safetensors")
    wanted = first_deter(groups["world_model"], dense, eps)
    assert np.abs(probe["observe.out.state.deter"][0] - wanted).max() < 1e-6


@pytest.mark.parametrize("path", ["algo__decoupled_rssm", "algo__world_model__decoupled_rssm"])
def test_a_decoupled_rssm_is_told_in_either_place(tmp_path, path):
    write_torch(tmp_path / "file", sheeprl_groups(decoupled=True))
    assert expect_open(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(**{path: True})))["config"]["decoupled"]


def test_the_actor_has_the_unimix_of_all(tmp_path):
    write_torch(tmp_path / "file", sheeprl_groups(discrete=True))
    options = {"algo__unimix": 0.05, "algo__actor__unimix": 0.05}
    manifest = expect_open(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(**options)))
    assert manifest["config"]["actor"]["unimix"] == manifest["config"]["unimix"] == 0.05
    options["algo__actor__unimix"] = 0.02
    result = run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(**options), out="other")
    (tmp_path / "out").rename(tmp_path / "before")
    expect_refusal(tmp_path, result, "algo.actor.unimix is 0.02", "0.05")
