"""What the daemon does for many clients, beside its bare engine and beside a server written in Python.

The server has one processor and one compute thread, the clients (build/bench load/...) another. Each
load is measured at the engine, at dreamd and at grpcio_server.py by turns.
"""

import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROUNDS, SECONDS = 5, 1.5
LARGE_BAR, STREAM_BAR, PYTHON_BAR = 0.90, 0.45, 10
IDLE_SESSIONS, IDLE_BAR_GIB = 100_000, 2.0
# name, title, share of the bare engine that it must reach, whether its steps are of one row
LOADS = [("load/rows_1024", "1 session of 1,024 rows, unary", LARGE_BAR, False),
         ("load/stream", "1,024 sessions of one row, one stream", STREAM_BAR, True),
         ("load/clients_64", "64 connections of one row, unary", None, True)]


def on(processor):
    """Words before a command that keep it on one processor, where there are several."""
    return ["taskset", "-c", str(processor)] if os.cpu_count() > 1 else []


class Python:
    def __init__(self, checkpoint, before):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen([*before, sys.executable, "tests/bench/grpcio_server.py", str(checkpoint)], cwd=ROOT,
                                        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(run, daemon, python, checkpoint, before):
    """For each load the rows of `bench`, by who was measured, a list of ROUNDS."""
    seen = {name: {"engine": [], "dreamd": [], "python": []} for name, *_ in LOADS}
    for _ in range(ROUNDS):
        for name, *_ in LOADS:
            parts = {"engine": run("step/rows_256", before=[*before, *on(0)], checkpoint=checkpoint, seconds=0.5)}
            for who, server in (("dreamd", daemon), ("python", python)):
                parts[who] = run(name, before=[*before, *on(1)], address=server.address, pid=server.process.pid,
                                 seconds=SECONDS if who == "dreamd" else 1.0)
            for who, row in parts.items():
                seen[name][who].append(row)
    return seen


def middle(rows, key):
    return statistics.median(row[key] for row in rows)


def ratio(ones, others, key="rows_per_second"):
    return statistics.median(one[key] / other[key] for one, other in zip(ones, others))


def say_loads(report, seen):
    report.say("| load, one processor for the server | rows/s | of the bare engine | bar | server us a row | p50, p99 us | "
               "Python's grpcio and PyTorch | times as many | bar |")
    report.say("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, title, share_bar, is_small in LOADS:
        ours, theirs = seen[name]["dreamd"], seen[name]["python"]
        share, times = ratio(ours, seen[name]["engine"]), ratio(ours, theirs)
        share_text = f"{report.bar(share >= share_bar)} (>= {share_bar:.0%})" if share_bar else "-"
        times_text = f"{report.bar(times >= PYTHON_BAR)} (>= {PYTHON_BAR})" if is_small else "-"
        latency = "-" if name == "load/stream" else f"{middle(ours, 'median_us'):,.0f}, {middle(ours, 'p99_us'):,.0f}"
        report.say(f"| {title} | {middle(ours, 'rows_per_second'):,.0f} | {share:.0%} | {share_text} | "
                   f"{middle(ours, 'server_us_per_row'):.1f} | {latency} | {middle(theirs, 'rows_per_second'):,.0f} | "
                   f"{times:.1f} | {times_text} |")
    engine = middle([row for name in seen for row in seen[name]["engine"]], "median_us") / 256
    report.say()
    report.say(f"the bare engine takes {engine:.2f} us a row in batches of 256")


def say_idle(report, run, daemon, resident_mib, latent_bytes):
    """Sessions that are there and do nothing, and the same after a Step of each, with its reply kept."""
    before = resident_mib(daemon.process.pid)
    run("load/idle", address=daemon.address, sessions=IDLE_SESSIONS)
    idle = resident_mib(daemon.process.pid)
    run("load/stepped", address=daemon.address, sessions=IDLE_SESSIONS // 10)
    stepped = resident_mib(daemon.process.pid)
    each = (idle - before) * 2**20 / IDLE_SESSIONS
    moved = (stepped - idle) * 2**20 / (IDLE_SESSIONS // 10)
    report.say(f"{IDLE_SESSIONS:,} idle sessions of one row: {idle / 1024:.2f} GiB resident: "
               f"{report.bar(idle / 1024 <= IDLE_BAR_GIB)} (<= {IDLE_BAR_GIB:.0f} GiB); {each:,.0f} bytes each, {each - latent_bytes:,.0f} "
               f"beyond the latent; {moved:,.0f} once it was stepped (a second latent to write into, the reply for repeats)")


def loads(report, run, start_daemon, resident_mib, checkpoint, latent_bytes, before):
    """`run` is run.py's bench(); `start_daemon(before, *options)` starts one."""
    daemon = start_daemon([*before, *on(0)], "--compute-threads", "1", "--sessions-max", str(2 * IDLE_SESSIONS),
                          "--session-bytes-max", "8GiB")
    python = Python(checkpoint, [*before, *on(0)])
    report.say()
    say_loads(report, measure(run, daemon, python, checkpoint, before))
    python.close()
    report.say()
    say_idle(report, run, daemon, resident_mib, latent_bytes)
    daemon.close()
