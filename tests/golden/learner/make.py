"""Makes curve.safetensors: 20 updates of a tiny recurrent state-space model in PyTorch.

An independent second opinion for models/learner: the model and its losses are written here
from the published description (DreamerV3, the public PyTorch dialect), torch.optim.Adam does
the steps, autograd the gradients. The file holds the first weights, every batch, every
random number (as uniforms, turned into samples by inverse CDF), the 20 losses and the last
weights. tests/unit/models/learner/curve.c repeats it in C.

    python3 tests/golden/learner/make.py [--check]

--check compares with the committed file instead of writing it.
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-3  # of every layer norm
BINS = 255


def symlog(x):
    return torch.sign(x) * torch.log1p(torch.abs(x))


class Mlp(nn.Module):
    """Linear without bias, LayerNorm, SiLU; `layers` times."""

    def __init__(self, inputs, units, layers):
        super().__init__()
        self.linear = nn.ModuleList(
            nn.Linear(inputs if i == 0 else units, units, bias=False) for i in range(layers)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(units, eps=EPS) for _ in range(layers))

    def forward(self, x):
        for linear, norm in zip(self.linear, self.norm):
            x = F.silu(norm(linear(x)))
        return x


class WorldModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        obs, act, deter, hidden, units = c["obs"], c["act"], c["deter"], c["hidden"], c["units"]
        self.stoch = c["groups"] * c["classes"]
        feat = self.stoch + deter
        self.encoder = Mlp(obs, units, c["layers"])
        self.img_in = Mlp(self.stoch + act, hidden, 1)
        self.gru = nn.Linear(hidden + deter, 3 * deter, bias=False)
        self.gru_norm = nn.LayerNorm(3 * deter, eps=EPS)
        self.img_out = Mlp(deter, hidden, 1)
        self.prior = nn.Linear(hidden, self.stoch)
        self.obs_out = Mlp(deter + units, hidden, 1)
        self.post = nn.Linear(hidden, self.stoch)
        self.first = nn.Parameter(torch.zeros(deter))
        self.decoder = Mlp(feat, units, c["layers"])
        self.decoder_out = nn.Linear(units, obs)
        self.reward = Mlp(feat, units, c["layers"])
        self.reward_out = nn.Linear(units, BINS)
        self.cont = Mlp(feat, units, c["layers"])
        self.cont_out = nn.Linear(units, 1)

    def log_probs(self, logits):
        c = self.c
        probs = torch.softmax(logits.reshape(*logits.shape[:-1], c["groups"], c["classes"]), -1)
        return torch.log((1 - c["unimix"]) * probs + c["unimix"] / c["classes"])

    def sample(self, log_probs, uniform):
        """One-hot by inverse CDF; a negative uniform takes the mode. Straight-through."""
        probs = torch.exp(log_probs)
        low = (torch.cumsum(probs.detach(), -1) <= uniform[..., None]).sum(-1)
        index = torch.where(uniform < 0, log_probs.argmax(-1), low.clamp(max=probs.shape[-1] - 1))
        hot = F.one_hot(index, probs.shape[-1]).float()
        return (hot + (probs - probs.detach())).flatten(-2)

    @staticmethod
    def away_from_edges(log_probs, uniform, margin=1e-3):
        """The same choices by uniforms that no rounding can move over the edge of a class."""
        probs = torch.exp(log_probs.detach())
        high = torch.cumsum(probs, -1)
        index = (high <= uniform[..., None]).sum(-1, keepdim=True).clamp(max=probs.shape[-1] - 1)
        width, high = probs.gather(-1, index)[..., 0], high.gather(-1, index)[..., 0]
        gap = torch.minimum(width / 3, torch.tensor(margin))
        return torch.minimum(torch.maximum(uniform, high - width + gap), high - gap)

    def prior_log_probs(self, deter):
        return self.log_probs(self.prior(self.img_out(deter)))

    def initial(self, rows):
        deter = torch.tanh(self.first).expand(rows, -1)
        mode = -torch.ones(rows, self.c["groups"])
        return deter, self.sample(self.prior_log_probs(deter), mode)

    def step_deter(self, deter, stoch, action):
        x = self.img_in(torch.cat([stoch, action], -1))
        reset, cand, update = self.gru_norm(self.gru(torch.cat([x, deter], -1))).chunk(3, -1)
        cand = torch.tanh(torch.sigmoid(reset) * cand)
        update = torch.sigmoid(update - 1)
        return update * cand + (1 - update) * deter

    def observe(self, deter, stoch, action, embed, first, uniform):
        deter0, stoch0 = self.initial(len(first))
        keep = 1 - first[:, None]
        deter = keep * deter + (1 - keep) * deter0
        stoch = keep * stoch + (1 - keep) * stoch0
        deter = self.step_deter(deter, stoch, action * keep)
        post = self.log_probs(self.post(self.obs_out(torch.cat([deter, embed], -1))))
        if self.c.get("keep_away"):
            uniform.copy_(self.away_from_edges(post, uniform))
        return deter, self.sample(post, uniform), post

    def loss(self, batch):
        """batch: time-major [T, B, ...]."""
        c = self.c
        T, B = batch["first"].shape
        embed = self.encoder(symlog(batch["observation"]))
        deter, stoch = torch.zeros(B, c["deter"]), torch.zeros(B, self.stoch)
        deters, stochs, posts = [], [], []
        for t in range(T):
            deter, stoch, post = self.observe(
                deter, stoch, batch["action"][t], embed[t], batch["first"][t], batch["uniform"][t]
            )
            deters.append(deter), stochs.append(stoch), posts.append(post)
        deter, post = torch.stack(deters), torch.stack(posts)
        feat = torch.cat([torch.stack(stochs), deter], -1)
        prior = self.prior_log_probs(deter)

        def kl(p, q):
            return (p.exp() * (p - q)).sum((-2, -1))

        parts = {
            "observation": ((self.decoder_out(self.decoder(feat)) - symlog(batch["observation"])) ** 2).sum(-1),
            "reward": self.twohot(self.reward_out(self.reward(feat)), symlog(batch["reward"])),
            "continue": F.binary_cross_entropy_with_logits(
                self.cont_out(self.cont(feat))[..., 0], batch["continue"], reduction="none"
            ),
            "dynamics": kl(post.detach(), prior),
            "representation": kl(post, prior.detach()),
        }
        total = (
            parts["observation"] + parts["reward"] + parts["continue"]
            + c["dyn_scale"] * parts["dynamics"].clamp(min=c["free_nats"])
            + c["rep_scale"] * parts["representation"].clamp(min=c["free_nats"])
        )
        return total.mean(), {k: v.mean() for k, v in parts.items()}

    @staticmethod
    def twohot(logits, target, low=-20.0, high=20.0):
        at = ((target.clamp(low, high) - low) / (high - low) * (BINS - 1))
        below = at.floor().clamp(max=BINS - 2)
        above = at - below
        log = F.log_softmax(logits, -1)
        at0 = below.long()[..., None]
        return -((1 - above) * log.gather(-1, at0)[..., 0] + above * log.gather(-1, at0 + 1)[..., 0])

    @staticmethod
    def reward_mean(logits, low=-20.0, high=20.0):
        x = (torch.softmax(logits, -1) * torch.linspace(low, high, BINS)).sum(-1)
        return torch.sign(x) * (torch.exp(x.abs()) - 1)


def initialise(model, generator):
    """Truncated normal by average fan, the output heads uniform, the reward head zero."""
    for name, p in model.named_parameters():
        if p.ndim < 2:
            continue
        average = (p.shape[0] + p.shape[1]) / 2
        if name.startswith("reward_out"):
            nn.init.zeros_(p)
        elif name.split(".")[0] in ("prior", "post", "decoder_out", "cont_out"):
            limit = float(np.sqrt(3 / average))
            nn.init.uniform_(p, -limit, limit, generator=generator)
        else:
            std = float(np.sqrt(1 / average)) / 0.87962566103423978
            nn.init.trunc_normal_(p, 0, std, -2 * std, 2 * std, generator=generator)
            assert p.std() > 0
    for name, p in model.named_parameters():
        if name.endswith("_out.bias") or name in ("prior.bias", "post.bias"):
            nn.init.zeros_(p)


# ---- the golden file ----

TINY = dict(obs=3, act=1, deter=16, hidden=16, units=16, groups=4, classes=4, layers=2, unimix=0.01,
            dyn_scale=0.5, rep_scale=0.1, free_nats=1.0, keep_away=True)
ROWS, LENGTH, UPDATES = 4, 8, 20
ADAM = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
CLIP = 4.0  # so that some updates are clipped and some are not
FILE = pathlib.Path(__file__).with_name("curve.safetensors")


def our_name(name):
    """The name of a weight in dreamd's checkpoints (models/family/rssm.md)."""
    name = name.replace("img_in.", "rssm.input.").replace("img_out.", "rssm.prior.")
    name = name.replace("obs_out.", "rssm.posterior.").replace("cont.", "continue.")
    part, _, rest = name.rpartition(".")
    simple = {
        "first": "rssm.initial", "gru": "rssm.gru", "gru_norm": "rssm.gru.norm",
        "prior": "rssm.prior.logits", "post": "rssm.posterior.logits",
        "decoder_out": "decoder.observation", "reward_out": "reward.logits",
        "cont_out": "continue.logit",
    }
    if not part:
        return simple[rest]
    if part in simple:
        return f"{simple[part]}.{rest}"
    owner, kind, index = part.rsplit(".", 2)  # encoder.linear.0
    layer = owner if owner == "rssm.input" else f"{owner}.mlp.{index}"
    return f"{layer}.{rest}" if kind == "linear" else f"{layer}.norm.{rest}"


