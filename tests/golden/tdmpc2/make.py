"""Makes the checkpoints of this folder: small TD-MPC2 models with random weights, under the published names.

Their golden tensors are their probes, computed in numpy from the published equations
(client/python/src/dreamd/importers/tdmpc2_numpy.py), which know nothing of dreamd's graphs. Written with
numpy 2.4; run from the root of the tree: python3 tests/golden/tdmpc2/make.py
"""

import json
import pathlib
import shutil
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "client/python/src"))

from dreamd.importers import checkpoint, config_file, tdmpc2  # noqa: E402

SMALL = {"mlp_dim": 12, "latent_dim": 8, "simnorm_dim": 4, "num_bins": 11, "vmin": -3, "vmax": 4, "num_q": 2,
         "log_std_min": -5, "log_std_max": 1, "episode_length": 100}
CONFIGS = {
    "state": SMALL | {"obs_shape": {"state": [5]}, "action_dim": 2, "enc_dim": 10, "num_enc_layers": 2, "episodic": True},
    "tasks": SMALL | {"obs_shape": {"state": [5]}, "action_dim": 3, "enc_dim": 10, "num_enc_layers": 3, "num_q": 3,
                      "multitask": True, "task_dim": 6, "tasks": ["reach", "hold", "push"], "action_dims": [3, 1, 2],
                      "episode_lengths": [100, 500, 1000], "episodic": True, "num_bins": 1},
    "pictures": SMALL | {"obs": "rgb", "obs_shape": {"rgb": [3, 39, 41]}, "action_dim": 2, "num_channels": 8, "num_bins": 0},
}


def published(config, seed=0):
    """Random tensors under the newer layout's names; norms and biases are perturbed too."""
    random = np.random.default_rng(seed)
    tensors = {"log_std_min": np.array(config["log_std_min"]),
               "log_std_dif": np.array(config["log_std_max"] - config["log_std_min"])}

    def add(name, *shape):
        scale = 1.5 / np.sqrt(shape[-1]) if len(shape) > 1 and name.endswith("weight") and "ln." not in name else 0.3
        tensors[name] = (random.normal(size=shape) * scale + name.endswith("ln.weight")).astype("<f4")

    def layer(name, out, width, normed=True, lead=()):
        add(f"{name}.weight", *lead, out, width)
        add(f"{name}.bias", *lead, out)
        if normed:
            add(f"{name}.ln.weight", *lead, out)
            add(f"{name}.ln.bias", *lead, out)

    def network(name, width, out, lead=()):
        layer(f"{name}.0", units, width, lead=lead)
        layer(f"{name}.1", units, units, lead=lead)
        layer(f"{name}.2", out, units, normed=False, lead=lead)

    units, latent, action = config["mlp_dim"], config["latent_dim"], config["action_dim"]
    task, bins = config.get("task_dim", 0), max(config["num_bins"], 1)
    if task:
        add("_task_emb.weight", len(config["tasks"]), task)
        tensors["_task_emb.weight"][1] *= 5  # longer than 1: shortened at look-up
        tensors["_action_masks"] = (np.arange(action) < np.array(config["action_dims"])[:, None]).astype("<f4")
    if "rgb" in config["obs_shape"]:
        channels, width = config["num_channels"], config["obs_shape"]["rgb"][0]
        for place, kernel in tdmpc2.KERNELS.items():
            tensors[f"_encoder.rgb.{place}.weight"] = (random.normal(size=(channels, width, kernel, kernel))
                                                       * 1.5 / kernel / np.sqrt(width)).astype("<f4")
            add(f"_encoder.rgb.{place}.bias", channels)
            width = channels
    else:
        width, layers = config["obs_shape"]["state"][0] + task, max(config["num_enc_layers"] - 1, 1) + 1
        for i in range(layers):
            layer(f"_encoder.state.{i}", config["enc_dim"] if i < layers - 1 else latent, width)
            width = config["enc_dim"]
    layer("_dynamics.0", units, latent + task + action)
    layer("_dynamics.1", units, units)
    layer("_dynamics.2", latent, units)
    network("_reward", latent + task + action, bins)
    if config.get("episodic"):
        network("_termination", latent + task, 1)
    network("_pi", latent + task, 2 * action)
    network("_Qs.params", latent + task + action, bins, (config["num_q"],))
    network("_target_Qs_params", latent + task + action, bins, (config["num_q"],))
    return tensors


def older(tensors):
    """The same under the older layout's names."""
    rest = {name: value for name, value in tensors.items()
            if "Qs" not in name and name not in ("log_std_min", "log_std_dif", "_action_masks")}
    for kind, prefix in (("_Qs", "_Qs.params"), ("_target_Qs", "_target_Qs_params")):
        names = [f"{prefix}.{layer}.{part}" for layer in range(3) for part in tdmpc2.PARTS]
        names = [name for name in names if name in tensors]
        rest |= {f"{kind}.params.{i}": tensors[name] for i, name in enumerate(names)}
    return rest


def main():
    for name, content in CONFIGS.items():
        config = config_file.Config(content, name)
        weights, sizes, shape, action, gammas, model = tdmpc2.place(published(content), config, "_Qs", {})
        out = HERE / name
        shutil.rmtree(out, ignore_errors=True)
        manifest = {"format": 1, "family": "tdmpc2", "name": name, "config": sizes,
                    "observation_space": tdmpc2.observation_space(sizes, shape),
                    "action_space": {"type": "Box", "shape": [action], "dtype": "float32", "low": -1, "high": 1},
                    "planning": {"method": "cem", "horizon": 3, "candidates": 32, "iterations": 2, "elites": 4,
                                 "terminal_value": True, "discount": gammas[0]}}
        text = f"# {name}\n\nRandom weights, for tests; made by ../make.py.\n"
        checkpoint.write(out, manifest, weights, tdmpc2.make_probe(model, shape, action, gammas), text)
        print(f"{name}: {json.dumps(sizes)}")


if __name__ == "__main__":
    main()
