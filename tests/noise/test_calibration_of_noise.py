"""Posteriors are calibrated under noise of every kind, and a wrong covariance is seen not to be."""

import math

import numpy as np
import pytest
import torch
from noise_problems import covariance, linear_problem, numbers

import mempost
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.statistics.uniformity import anderson_darling
from mempost.plugins.noises.gaussian import Gaussian
from mempost.plugins.operators.linear import Linear
from mempost.plugins.samplers.exact_lgm import ExactLGM

TRUTHS = 200


def ranks(problem, assumed):
    """P(x_0 < truth | y) for data of ``problem``, by the posterior of ``assumed``."""
    truths = problem.prior.sample(TRUTHS, Streams(0, "truth"))
    found = []
    for i, x in enumerate(truths):
        f = problem.forward(x[None])[0]
        y = problem.observe(f, Streams(0, "noise").at(tile=i))
        posterior = ExactLGM().posterior(assumed.with_data(y))
        found.append(posterior.marginal(0).cdf(x[:1]))
    return torch.cat(found)


@pytest.mark.parametrize("complex_data", [False, True], ids=["real", "complex"])
def test_the_exact_posterior_is_calibrated(complex_data):
    """Five data of x_0 share an error; taken for independent they say too much."""
    shared = np.full(5, (0.8 + 0.6j) if complex_data else 1.0)
    C = 0.05 * np.eye(5) + np.outer(shared, shared.conj())
    operator = Linear(matrix=np.outer(shared, [1.0, 0.0, 0.2]))
    problem, wrong = (
        InverseProblem(p.prior, operator, p.noise, p.y)
        for p in (
            linear_problem(cov, 5, complex_data, missing=(1,)) for cov in (C, np.diag(np.diag(C)))
        )
    )
    assert float(anderson_darling(ranks(problem, problem)[None])[1]) > 1e-4
    assert float(anderson_darling(ranks(problem, wrong)[None])[1]) < 1e-6


def test_draws_of_the_noise_have_its_covariance():
    for complex_data in (False, True):
        C, n = covariance(4, complex_data), 20_000
        law = Gaussian(covariance=C).resolve(torch.from_numpy(numbers(0, 4)) + 0 * C[0, 0])
        f = torch.zeros(n, 4, dtype=torch.complex128 if complex_data else torch.float64)
        e = law.perturb(f, Streams(0, "noise").at()).numpy()
        scale = np.sqrt(np.outer(np.diag(C), np.diag(C)).real)
        found = e.T @ e.conj() / n
        assert (np.abs(found - C) / scale).max() < 7 * math.sqrt(2 / n)
        if complex_data:  # circular
            assert (np.abs(e.T @ e / n) / scale).max() < 7 * math.sqrt(2 / n)


SPEC = {
    "title": "calibration of a law",
    "seed": 5,
    "prior": {
        "type": "gaussian_mixture",
        "weights": [1, 1],
        "means": [[2], [4]],
        "covariances": [0.6, 0.6],
    },
    "operator": {"type": "linear", "matrix": [[1], [1], [2]]},
    "calibration": {"truths": 160},
    "samples": 15,
    "metrics": [{"type": "sbc", "quantities": {"log_likelihood": True}}, {"type": "coverage"}],
}
LAWS = {
    "correlated": ({"covariance": covariance(3).tolist()}, [1.0, None, 2.0], "exact_lgm"),
    "student_t": ({"type": "student_t", "scale": [0.5, 1.0, 0.2]}, [1.0, None, 2.0], "quadrature"),
    "poisson": ({"type": "poisson", "background": 5.0}, [4.0, 5.0, None], "quadrature"),
}


@pytest.mark.parametrize("name", LAWS)
def test_simulation_based_calibration_passes(name, tmp_path):
    noise, values, sampler = LAWS[name]
    spec = {**SPEC, "noise": noise, "observation": {"values": values}}
    study = mempost.run({**spec, "samplers": {"exact": sampler}}, out=tmp_path)
    assert study.ok, study.rows
    (row,) = study.rows
    assert row["sbc_p"] > 1e-3 and row["sbc_folded_p"] > 1e-3
    data = study.results[0].samples.data
    missing = values.index(None)
    assert bool(data[:, missing].isnan().all()) and int(data.isnan().sum()) == len(data)
