"""A plugin package of somebody else, installed for the session into a folder of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
def mempost(example_package):
    """Run the command line in a subprocess that sees the example package."""

    def call(*arguments, cwd=None, plugins=True, popen=False):
        environment = {**os.environ, "PYTHONPATH": str(example_package) if plugins else ""}
        command = [sys.executable, "-m", "mempost.experiments.cli", *map(str, arguments)]
        start = subprocess.Popen if popen else subprocess.run
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return start(command, cwd=cwd, env=environment, preexec_fn=_hear_interrupts, **pipes)

    return call


@pytest.fixture
def spec(tmp_path):
    """A small spec on disk that uses the example package."""
    path = tmp_path / "rejection.yaml"
    path.write_text(SPEC)
    return path
