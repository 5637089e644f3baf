"""What `make install` puts where: programs that run from there, manual pages, completion."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("DREAMD_BUILD", "build")).resolve()

pytestmark = pytest.mark.skipif(bool(os.environ.get("DREAMD_SANITIZER")), reason="installs what a user builds")


def text_of(page):
    """A manual page as plain text; what the formatter complains about is a failure."""
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-P-cbou", page], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "deploy/man/make.py", BUILD, folder], check=True)
    return folder


@pytest.mark.parametrize("program", ["dreamd", "dreamctl"])
def test_the_page_has_every_command_and_every_option(pages, program):
    page = text_of(pages / f"{program}.1")
    overview = subprocess.run([BUILD / program, "--help"], capture_output=True, text=True).stdout
    commands = re.findall(r"^  ([a-z]+) {2,}\S", overview, re.M)
    assert len(commands) >= 3
    for command in commands:
        assert f"{program} {command}" in page
        text = subprocess.run([BUILD / program, command, "--help"], capture_output=True, text=True).stdout
        options = re.findall(r"^  (--[a-z-]+)", text, re.M)
        assert "--help" in options
        assert [option for option in options if option not in page] == []


@pytest.mark.parametrize("program", ["dreamd", "dreamctl"])
def test_help_teaches_by_examples_that_the_command_takes(program):
    overview = subprocess.run([BUILD / program, "--help"], capture_output=True, text=True).stdout
    assert re.search(rf"^  {program} [a-z]+", overview, re.M)
    for command in re.findall(r"^  ([a-z]+) {2,}\S", overview, re.M):
        text = subprocess.run([BUILD / program, command, "--help"], capture_output=True, text=True).stdout
        examples = re.findall(rf"^{program} {command}\b.*$", text, re.M)
        assert examples and text.startswith(examples[0])
        options = set(re.findall(r"^  (--[a-z-]+)", text, re.M))
        assert {option for example in examples for option in re.findall(r" (--[a-z-]+)", example)} <= options


def complete(path, *words):
    """What bash offers for the last of `words`."""
    listed = " ".join(f"'{word}'" for word in words)
    script = f"""
        source {ROOT}/deploy/completion/dreamd.bash
        COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _dreamd; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", **path})
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_what_the_daemon_has(daemon):
    there = {"DREAMD_ADDRESS": daemon.address}
    assert complete(there, "dreamctl", "mod") == ["models"]
    assert complete(there, "dreamd", "s") == ["serve"]
    assert "--outputs" in complete(there, "dreamctl", "step", "--")
    assert complete(there, "dreamd", "serve", "--data") == ["--data"]
    assert "open" in complete(there, "dreamctl", "session", "")
    assert complete(there, "dreamctl", "agent", "--model", "pend") == ["pendulum"]
    opened = subprocess.run([BUILD / "dreamctl", "session", "open", "--model", "pendulum", "--address", daemon.address],
                            capture_output=True, text=True, check=True).stdout.strip()
    assert complete(there, "dreamctl", "step", opened[:8]) == [opened]


def test_completion_is_silent_without_a_daemon():
    assert complete({"DREAMD_ADDRESS": "127.0.0.1:1"}, "dreamctl", "agent", "--model", "") == []


def test_what_is_installed_runs_from_there(tmp_path, start_daemon):
    subprocess.run(["make", "--no-print-directory", "-C", ROOT, "install", f"BUILD={BUILD}", f"DESTDIR={tmp_path}", "PREFIX=/usr"],
                   check=True, stdout=subprocess.DEVNULL, timeout=300)
    usr = tmp_path / "usr"
    for name in ("bin/dreamd", "bin/dreamctl", "include/dreamd.h", "lib/libdreamd.a", "share/man/man1/dreamd.1",
                 "share/bash-completion/completions/dreamctl", "share/dreamd/zoo/pendulum/manifest.json"):
        assert (usr / name).exists(), name
    daemon = start_daemon(program=usr / "bin/dreamd")
    listed = subprocess.run([usr / "bin/dreamctl", "models", "list", "--json", "--address", daemon.address],
                            capture_output=True, text=True, check=True).stdout
    assert "pendulum" in listed and "cartpole" in listed
