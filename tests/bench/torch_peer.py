"""The same model in PyTorch, timed on request: what people run today.

One thread, no_grad, latents sampled by the exponential race that torch.multinomial uses. Reads
lines `VERB ROWS SECONDS` and answers each with the median microseconds of one call.
"""

import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "golden/rssm"))
from make_golden import World, load  # noqa: E402


class Peer(World):
    def sample(self, logits):
        probs = (1 - self.config["unimix"]) * logits.softmax(-1) + self.config["unimix"] / self.classes
        return F.one_hot((probs / torch.empty_like(probs).exponential_()).argmax(-1), self.classes).float()

    def step(self, state, action, observation):
        deter = self.advance(state, self.own_action(action))
        stoch = self.sample(self.logits("rssm.prior", deter))
        feature = torch.cat([stoch.flatten(1), deter], -1)
        reward = self.scalar("reward", feature)["reward"]
        goes_on = torch.sigmoid(self.linear("continue.logit", self.mlp("continue", feature))[..., 0])
        return (deter, stoch), reward, goes_on

    def observe(self, state, action, observation):
        embedding = self.encode(observation)
        deter = self.advance(state, self.own_action(action))
        return deter, self.sample(self.logits("rssm.posterior", torch.cat([deter, embedding], -1)))


class Decoder(torch.nn.Module):
    """bench_decode.c's decoder, as the published code writes it: channels first, norms over the channels."""

    def __init__(self):
        super().__init__()
        widths = [256, 128, 64, 32, 3]
        self.linear = torch.nn.Linear(1536, 4096)
        self.layers = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(a, b, 4, 2, 1, bias=b == 3) for a, b in zip(widths, widths[1:]))
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width, eps=1e-3) for width in widths[1:4])

    def forward(self, feature):
        x = self.linear(feature).view(-1, 4, 4, 256).permute(0, 3, 1, 2)
        for layer, norm in zip(self.layers, self.norms):
            x = F.silu(norm(layer(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return self.layers[3](x).permute(0, 2, 3, 1) + 0.5


def measure_call(call, *inputs, seconds):
    times = []
    for _ in range(5):
        call(*inputs)
    limit = time.perf_counter() + seconds
    while len(times) < 20 or time.perf_counter() < limit:
        start = time.perf_counter()
        call(*inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def measure(peer, verb, rows, seconds):
    if verb == "decode":
        return measure_call(Decoder(), torch.rand(rows, 1536), seconds=seconds)
    deter = peer.w["rssm.initial"].shape[0]
    state = torch.rand(rows, deter) * 2 - 1, peer.sample(torch.zeros(rows, peer.stoch, peer.classes))
    action = torch.rand(rows, peer.actions)
    observation = {name: torch.rand(rows, width) for name, width in peer.names.items()}
    return measure_call(getattr(peer, verb), state, action, observation, seconds=seconds)


def main():
    torch.set_num_threads(1)
    peer = Peer(*load(pathlib.Path(sys.argv[1])))
    print(torch.__version__, flush=True)
    with torch.no_grad():
        for line in sys.stdin:
            verb, rows, seconds = line.split()
            print(measure(peer, verb, int(rows), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
