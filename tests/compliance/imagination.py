"""Imagine for tests: a request in one line, and the stream put together again and checked."""

import hashlib

import numpy as np

from dreamd_stubs import arrays, put, simulation

POLICIES = {"actor": simulation.IMAGINE_POLICY_ACTOR, "given": simulation.IMAGINE_POLICY_GIVEN,
            "random": simulation.IMAGINE_POLICY_RANDOM, "plan": simulation.IMAGINE_POLICY_PLAN}


def ask(session, actions=None, rows=None, policy=None, settings=None, **fields):
    request = simulation.ImagineRequest(session_id=session, **fields)
    if policy:
        request.policy = POLICIES[policy]
    if rows is not None:
        request.rows.rows.extend(rows)
    if settings is not None:
        request.settings.CopyFrom(simulation.PlannerSettings(**settings))
    if actions is not None:
        put(request, action=np.asarray(actions))
    return request


def collect(stream, chunk_bytes=1 << 20):
    """Arrays [trajectories, steps, ...] by name, "return" as it is sent; the digest must hold, each
    step of each trajectory must come once, and no message may be too large."""
    digest, seen, returns, last = hashlib.sha256(), {}, [], None
    for message in stream:
        assert last is None, "a message after the last one"
        for raw in message.raw_contents:
            digest.update(raw)
        told = arrays(message)
        if "return" in told:
            assert len(told) == 1 and message.trajectories == told["return"].size
            returns.append(told["return"])
            assert message.first_trajectory == sum(r.size for r in returns[:-1])
        else:
            size = sum(len(raw) for raw in message.raw_contents)
            assert size <= chunk_bytes or (message.trajectories, message.steps) == (1, 1)
            for name, array in told.items():
                assert array.shape[:2] == (message.trajectories, message.steps)
                seen.setdefault(name, []).append((message.first_trajectory, message.first_step, array))
        last = message if message.last else None
    assert last is not None and last.digest == digest.hexdigest()
    whole = {name: put_together(parts) for name, parts in seen.items()}
    if returns:
        whole["return"] = np.concatenate(returns)
    return whole


def put_together(parts):
    trajectories = max(t + a.shape[0] for t, _, a in parts)
    steps = max(s + a.shape[1] for _, s, a in parts)
    out = np.zeros((trajectories, steps, *parts[0][2].shape[2:]), parts[0][2].dtype)
    times = np.zeros((trajectories, steps), int)
    for t, s, array in parts:
        assert (times[t:t + array.shape[0], :s] == 1).all(), "steps out of order"
        out[t:t + array.shape[0], s:s + array.shape[1]] = array
        times[t:t + array.shape[0], s:s + array.shape[1]] += 1
    assert (times == 1).all()
    return out


def imagine(client, session, **fields):
    request = ask(session, **fields)
    return collect(client.simulation.Imagine(request), request.chunk_bytes or 1 << 20)
