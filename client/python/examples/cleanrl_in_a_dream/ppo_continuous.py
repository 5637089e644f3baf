"""PPO for continuous actions in one file, in the manner of CleanRL, on imagined worlds through gymnasium.make_vec.

    make run                                            # in another shell
    python client/python/examples/cleanrl_in_a_dream/ppo_continuous.py --total-timesteps 400000

Nothing here knows of dreamd but the name of the environment: with --env-id Pendulum-v1 it is the real one.
"""

import argparse
import time

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

import dreamd  # noqa: F401 (it registers dreamd/pendulum-v0 and its like)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env-id", default="dreamd/pendulum-v0")
    parser.add_argument("--eval-env-id", default="Pendulum-v1", help="where it is measured in the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=400_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--num-steps", type=int, default=64, help="of each environment in a rollout")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--gamma", type=float, default=0.9)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--minibatch-size", type=int, default=1024)
    parser.add_argument("--update-epochs", type=int, default=10)
    parser.add_argument("--clip-coef", type=float, default=0.2)
    parser.add_argument("--vf-coef", type=float, default=0.5)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    return parser.parse_args()


def make_envs(env_id, num_envs):
    """Gymnasium hands the mode to its own vector environments in vector_kwargs, and to those of others as an argument."""
    mode = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
    own = gymnasium.spec(env_id).vector_entry_point is None
    return gymnasium.make_vec(env_id, num_envs=num_envs, **({"vector_kwargs": mode} if own else mode))


def layer(inputs, outputs, gain=2**0.5):
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made


class Agent(nn.Module):
    def __init__(self, observations, actions, scale):
        super().__init__()
        self.critic = nn.Sequential(layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        self.actor = nn.Sequential(layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, actions, 0.01))
        self.log_std = nn.Parameter(torch.zeros(actions))
        self.register_buffer("scale", torch.as_tensor(scale))  # half the action space

    def value(self, x):
        return self.critic(x).squeeze(-1)

    def policy(self, x):
        return Normal(self.actor(x), self.log_std.exp())


def advantages_of(rewards, values, next_values, dones, gamma, gae_lambda):
    """Generalised advantage estimation; next_values of a truncated step is the value of what it led to."""
    advantages, last = torch.zeros_like(rewards), 0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_values[t] - values[t]
        advantages[t] = last = delta + gamma * gae_lambda * (1 - dones[t]) * last
    return advantages


def evaluate(agent, env_id, episodes, first_seed):
    env, returns = gymnasium.make(env_id), []
    for seed in range(first_seed, first_seed + episodes):
        x, _ = env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            with torch.no_grad():
                action = agent.actor(torch.as_tensor(x, dtype=torch.float32)[None])[0] * agent.scale
            x, reward, terminated, truncated, _ = env.step(action.numpy().clip(env.action_space.low, env.action_space.high))
            total, done = total + float(np.asarray(reward).item()), terminated or truncated
        returns.append(total)
    return returns


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    envs = make_envs(args.env_id, args.num_envs)
    space = envs.single_action_space
    agent = Agent(envs.single_observation_space.shape[0], space.shape[0], (space.high - space.low) / 2)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    updates, start = args.total_timesteps // (args.num_envs * args.num_steps), time.monotonic()
    x = torch.as_tensor(envs.reset(seed=args.seed)[0])
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - update / updates)
        rollout = []
        for _ in range(args.num_steps):
            with torch.no_grad():
                distribution, value = agent.policy(x), agent.value(x)
                raw = distribution.sample()
                taken = (raw * agent.scale).numpy().clip(space.low, space.high)
                seen, reward, terminated, truncated, info = envs.step(taken)
                led_to = np.array(seen)
                for row in np.flatnonzero(terminated | truncated):  # what was there before the reset
                    led_to[row] = info["final_obs"][row]
                next_value = agent.value(torch.as_tensor(led_to)) * torch.as_tensor(1.0 - terminated, dtype=torch.float32)
            rollout.append((x, raw, distribution.log_prob(raw).sum(-1), value, next_value,
                            torch.as_tensor(reward, dtype=torch.float32),
                            torch.as_tensor(terminated | truncated, dtype=torch.float32)))
            x = torch.as_tensor(np.array(seen))
        xs, raws, log_probs, values, next_values, rewards, dones = (torch.stack(column) for column in zip(*rollout, strict=True))
        advantages = advantages_of(rewards, values, next_values, dones, args.gamma, args.gae_lambda)
        batch = [column.flatten(0, 1) for column in (xs, raws, log_probs, advantages, advantages + values)]
        for _ in range(args.update_epochs):
            for index in torch.randperm(len(batch[0])).split(args.minibatch_size):
                bx, braw, blog_prob, badvantage, breturn = (column[index] for column in batch)
                badvantage = (badvantage - badvantage.mean()) / (badvantage.std() + 1e-8)
                ratio = (agent.policy(bx).log_prob(braw).sum(-1) - blog_prob).exp()
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                policy_loss = -torch.min(ratio * badvantage, clipped * badvantage).mean()
                value_loss = (agent.value(bx) - breturn).pow(2).mean()
                optimizer.zero_grad()
                (policy_loss + args.vf_coef * value_loss).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        if (update + 1) % max(updates // 10, 1) == 0:
            steps = (update + 1) * args.num_envs * args.num_steps
            print(f"global_step={steps} reward={rewards.mean():.3f} SPS={steps / (time.monotonic() - start):.0f}", flush=True)
    envs.close()
    returns = evaluate(agent, args.eval_env_id, 10, 1000)
    print(f"{args.eval_env_id}: mean_return {np.mean(returns):.1f} over {len(returns)} episodes")


if __name__ == "__main__":
    main()
