"""What calls give back and take: small typed objects, no messages of the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import gymnasium

from .tensors import Array

Observation = Any
"""An array, or {key: array} where the observation space is a Dict."""

LatentMode = Literal["sample", "mode"]
Autoreset = Literal["disabled", "next_step", "same_step"]
EndingRule = Literal["never", "threshold", "sampled"]
Start = Literal["initial", "file", "state"]
Policy = Literal["actor", "given", "random", "plan"]


class PlannerSettings(TypedDict, total=False):
    """How to search; what is absent is the checkpoint's. Deviations are in units of half the action's range.

    What a daemon does not have yet it refuses (UNIMPLEMENTED), naming the setting.

    Attributes:
        preset: a named set of constants, one of `ServerInfo.planner_presets`; "" is the checkpoint's.
        method: how to search, "cem" or "random_shooting"; "icem", "mppi" and "actor" are for daemons to come.
        horizon: steps looked ahead.
        candidates: action sequences tried a row and iteration.
        iterations: rounds of the search.
        elites: best sequences that the next iteration is fitted to, 1 to candidates.
        discount: of rewards, a step, 0 to 1.
        warm_start: begin at the plan kept from the step before, shifted.
        terminal_value: add the critic's value at the last latent.
        action_noise: deviation of noise on the returned action; of a Discrete the chance that it is drawn uniformly.
        seed: key of the search's noise; absent is the session's seed and the row's step.
        initial_std, min_std, max_std: deviation of the first iteration, and bounds of later ones.
        temperature: mppi: weights are softmax(temperature * (value - best)).
        momentum: share of the old mean and deviation that stays, 0 to 1.
        noise_beta: icem: exponent of coloured noise over the horizon; 0 is white.
        keep_elites, shift_elites: icem: share of elites kept for the next iteration, for the next step; 0 to 1.
        decay: icem: candidates shrink by this factor an iteration, 1 or more.
        actor_candidates: how many of the candidates the actor proposes.
        latent_mode: how latents draw while planning; absent as the session does.
        choose: what is returned: "mean" of the last iteration, "best" sequence, or "elite" drawn by weight.
        action_repeat: steps an action is held.
    """

    preset: str
    method: str
    horizon: int
    candidates: int
    iterations: int
    elites: int
    discount: float
    warm_start: bool
    terminal_value: bool
    action_noise: float
    seed: int
    initial_std: float
    min_std: float
    max_std: float
    temperature: float
    momentum: float
    noise_beta: float
    keep_elites: float
    shift_elites: float
    decay: float
    actor_candidates: int
    latent_mode: LatentMode
    choose: str
    action_repeat: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a session by `name`, for one row: `shape` has no leading dimension of rows; `dtype` is numpy's word."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Reply(Mapping[str, Array]):
    """Tensors by name, each [rows, ...] and read-only, and where the session stands.

    `reply.reward` is `reply["reward"]`; parameters of latents and their like are read by name, `reply["prior.logits"]`.
    An attribute whose tensor was not returned raises AttributeError and says what to ask for.
    """

    __slots__ = ("checkpoint", "committed_step_id", "tensors")

    def __init__(self, tensors: dict[str, Array], committed_step_id: int, checkpoint: str) -> None:
        self.tensors = tensors
        self.committed_step_id = committed_step_id
        self.checkpoint = checkpoint

    def __getitem__(self, name: str) -> Array:
        try:
            return self.tensors[name]
        except KeyError:
            raise KeyError(self._lacks(name)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.tensors.items())
        return f"<{type(self).__name__} at step {self.committed_step_id}: {shapes or 'no tensors'}>"

    def _get(self, name: str) -> Array:
        try:
            return self.tensors[name]
        except KeyError:
            raise AttributeError(self._lacks(name)) from None

    def _lacks(self, name: str) -> str:
        return f"the reply has no {name!r}, it has {list(self.tensors)}: name it in `outputs`"

    def _get_tree(self, name: str) -> Any:
        if name in self.tensors:
            return self.tensors[name]
        parts = self._below(name)
        return parts if parts else self._get(name)

    def _below(self, name: str) -> dict[str, Array]:
        return {key[len(name) + 1:]: array for key, array in self.tensors.items() if key.startswith(f"{name}.")}

    @property
    def action(self) -> Array:
        """[rows, A...] in the action space's units; of a Discrete int64 [rows]."""
        return self._get("action")

    @property
    def observation(self) -> Observation:
        """[rows, O...], or {key: [rows, ...]} where the space is a Dict."""
        return self._get_tree("observation")

    @property
    def final_observation(self) -> Observation:
        """autoreset="same_step": [rows, O...] as it was before rows that ended were reset."""
        return self._get_tree("final_observation")

    @property
    def reward(self) -> Array:
        """float32 [rows]"""
        return self._get("reward")

    @property
    def continues(self) -> Array:
        """float32 [rows]: the probability that the episode goes on (the tensor "continue")."""
        return self._get("continue")

    @property
    def terminated(self) -> Array:
        """bool [rows]: ended by the continue head."""
        return self._get("terminated")

    @property
    def truncated(self) -> Array:
        """bool [rows]: met the session's horizon."""
        return self._get("truncated")

    @property
    def started(self) -> Array:
        """bool [rows]: Step: the row is at a start, by an automatic reset."""
        return self._get("started")

    @property
    def value(self) -> Array:
        """float32 [rows]: the critic's estimate."""
        return self._get("value")

    @property
    def embedding(self) -> Array:
        """[rows, ...]: what Encode makes of an observation."""
        return self._get("embedding")

    @property
    def state(self) -> dict[str, Array]:
        """{part: [rows, ...]}: the latent's named parts."""
        return self._below("state") or {"": self._get("state")}

    @property
    def returns(self) -> Array:
        """float32 [rows] or [rows, candidates]: predicted discounted return (the tensor "return")."""
        return self._get("return")


