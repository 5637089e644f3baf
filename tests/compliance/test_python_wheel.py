"""The wheel, installed as a user does into an environment of its own; what it depends on is shared to save minutes."""

import re
import shutil
import subprocess
import sys
import sysconfig

import pytest
from python_package import ROOT, zoo_daemon


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """bin/ of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "client/python", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
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


def test_the_first_example_of_the_readme_runs_from_the_wheel(installed, tmp_path):
    daemon = zoo_daemon(tmp_path / "daemon")
    text = re.search(r"```python\n(.*?)```", (ROOT / "client/python/README.md").read_text(), re.S).group(1)
    assert len(text.splitlines()) == 5
    code = text.replace("127.0.0.1:7733", daemon.address) + "print(dreamd.__file__)"
    done = subprocess.run([installed / "python", "-c", code], text=True, capture_output=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(installed.parent) in done.stdout.splitlines()[-1]
    assert re.match(r"\[-[\d.]+ ", done.stdout)
    daemon.stop()


def test_the_importer_is_a_command_and_types_are_declared(installed):
    done = subprocess.run([installed / "dreamd-import", "--help"], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and "dreamerv3-torch" in done.stdout
    code = "import dreamd, pathlib; print((pathlib.Path(dreamd.__file__).parent / 'py.typed').is_file())"
    assert subprocess.run([installed / "python", "-c", code], text=True, capture_output=True).stdout == "True\n"
