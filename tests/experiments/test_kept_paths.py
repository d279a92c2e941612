"""Paths that are kept survive a kill: the same command goes on to the same bits."""

import json
import subprocess
import sys

import pytest
import torch

import mempost

DIES = """
import json, os, sys
import mempost
from mempost.experiments.drawing import Draws

draw, done = Draws.draw, []

def dying(self, *arguments):
    if len(done) == int(sys.argv[3]):
        os._exit(9)
    done.append(draw(self, *arguments))
    return done[-1]

Draws.draw = dying
mempost.run(json.loads(sys.argv[1]), out=sys.argv[2])
"""
SPEC = {
    "title": "Paths to three atoms",
    "seed": 5,
    "data": {"type": "regular_polygon", "n": 3},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.0},
    "operator": "identity",
    "noise": {"std": 0.5},
    "observation": {"values": [0.3, 0.2]},
    "samplers": {
        "noisy": {
            "type": "pigdm",
            "solver": "euler_maruyama",
            "steps": 12,
            "save": {"dense": 6},
        },
        "adaptive": {
            "type": "guided",
            "guidance": "tmpd",
            "solver": "dormand_prince",
            "save": {"sigmas": [1.0, 0.1]},
        },
    },
    "samples": 70,
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return mempost.run(SPEC, out=tmp_path_factory.mktemp("straight") / "out").results


@pytest.mark.parametrize("tiles", [2, 5])  # of three a run: within the first, within the second
def test_a_killed_run_keeps_the_same_paths(straight, tmp_path, tiles):
    command = [sys.executable, "-c", DIES, json.dumps(SPEC), str(tmp_path / "out"), str(tiles)]
    assert subprocess.run(command, check=False).returncode == 9
    assert len(list(tmp_path.glob("out/runs/*/tiles/*.safetensors"))) == 2
    resumed = mempost.run(SPEC, out=tmp_path / "out")
    assert resumed.ok
    for before, after in zip(straight, resumed.results, strict=True):
        kept, again = before.samples.trajectory, after.samples.trajectory
        assert kept.z.shape == (1, 70, len(kept), 2)
        for name, tensor in kept.tensors().items():
            assert torch.equal(tensor, again.tensors()[name]), (before.key, name)
        assert torch.equal(before.samples.values, after.samples.values)
