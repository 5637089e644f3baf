"""make bench: figures beside their peers, in turn, in one run; pass or miss beside each bar.

Absolute times belong to this machine and this hour; the ratios are what to keep. `--write` puts
the figures into SPEED.md between its markers.
"""

import argparse
import datetime
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import loads
import python_worlds

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHECKPOINT = ROOT / "models/zoo/pendulum"
ROUNDS, SECONDS = 5, 0.3
ONE_ROW_BAR, START_BAR_S, MEMORY_BAR_MIB = 4.0, 1.0, 64.0
QUANTUM_US, QUANTUM_COST_BAR = 250, 0.95


class Report:
    """Lines for the terminal and for SPEED.md, and how many bars were met."""

    def __init__(self):
        self.lines, self.met, self.missed = [], 0, 0

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def add(self, part):
        """Lines and bars of a report made apart; its lines were printed already."""
        self.lines += part.lines
        self.met, self.missed = self.met + part.met, self.missed + part.missed

    def bar(self, holds):
        self.met += holds
        self.missed += not holds
        return "pass" if holds else "MISS"


def real_time():
    """What puts a measurement before the machine's other work, where that is allowed."""
    command = ["chrt", "-f", "1"]
    try:
        return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


def bench(build, *names, before=(), **options):
    words = [f"--{key}={value}".split("=", 1) for key, value in options.items()]
    command = [*before, str(build / "bench"), "--json", *(part for word in words for part in word), *names]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    rows = [json.loads(line) for line in output.splitlines()]
    return rows[0] if len(rows) == 1 else rows


