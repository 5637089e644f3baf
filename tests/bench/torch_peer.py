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


def measure(peer, verb, rows, seconds):
    deter = peer.w["rssm.initial"].shape[0]
    state = torch.rand(rows, deter) * 2 - 1, peer.sample(torch.zeros(rows, peer.stoch, peer.classes))
    action = torch.rand(rows, peer.actions)
    observation = {name: torch.rand(rows, width) for name, width in peer.names.items()}
    call = getattr(peer, verb)
    times = []
    for _ in range(5):
        call(state, action, observation)
    limit = time.perf_counter() + seconds
    while len(times) < 20 or time.perf_counter() < limit:
        start = time.perf_counter()
        call(state, action, observation)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


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