@dataclass(frozen=True, slots=True)
class PlanStats:
    """What a search cost. `row_steps` are latents advanced by one step, over rows, candidates and iterations."""

    iterations: int
    row_steps: int
    queue_seconds: float
    compute_seconds: float


class Plan(Reply):
    """Plan's reply: `action` [rows, A...], `returns` [rows], and on request `plan` [rows, horizon, A...]."""

    __slots__ = ("settings", "stats")

    def __init__(self, tensors: dict[str, Array], committed_step_id: int, checkpoint: str, settings: PlannerSettings,
                 stats: PlanStats) -> None:
        super().__init__(tensors, committed_step_id, checkpoint)
        self.settings = settings
        self.stats = stats

    @property
    def plan(self) -> Array:
        """[rows, horizon, A...]: mean of the search's last iteration."""
        return self._get("plan")

    @property
    def plan_std(self) -> Array:
        """[rows, horizon, A...]: its deviation (the tensor "plan.std")."""
        return self._get("plan.std")


class Chunk(Reply):
    """Steps `first_step` and on of trajectories `first_trajectory` and on; tensors are [trajectories, steps, ...].

    Trajectory number = row of the selection * candidates + candidate.
    """

    __slots__ = ("first_step", "first_trajectory", "last", "steps", "trajectories")

    def __init__(self, tensors: dict[str, Array], committed_step_id: int, checkpoint: str, *, first_step: int, steps: int,
                 first_trajectory: int, trajectories: int, last: bool) -> None:
        super().__init__(tensors, committed_step_id, checkpoint)
        self.first_step, self.steps = first_step, steps
        self.first_trajectory, self.trajectories = first_trajectory, trajectories
        self.last = last