def make_batch(rng):
    """Random sequences with the shape of real ones: beginnings, ends, rewards of any size."""
    first = (rng.random((LENGTH, ROWS)) < 0.15).astype(np.float32)
    first[0] = 1
    end = (rng.random((LENGTH, ROWS)) < 0.1).astype(np.float32)
    batch = {
        "observation": rng.normal(0, 2, (LENGTH, ROWS, TINY["obs"])),
        "action": rng.uniform(-2, 2, (LENGTH, ROWS, TINY["act"])),
        "reward": -16 * rng.random((LENGTH, ROWS)) ** 3,
        "continue": 1 - end,
        "first": first,
        "uniform": rng.random((LENGTH, ROWS, TINY["groups"])),
    }
    return {k: np.ascontiguousarray(v, np.float32) for k, v in batch.items()}


def compute():
    torch.manual_seed(0)
    rng = np.random.default_rng(7)
    model = WorldModel(TINY)
    initialise(model, torch.Generator().manual_seed(1))
    with torch.no_grad():  # nothing at exactly zero or one, so that every gradient is looked at
        for p in model.parameters():
            p += 0.05 * torch.from_numpy(rng.normal(size=tuple(p.shape)).astype(np.float32))
    tensors = {f"first.{our_name(n)}": p.detach().numpy().copy() for n, p in model.named_parameters()}
    adam = torch.optim.Adam(model.parameters(), **ADAM)
    curve, parts_curve, norms = [], [], []
    for update in range(UPDATES):
        batch = make_batch(rng)
        inputs = {k: torch.from_numpy(v.copy()) for k, v in batch.items()}
        inputs["action"] = inputs["action"] / 2  # the action space is -2 to 2, the model's own -1 to 1
        loss, parts = model.loss(inputs)
        batch["uniform"] = inputs["uniform"].numpy()
        adam.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        adam.step()
        curve.append(float(loss.detach()))
        parts_curve.append([float(v.detach()) for v in parts.values()])
        tensors |= {f"batch.{update:02d}.{k}": v for k, v in batch.items()}
    assert min(norms) < CLIP < max(norms), norms
    tensors |= {f"last.{our_name(n)}": p.detach().numpy() for n, p in model.named_parameters()}
    tensors["loss"] = np.array(curve, np.float32)
    tensors["loss.parts"] = np.array(parts_curve, np.float32)
    tensors["gradient_norm"] = np.array(norms, np.float32)
    return tensors


def write(tensors):
    header, data = {"__metadata__": {"torch": torch.__version__, "clip": str(CLIP)}}, b""
    for name in sorted(tensors):
        raw = np.ascontiguousarray(tensors[name], "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    FILE.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read():
    raw = FILE.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__")
    return {k: np.frombuffer(data[slice(*v["data_offsets"])], "<f4").reshape(v["shape"])
            for k, v in header.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    tensors = compute()
    if not check:
        write(tensors)
        print(f"{FILE.name}: {len(tensors)} tensors, {FILE.stat().st_size} bytes")
        return 0
    committed, worst = read(), 0.0
    if committed.keys() != tensors.keys():
        print("the committed file has other tensors", file=sys.stderr)
        return 1
    for name, value in tensors.items():
        difference = float(np.abs(committed[name] - value).max() / max(1, np.abs(value).max()))
        worst = max(worst, difference)
        if difference > 1e-4:
            print(f"{name}: differs by {difference:.2e}, at most 1e-4", file=sys.stderr)
            return 1
    print(f"{FILE.name}: {len(tensors)} tensors agree, largest difference {worst:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
