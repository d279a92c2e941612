"""Every sampler agrees with itself on the same problem whitened by hand: W y = W F(x) + N(0, I).

W is L^-1 for the Cholesky factor L of the covariance of the data that are there, by NumPy.
"""

import numpy as np
import pytest
import torch
from noise_problems import covariance, numbers

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.plugins.noises.gaussian import Gaussian as GaussianRecipe
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture

M, MISSING = 4, 2
MIXTURE = GaussianMixture(
    weights=[0.6, 0.4],
    means=[[-0.9, 0.2], [0.7, 0.9]],
    covariances=[[[0.5, 0.1], [0.1, 0.6]], [[1.0, -0.4], [-0.4, 0.7]]],
)
ONE = Gaussian(mean=[0.2, -0.1], covariance=[[0.8, 0.3], [0.3, 0.5]])
SHORT = {"warmup": 20, "draws": 2, "thin": 2}
SAMPLERS = {
    "pigdm": {"type": "pigdm", "steps": 8},
    "tmpd": {"type": "tmpd", "steps": 8},
    "mmps": {"type": "mmps", "steps": 8},
    "gauss_newton_dps": {"type": "gauss_newton_dps", "steps": 8},
    "gauss_newton, jacobian": {"type": "gauss_newton_dps", "steps": 8, "linearisation": "jacobian"},
    "dps": {"type": "dps", "steps": 100, "rule": "gaussian"},
    "unit_gradient": {"type": "dps", "rule": "unit_gradient", "steps": 8},
    "ddrm": {"type": "ddrm", "steps": 8},
    "diffpir": {"type": "diffpir", "steps": 8},
    "daps": {"type": "daps", "steps": 8},
    "annealed_langevin": {"type": "annealed_langevin", "levels": 5, "steps_per_level": 5},
    "ula": {"type": "ula", **SHORT},
    "mala": {"type": "mala", **SHORT},
    "mala, preconditioned": {"type": "mala", "preconditioner": "gauss_newton", **SHORT},
    "pcn": {"type": "pcn", **SHORT},
    "smc": {"type": "smc", "particles": 64},
    "importance": {"type": "importance", "population": 64},
    "finite_sample": {"type": "finite_sample", "atoms": 50, "steps": 8},
    "finite_sample_weights": {"type": "finite_sample_weights"},
    "quadrature": {"type": "quadrature"},
    "exact_lgm": {"type": "exact_lgm"},
}


def sampler(hyper):
    hyper = dict(hyper)
    return REGISTRIES["sampler"].get(hyper.pop("type"))(**hyper)


def problems(complex_data, prior):
    """A problem with correlated noise and a missing datum, the one by hand, and gamma."""
    C = covariance(M, complex_data)
    G, c = numbers(1, M, 2, complex_data=complex_data), numbers(2, M, complex_data=complex_data)
    y = numbers(3, M, complex_data=complex_data)
    gone = np.arange(M) == MISSING
    law = GaussianRecipe(covariance=C).resolve(torch.from_numpy(y)).without(torch.from_numpy(gone))
    seen = torch.from_numpy(np.where(gone, np.nan, y))
    problem = InverseProblem(prior, Linear(matrix=G, offset=c), law, seen)
    W = np.linalg.inv(np.linalg.cholesky(C[np.ix_(~gone, ~gone)]))
    by_hand = InverseProblem(
        prior,
        Linear(matrix=W @ G[~gone], offset=W @ c[~gone]),
        GaussianNoise(1.0, complex=complex_data),
        torch.from_numpy(W @ y[~gone]),
    )
    return problem, by_hand, law.std


def draws(hyper, problem):
    return sampler(hyper).sample(problem, 32, Streams(0, "sampling")).values


def agree(found, expected):
    assert torch.isfinite(expected).all() and float(expected.std()) > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("complex_data", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_see_whitened_data(name, complex_data):
    data = torch.from_numpy(numbers(6, 20, 2))
    examples = EmpiricalGMM(bandwidth=0.3).fit(data)
    priors = {"pcn": ONE.fit(None), "finite_sample_weights": examples}
    prior = priors.get(name) or MIXTURE.fit(None)
    problem, by_hand, _ = problems(complex_data, prior)
    agree(draws(SAMPLERS[name], problem), draws(SAMPLERS[name], by_hand))


@pytest.mark.parametrize(
    ("hyper", "field", "power"),
    [
        ({"type": "dps", "rule": {"type": "residual_norm", "zeta": 0.2}, "steps": 50}, "zeta", -1),
        ({"type": "dps", "rule": {"type": "published", "zeta": 0.1}, "steps": 50}, "zeta", 1),
        ({"type": "daps", "steps": 8, "gain": 3.0}, "gain", -1),
        ({"type": "annealed_langevin", "levels": 5, "gain": 3.0}, "gain", -1),
    ],
    ids=["residual_norm", "published", "daps with a gain", "annealed_langevin with a gain"],
)
def test_what_is_in_units_of_the_data_is_in_units_of_the_most_accurate_one(hyper, field, power):
    """Hyper-parameters in the units of data without noise: of the components, gamma W y."""
    problem, by_hand, gamma = problems(False, MIXTURE.fit(None))
    scaled = {**hyper, "rule": dict(hyper["rule"])} if "rule" in hyper else dict(hyper)
    place = scaled["rule"] if "rule" in hyper else scaled
    place[field] = place[field] * gamma**power
    agree(draws(hyper, problem), draws(scaled, by_hand))


def test_no_sampler_is_left_out():
    covered = {hyper["type"] for hyper in SAMPLERS.values()}
    without = {"reverse_diffusion", "guided", "distorted"}  # no data; compositions of others
    ours = {
        name
        for name in REGISTRIES["sampler"].names
        if REGISTRIES["sampler"].entry(name).distribution == "mempost"
    }
    assert covered == ours - without
