"""The wheel, installed as a user does into an environment of its own; what it depends on is shared to save minutes."""

import re
import shutil
import subprocess
import sys
import sysconfig

import pytest
from python_package import ROOT, ZOO


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """bin/ of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "client/python", folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder,
                    folder / "source"], check=True)
    wheel, = folder.glob("dreamd-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env/bin/python"
    site = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, text=True,
                          capture_output=True).stdout.strip()
    with open(f"{site}/shared.pth", "w") as file:
        file.write(sysconfig.get_path("purelib") + "\n")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel], check=True)
    return folder / "env/bin"


def test_the_first_example_of_the_readme_runs_from_the_wheel(installed, start_daemon, tmp_path):
    daemon = start_daemon("--zoo", ZOO)
    text = re.search(r"```python\n(.*?)```", (ROOT / "client/python/README.md").read_text(), re.S).group(1)
    assert len(text.splitlines()) == 5
    code = text.replace("127.0.0.1:7733", daemon.address) + "print(dreamd.__file__)"
    done = subprocess.run([installed / "python", "-c", code], text=True, capture_output=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(installed.parent) in done.stdout.splitlines()[-1]
    assert re.match(r"\[-[\d.]+ ", done.stdout)


def test_the_importer_is_a_command_and_types_are_declared(installed):
    done = subprocess.run([installed / "dreamd-import", "--help"], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and "dreamerv3-torch" in done.stdout
    code = "import dreamd, pathlib; print((pathlib.Path(dreamd.__file__).parent / 'py.typed').is_file())"
    assert subprocess.run([installed / "python", "-c", code], text=True, capture_output=True).stdout == "True\n"


def test_a_user_s_program_is_checked_by_the_types_of_the_wheel(installed, tmp_path):
    """mypy strict, as users run it: what is right passes, what is wrong is found."""
    right = """
import asyncio
from typing import assert_type
import dreamd

def block(client: dreamd.Client) -> None:
    with client.open("pendulum", rows=4, autoreset="same_step") as session:
        reply = session.step([[0.5]] * 4, outputs=["reward"])
        assert_type(reply.committed_step_id, int)
        session.plan(horizon=15, method="cem").stats.row_steps.bit_length()
        with client.interact() as stream:
            assert_type(stream.step(session, [[0.5]] * 4).result(), dreamd.Reply)
        for chunk in session.imagine_chunks(policy="random", horizon=3):
            assert_type(chunk, dreamd.Chunk)

async def wait(client: dreamd.aio.Client) -> None:
    async with client.open("pendulum") as session:
        assert_type(await session.plan(), dreamd.Plan)
        async with client.interact() as stream:
            assert_type(await stream.get_state(session), dreamd.State)

block(dreamd.connect())
asyncio.run(wait(dreamd.aio.connect(["a:1", "b:2"], save_every=8)))
"""
    wrong = """
import dreamd
with dreamd.connect().open("pendulum", autoreset="sometimes") as session:
    session.plan(horizons=3)
    session.step()
"""

    (tmp_path / "right.py").write_text(right)
    (tmp_path / "wrong.py").write_text(wrong)
    done = subprocess.run([installed / "python", "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "right.py", "wrong.py"],
                          cwd=tmp_path, text=True, capture_output=True, timeout=280)
    found = [line.split(":")[:2] for line in done.stdout.splitlines() if ": error:" in line]
    assert found == [["wrong.py", "3"], ["wrong.py", "4"], ["wrong.py", "5"]], done.stdout