class Imagined(Reply):
    """Whole trajectories: every tensor [rows, candidates, steps, ...], "return" [rows, candidates]."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class State:
    """Everything of some rows that matters: set_state elsewhere goes on bit-identically. May be pickled.

    Attributes:
        tensors: latents "state.<part>", noise "noise.*", flags "row.*", the planner's warm start "warm_start.*".
        committed_step_id: where the session stood.
        checkpoint: "sha256:..." of the checkpoint; another one cannot go on from it.
        format, layout_hash, checksum: how the tensors are to be read, and that they are whole; the daemon's own.
    """

    tensors: Mapping[str, Array]
    committed_step_id: int
    checkpoint: str
    format: int
    layout_hash: str
    checksum: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session is and where it stands.

    Attributes:
        session_id: names it, for `client.attach`.
        label: for people.
        busy: a change of it is being made.
        model: "name@version".
        checkpoint: "sha256:...".
        rows: independent worlds.
        seed: key of its noise.
        committed_step_id: changes made so far.
        latent_mode, autoreset, horizon, history, ending, threshold, task, temperature, persist: as `client.open` has them;
            `horizon` and `history` in steps, 0 is none.
        ttl, time_left: seconds it lives without a request, all of them and those that are left.
        opened: Unix time in seconds.
        bytes: memory that it takes.
        ended_rows: rows that have ended and wait for a reset.
        observation_space, action_space: of one row.
        state, outputs: tensors of the latent, and all that may be asked for, without the dimension of rows.
        heads: what the model predicts: "reward", "continue", "observation", "value", "action".
        planning: the planner's settings where a plan names none.
        start: where rows start when reset, "initial", "file" or "state".
        start_count: recorded starts that the checkpoint has (start="file").
    """

    session_id: str
    label: str
    busy: bool
    model: str
    checkpoint: str
    rows: int
    seed: int
    committed_step_id: int
    latent_mode: str
    autoreset: str
    horizon: int
    history: int
    ttl: float
    time_left: float
    opened: float
    bytes: int
    ended_rows: tuple[int, ...]
    observation_space: gymnasium.Space[Any] | None
    action_space: gymnasium.Space[Any] | None
    state: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    heads: tuple[str, ...]
    planning: PlannerSettings
    ending: str
    threshold: float
    task: str
    temperature: float | None
    start: str
    start_count: int
    persist: bool


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One trained model. Spaces and what stands below them are empty in lists (`client.model` fills them).

    Attributes:
        name, version: it is hosted as "name@version".
        checkpoint: "sha256:...", of its bytes.
        family: its architecture: "rssm", "tdmpc2", "world_models".
        parameters: numbers in its weights.
        bytes: on disk.
        row_bytes: memory that a row of a session takes.
        loaded, loaded_bytes: whether its weights are in memory, and how much of it they take.
        sessions: that are open.
        created: Unix time in seconds.
        session_rows_max: rows that a session of it may have.
        observation_space, action_space: of one row.
        state, outputs: tensors of the latent, and all that may be asked for, without the dimension of rows.
        heads: what it predicts: "reward", "continue", "observation", "value", "action".
        planning: its planner's settings.
        manifest: manifest.json.
        card: what was measured, in Markdown.
        files: {name: bytes}, without the manifest.
        tasks: of a multi-task model.
    """

    name: str
    version: int
    checkpoint: str
    family: str
    parameters: int
    bytes: int
    row_bytes: int
    loaded: bool
    loaded_bytes: int
    sessions: int
    created: float
    session_rows_max: int
    observation_space: gymnasium.Space[Any] | None = None
    action_space: gymnasium.Space[Any] | None = None
    state: dict[str, TensorSpec] = field(default_factory=dict)
    outputs: dict[str, TensorSpec] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    planning: PlannerSettings = field(default_factory=PlannerSettings)
    manifest: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    files: dict[str, int] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """All versions of one name.

    Attributes:
        name: without a version.
        checkpoints: newest first.
        aliases: {alias: version}.
    """

    name: str
    checkpoints: tuple[Checkpoint, ...]
    aliases: dict[str, int]


@dataclass(frozen=True, slots=True)
class Registered:
    """`created` is False where the very same checkpoint was there before."""

    checkpoint: Checkpoint
    created: bool


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The daemon: what it is, allows and does.

    Attributes:
        address: where it was asked.
        version, commit, build: of the program: release, source, compiler and flags.
        instruction_set: what its kernels use: "plain", "avx2".
        precision: "float32".
        compute_threads: that compute.
        uptime: seconds since it started.
        libraries: {name: version}.
        limits: {name: number}, as registry.proto's Limits has them, in the units of their names; 0 is none of its own.
        sessions, rows, models_loaded: what it holds now.
        methods: that it answers, "dreamd.v1.Simulation/Step".
        state: "SERVING", "LOADING" or "DRAINING".
        families, planner_presets: that it knows.
        batches, batch_rows: computed since it started, and rows in them.
        http_address: host:port of /metrics and probes; "" where there is none.
    """

    address: str
    version: str
    commit: str
    build: str
    instruction_set: str
    precision: str
    compute_threads: int
    uptime: float
    libraries: dict[str, str]
    limits: dict[str, int]
    sessions: int
    rows: int
    models_loaded: int
    methods: tuple[str, ...]
    state: str
    families: tuple[str, ...]
    planner_presets: tuple[str, ...]
    batches: int
    batch_rows: int
    http_address: str