class TorchPeer:
    def __init__(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
        env.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        self.process = subprocess.Popen([sys.executable, "tests/bench/torch_peer.py", str(CHECKPOINT)], cwd=ROOT, env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self.process.stdout.readline().strip()

    def measure(self, verb, rows, seconds):
        self.process.stdin.write(f"{verb} {rows} {seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def engine(report, build):
    """Step, Observe and a decoder of 64 x 64 pictures beside PyTorch, measured by turns."""
    peaks = {}
    for name in ("peak/avx2", "peak/avx512"):
        try:
            peaks[name] = max(bench(build, name, seconds=0.2)["gflops"] for _ in range(3))
        except subprocess.CalledProcessError:
            continue
    peak_text = ", ".join(f"{name.removeprefix('peak/')} {value:.0f} GFLOP/s" for name, value in peaks.items())
    peer = TorchPeer()
    report.say(f"peak of one core by a loop of multiply-adds: {peak_text}; peer: PyTorch {peer.version}, one thread")
    report.say()
    report.say("| verb, rows | rows/s | GFLOP/s | of AVX2 peak | PyTorch rows/s | ratio | bar | allocations |")
    report.say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for verb in ("step", "observe", "decode"):
        for rows in (1, 16, 256, 1024) if verb != "decode" else (1, 16, 256):
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(bench(build, f"{verb}/rows_{rows}", checkpoint=CHECKPOINT, seconds=SECONDS))
                theirs.append(peer.measure(verb, rows, SECONDS))
            median = statistics.median(row["median_us"] for row in ours)
            other = statistics.median(theirs)
            ratio = other / median
            bar = ONE_ROW_BAR if rows == 1 and verb != "decode" else 1.0
            gflops = statistics.median(row["gflops"] for row in ours)
            share = f"{gflops / peaks['peak/avx2']:.0%}" if "peak/avx2" in peaks else "-"
            allocations = max(row["allocations"] for row in ours)
            report.say(f"| {verb} {rows} | {rows / median * 1e6:,.0f} | {gflops:.1f} | {share} | {rows / other * 1e6:,.0f} | "
                       f"{ratio:.2f} | {report.bar(ratio >= bar)} (>= {bar:.0f}) | {allocations} {report.bar(allocations == 0)} |")
    peer.close()
    report.say()
    linear = [bench(build, f"linear/384x384/rows_{rows}", seconds=0.2) for rows in (1, 16, 256, 1024)]
    report.say("linear layer 384 x 384: " + ", ".join(f"{row['name'].split('_')[-1]} rows {row['gflops']:.0f} GFLOP/s" for row in linear))


def queue(report, build):
    """One compute thread busy with a plan and a batch: what small Steps wait, and what quanta cost."""
    before = real_time()
    waits, costs = [], {"rows_uncut": [], "rows_cut": [], "rows_cut_and_steps": []}
    for _ in range(ROUNDS):
        waits.append(bench(build, "queue/step", before=before, checkpoint=CHECKPOINT, seconds=2))
        for name, list_ in costs.items():
            list_.append(bench(build, f"queue/{name}", before=before, checkpoint=CHECKPOINT, seconds=1)["median_us"])
    p50, p99 = (statistics.median(row[key] for row in waits) for key in ("median_us", "p99_us"))
    report.say()
    report.say(f"one compute thread, a plan of 1,000 x 12 and 1,024 rows, both without end, quanta of {QUANTUM_US} us"
               f"{', real-time priority' if before else ''}: a Step of one row waits {p50:.0f} us at the median, "
               f"{p99:.0f} us at the 99th percentile: {report.bar(p99 <= 2 * QUANTUM_US)} (<= {2 * QUANTUM_US})")
    for name, text in (("rows_cut", "cut into quanta"), ("rows_cut_and_steps", "cut, with Steps of one row between")):
        share = statistics.median(whole / cut for whole, cut in zip(costs["rows_uncut"], costs[name]))
        report.say(f"rows per second of processor time, {text}, of those in whole batches: {share:.1%}: "
                   f"{report.bar(share >= QUANTUM_COST_BAR)} (>= {QUANTUM_COST_BAR:.0%})")


def resident_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


class Daemon:
    """`dreamd serve` in a temporary folder on a free port, with the shipped models."""

    def __init__(self, build, folder, *options, before=()):
        endpoint = folder / "endpoint.json"
        start = time.monotonic()
        self.process = subprocess.Popen([*before, str(build / "dreamd"), "serve", "--data", str(folder / "data"), "--listen", "127.0.0.1:0",
                                         "--http-listen", "none", "--persist-sessions", "--endpoint-file", str(endpoint), *options], cwd=ROOT, stderr=subprocess.DEVNULL)
        while not endpoint.exists():
            if self.process.poll() is not None or time.monotonic() - start > 30:
                raise RuntimeError("dreamd serve did not start")
            time.sleep(0.002)
        where = json.loads(endpoint.read_text())
        self.address = f"{where['host']}:{where['port']}"
        while subprocess.run([str(build / "dreamctl"), "--address", self.address, "models", "show", "pendulum"],
                             capture_output=True).returncode:
            time.sleep(0.002)
        self.seconds = time.monotonic() - start

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def say_copies(report, copies):
    def both(what, say):
        return " and ".join(say(copies[f"{what}/rows_{rows}"]) for rows in (1, 1024))

    def time_of(row):
        return f"{row['median_us']:.0f} us"

    report.say(f"over loopback, one row and 1,024: Fork into a new session {both('fork', time_of)}; "
               f"GetState {both('get_state', time_of)} ({both('get_state', lambda row: format(row['bytes'], ',.0f'))} bytes); "
               f"Step that is on the disk before it is answered {both('kept_step', time_of)}")


def server(report, build):
    with tempfile.TemporaryDirectory(prefix="dreamd-bench-") as name:
        folder = pathlib.Path(name)
        first = Daemon(build, folder)
        first.close()
        daemon = Daemon(build, folder)
        bench(build, "rpc/step", address=daemon.address, seconds=0.1)  # the model is loaded now
        memory = resident_mib(daemon.process.pid)
        echo = subprocess.Popen([str(build / "bench"), "--echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        echo_address = echo.stdout.readline().strip()
        steps, echoes = [], []
        for _ in range(ROUNDS):
            steps.append(bench(build, "rpc/step", address=daemon.address, seconds=0.6))
            echoes.append(bench(build, "rpc/echo", address=echo_address, seconds=0.6))
        copies = {name: bench(build, name, address=daemon.address, seconds=0.6)
                  for what in ("fork", "get_state", "kept_step") for name in (f"{what}/rows_1", f"{what}/rows_1024")}
        echo.stdin.close()
        echo.wait()
        in_python = Report()
        python_worlds.worlds(in_python, daemon.address)
        daemon.close()
    middle = lambda rows, key: statistics.median(row[key] for row in rows)
    report.say()
    report.say("| one row over loopback | p50 us | p99 us |")
    report.say("| --- | --- | --- |")
    report.say(f"| unary Step | {middle(steps, 'median_us'):.1f} | {middle(steps, 'p99_us'):.1f} |")
    report.say(f"| bare nghttp2 echo | {middle(echoes, 'median_us'):.1f} | {middle(echoes, 'p99_us'):.1f} |")
    report.say(f"| ratio | {middle(steps, 'median_us') / middle(echoes, 'median_us'):.2f} | "
               f"{middle(steps, 'p99_us') / middle(echoes, 'p99_us'):.2f} |")
    report.say()
    say_copies(report, copies)
    report.say()
    report.say(f"start to ready: {first.seconds:.2f} s on an empty data folder, {daemon.seconds:.2f} s again: "
               f"{report.bar(max(first.seconds, daemon.seconds) <= START_BAR_S)} (<= {START_BAR_S:.0f} s)")
    report.say(f"resident with the zoo loaded: {memory:.1f} MiB: {report.bar(memory <= MEMORY_BAR_MIB)} (<= {MEMORY_BAR_MIB:.0f} MiB)")
    report.say()
    report.add(in_python)


def many_clients(report, build):
    state = json.loads((CHECKPOINT / "manifest.json").read_text())["config"]
    latent_bytes = 4 * (state["deter"] + state["stoch"] * state["classes"])
    with tempfile.TemporaryDirectory(prefix="dreamd-bench-") as name:
        def start(before, *options):
            return Daemon(build, pathlib.Path(name), *options, before=before)

        def run(*names, **options):
            return bench(build, *names, **options)

        loads.loads(report, run, start, resident_mib, CHECKPOINT, latent_bytes, real_time())


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return f"{model}, {os.cpu_count()} cores"


def write_into(path, lines):
    begin, end = "<!-- make bench: begin -->", "<!-- make bench: end -->"
    text = path.read_text()
    head, rest = text.split(begin)
    path.write_text(head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--write", action="store_true", help="put the figures into SPEED.md")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    report = Report()
    report.say(f"{datetime.date.today()}, commit {commit}, {machine()}, load {os.getloadavg()[0]:.1f}; `make bench`")
    report.say()
    engine(report, build)
    queue(report, build)
    server(report, build)
    many_clients(report, build)
    report.say()
    report.say(f"bars: {report.met} met, {report.missed} missed")
    if arguments.write:
        write_into(ROOT / "SPEED.md", report.lines)


if __name__ == "__main__":
    main()
