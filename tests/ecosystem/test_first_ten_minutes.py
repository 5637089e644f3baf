"""A newcomer's path: the commands of README.md's "First ten minutes", typed in a clean folder, and how long each takes."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def blocks():
    section = re.search(r"^## First ten minutes\n(.*?)^## ", (ROOT / "README.md").read_text(), re.S | re.M).group(1)
    return re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M)


class Run:
    """`make run` in the folder, until its daemon answers."""

    def __init__(self, folder, env):
        self.log = open(folder / "run.log", "wb")
        self.process = subprocess.Popen(["make", "run"], cwd=folder, env=env, stdout=self.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        host, port = env["DREAMD_LISTEN"].split(":")
        while True:
            assert self.process.poll() is None, (folder / "run.log").read_text()[-3000:]
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


@pytest.mark.timeout(2400)
def test_the_path_of_the_readme_from_clone_to_agent(tmp_path, capsys):
    folder = tmp_path / "dreamd"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    address = f"127.0.0.1:{free_port()}"
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "BUILD")}
    env |= {"DREAMD_LISTEN": address, "DREAMD_HTTP_LISTEN": f"127.0.0.1:{free_port()}", "DREAMD_ADDRESS": address}
    shown = []

    def measured(what, start):
        shown.append(f"measured: {what}: {time.monotonic() - start:.0f} s")

    began = start = time.monotonic()
    run = Run(folder, env)
    measured("make run, from a clone to an answer", start)
    try:
        assert len(blocks()) >= 4
        for block in blocks():
            start = time.monotonic()
            done = subprocess.run(["bash", "-ec", block], cwd=folder, env=env, capture_output=True, text=True, timeout=1800)
            assert done.returncode == 0, block + done.stdout[-2000:] + done.stderr[-2000:]
            measured(block.strip().splitlines()[-1][:70], start)
            if "ppo_in_a_dream" in block:
                assert float(re.search(r"mean_return (-?[\d.]+)", done.stdout).group(1)) >= -400
            if "dreamd.agent" in block:
                returns = re.findall(r"mean[_ ]return\D+(-?[\d.]+)", done.stdout)
                assert len(returns) >= 2, done.stdout
    finally:
        run.stop()
    measured("the first ten minutes, all together", began)
    with capsys.disabled():
        print("\n" + "\n".join(shown))
