"""The DreamerV3 of 2023 as two PyTorch code bases have it: from the names of a file to weights and config of rssm.

Sizes come from the tensors; what tensors cannot tell is in Names and Shape, which each importer fills.
"""

from . import ImportFailure
from .placer import TORCH_CONV, TORCH_DECONV

ACTIVATIONS = {"SiLU": "silu", "ELU": "elu", "ReLU": "relu", "Tanh": "tanh", "Mish": "mish"}


def image_side(p, names, deter, units, decoupled=False):
    """The side of the (square) images: what is left of the posterior's input when all else is taken away."""
    width = p.shape(f"{names.posterior.hidden[0][0]}.weight", 2)[1] - (0 if decoupled else deter) - units
    channels = p.shape(f"{names.encoder_cnn[-1][0]}.weight", 4)[0]
    side = round((width / channels) ** 0.5) if width > 0 else 0
    if side < 1 or side * side * channels != width:
        raise ImportFailure(f"{names.posterior.hidden[0][0]}.weight: leaves {width} numbers for images, expected "
                            f"a square number times {channels}")
    return side << len(names.encoder_cnn)


class Layout:
    """Places one file's tensors. `p` is a Placer."""

    def __init__(self, p, names, shape):
        self.p, self.names, self.shape = p, names, shape

    # ---- layers ----

    def linear(self, theirs, ours, rows, columns, bias=True, part=None):
        self.p.take(f"{theirs}.weight", f"{ours}.weight", [rows, columns], part=part)
        if bias:
            self.p.take(f"{theirs}.bias", f"{ours}.bias", [rows], part=part)

    def norm(self, theirs, ours, width):
        for part in ("weight", "bias"):
            self.p.take(f"{theirs}.{part}", f"{ours}.norm.{part}", [width])

    def mlp(self, layers, ours, columns):
        """{"layers", "units"} of hidden layers, all equally wide."""
        units = self.p.shape(f"{layers[0][0]}.weight", 2)[0]
        for i, (linear, norm) in enumerate(layers):
            self.linear(linear, f"{ours}.mlp.{i}", units, columns, bias=False)
            self.norm(norm, f"{ours}.mlp.{i}", units)
            columns = units
        return {"layers": len(layers), "units": units}

    def head(self, head, ours, columns, out, rows):
        config = self.mlp(head.hidden, ours, columns)
        self.linear(head.out, f"{ours}.{out}", rows, config["units"])
        return config

    def distribution(self, head, ours, columns):
        s = self.shape
        if s.classes:
            return self.head(head, ours, columns, "logits", s.stoch * s.classes)
        return self.head(head, ours, columns, "stats", 2 * s.stoch)

    # ---- parts ----

    def encoder(self):
        """Its config, and the width of the embedding."""
        s, n, config, embedding = self.shape, self.names, {}, 0
        if s.images:
            channels = sum(size[2] for size in s.images.values())
            depths = [self.p.shape(f"{conv}.weight", 4)[0] for conv, _ in n.encoder_cnn]
            for i, (conv, norm) in enumerate(n.encoder_cnn):
                self.p.take(f"{conv}.weight", f"encoder.conv.{i}.weight", [depths[i], channels, 4, 4], TORCH_CONV)
                self.norm(norm, f"encoder.conv.{i}", depths[i])
                channels = depths[i]
            config |= self.multiples(depths, n.encoder_cnn[0][0])
            side = next(iter(s.images.values()))[0] >> len(depths)
            embedding = side * side * channels
        if s.vectors:
            config |= self.mlp(n.encoder, "encoder", sum(s.vectors.values()))
            config["symlog"] = s.symlog_inputs
            embedding += config["units"]
        return config, embedding

    def multiples(self, depths, name):
        if any(depth % depths[0] for depth in depths):
            raise ImportFailure(f"{name}: {depths} channels, expected multiples of the first")
        return {"depth": depths[0], "kernels": [4] * len(depths), "mults": [depth // depths[0] for depth in depths]}

    def decoder(self, feature):
        s, n, config = self.shape, self.names, {}
        if n.decoder_out:
            config |= self.mlp(n.decoder, "decoder", feature)
            config["symlog"] = s.symlog_outputs
            for key, name in n.decoder_out.items():
                self.linear(name, f"decoder.observation.{key}", s.vectors[key], config["units"])
        if n.decoder_cnn:
            config |= self.decoder_images(feature)
        keys = [key for key in [*s.images, *s.vectors] if key in n.decoder_out or key in s.images and n.decoder_cnn]
        if len(keys) < len(s.images) + len(s.vectors):
            config["keys"] = keys
        return config

    def decoder_images(self, feature):
        s, n = self.shape, self.names
        depths = [self.p.shape(f"{deconv}.weight", 4)[0] for deconv, _ in n.decoder_cnn]
        outputs = depths[1:] + [sum(size[2] for size in s.images.values())]
        side = next(iter(s.images.values()))[0] >> len(depths)
        self.linear(n.decoder_space, "decoder.conv.input", side * side * depths[0], feature)
        for i, (deconv, norm) in enumerate(n.decoder_cnn):
            ours = f"decoder.conv.{i}"
            self.p.take(f"{deconv}.weight", f"{ours}.weight", [depths[i], outputs[i], 4, 4], TORCH_DECONV)
            if norm:
                self.norm(norm, ours, outputs[i])
            else:
                self.p.take(f"{deconv}.bias", f"{ours}.bias", [outputs[i]])
        config = self.multiples(depths[::-1], n.decoder_cnn[-1][0])
        return config | ({"sigmoid": True} if s.image_output == "sigmoid" else {})

    def bins(self, head, ours, feature):
        rows = self.p.shape(f"{head.out}.weight", 2)[0]
        if rows < 3 or rows % 2 == 0:
            raise ImportFailure(f"{head.out}.weight: {rows} bins, expected an odd number from 3")
        return self.head(head, ours, feature, "logits", rows) | {"bins": rows}

    def actor(self, feature, action):
        s, n, config = self.shape, self.names, self.mlp(self.names.actor.hidden, "actor", feature)
        if s.discrete_action:
            self.linear(n.actor.out, "actor.logits", action, config["units"])
            return config | {"distribution": "onehot", "unimix": s.actor_unimix}
        if n.actor_std:
            self.linear(n.actor.out, "actor.mean", action, config["units"])
            self.linear(n.actor_std, "actor.std", action, config["units"])
        else:
            self.linear(n.actor.out, "actor.mean", 2 * action, config["units"], part=slice(action))
            self.linear(n.actor.out, "actor.std", 2 * action, config["units"], part=slice(action, None))
        return config | {"distribution": "normal", "min_std": s.actor_min_std, "max_std": s.actor_max_std,
                         "init_std": s.actor_init_std}

    def latent(self, embedding):
        """Around the GRU: the config's part, and the width of an action."""
        s, n, p = self.shape, self.names, self.p
        flat = s.stoch * s.classes if s.classes else s.stoch
        hidden, columns = p.shape(f"{n.input[0]}.weight", 2)
        deter = p.shape(f"{n.gru[0]}.weight", 2)[0] // 3
        action = columns - flat
        if action < 1:
            raise ImportFailure(f"{n.input[0]}.weight: reads {columns} numbers, the config's latent alone has {flat}; "
                                "expected an action beside it")
        if n.initial:
            p.take(n.initial, "rssm.initial", [deter])
        self.linear(n.input[0], "rssm.input", hidden, flat + action, bias=False)
        self.norm(n.input[1], "rssm.input", hidden)
        p.take(f"{n.gru[0]}.weight", "rssm.gru.weight", [3 * deter, hidden + deter])
        self.norm(n.gru[1], "rssm.gru", 3 * deter)
        config = {"deter": deter, "stoch": s.stoch, "classes": s.classes, "hidden": hidden,
                  "prior": self.distribution(n.prior, "rssm.prior", deter),
                  "posterior": self.distribution(n.posterior, "rssm.posterior",
                                                 embedding + (0 if s.decoupled else deter))}
        if s.classes:
            config["unimix"] = s.unimix
        else:
            config["gaussian"] = {"mean": s.mean_act, "std": s.std_act, "min_std": s.min_std}
        if s.decoupled:
            config["decoupled"] = True
        return config | {"initial": "learned" if n.initial else "zeros"}, action

    def place(self, dialect):
        """The config of the family, and the width of an action."""
        s, n = self.shape, self.names
        encoder, embedding = self.encoder()
        config, action = self.latent(embedding)
        config = {"dialect": dialect} | config
        config |= {"activation": s.activation, "cnn_activation": s.cnn_activation, "norm_eps": s.norm_eps, "encoder": encoder}
        feature = config["deter"] + (s.stoch * s.classes if s.classes else s.stoch)
        if n.decoder_out or n.decoder_cnn:
            config["decoder"] = self.decoder(feature)
        for name in ("reward", "value", "target_value"):
            if (head := getattr(n, name)) is not None:
                config[name] = self.bins(head, name, feature)
        if n.cont is not None:
            config["continue"] = self.head(n.cont, "continue", feature, "logit", 1)
        if n.actor is not None:
            config["actor"] = self.actor(feature, action)
        return config, action
