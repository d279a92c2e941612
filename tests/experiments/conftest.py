"""A plugin package of somebody else, installed for the session into a folder of its own."""

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mempost.experiments import cli

TESTS = Path(__file__).parent.parent
SPEC = """
title: rejection
seed: 3
data: {type: points, values: [[-1.5], [-0.4], [0.4], [1.2], [2.5]]}
prior: {type: normal_fit}
operator: {type: sine, amplitude: 2.0}
noise: {std: 0.1}
observation: {values: [0.5]}
samplers:
  rejection: {type: rejection}
samples: 100
sweep: {noise.std: [0.3, 0.1]}
metrics: [{type: moments}]
"""


@pytest.fixture(scope="session")
def example_package(tmp_path_factory):
    """The folder into which tests/example_package is installed."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, str(TESTS / "example_package")]
    subprocess.run(command, check=True, capture_output=True)
    return target


def _hear_interrupts():
    """What a shell starts in the background ignores SIGINT, and its children would too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shell(example_package):
    """Run the command line in a subprocess that sees the example package."""

    def call(*arguments, popen=False):
        environment = {**os.environ, "PYTHONPATH": str(example_package)}
        command = [sys.executable, "-m", "mempost.experiments.cli", *map(str, arguments)]
        start = subprocess.Popen if popen else subprocess.run
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return start(command, env=environment, preexec_fn=_hear_interrupts, **pipes)

    return call


@pytest.fixture
def mempost(example_package, seeing, capsys, monkeypatch):
    """The same in this process, which saves the seconds that a new one imports for."""

    def call(*arguments, package=example_package):
        """``package`` is None to do without one."""
        folders = [] if package is None else [package]
        with seeing(*folders), monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", ["mempost", *map(str, arguments)])
            capsys.readouterr()
            try:
                cli.main()
                code = 0
            except SystemExit as exit_:
                code = exit_.code or 0
            said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return call


@pytest.fixture
def spec(tmp_path):
    """A small spec on disk that uses the example package."""
    path = tmp_path / "rejection.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="session")
def finished(shell, tmp_path_factory):
    """What a study of this spec has left, run once by the shell; nothing is written to it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "rejection.yaml").write_text(SPEC)
    done = shell("run", folder / "rejection.yaml", "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture
def out(finished, tmp_path):
    """A copy of that folder."""
    return Path(shutil.copytree(finished, tmp_path / "out"))
