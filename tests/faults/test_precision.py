"""Precision: spreads that the data leave small keep their digits, and what cannot be is refused."""

import re

import numpy as np
import pytest
import torch

import mempost
from mempost.core.errors import PluginError, SpecError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.experiments.run import check, load
from mempost.methods.chains.preconditioner import GaussNewton
from mempost.methods.mixtures.full_mixture import FullMixture
from mempost.methods.posteriors.gaussian_update import GaussianUpdate
from mempost.plugins.operators.linear import Linear
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights

SINGLE, DOUBLE = torch.float32, torch.float64


def normal(*shape, seed=0):
    return Streams(seed, "data").at().normal(shape)


def spec(std, dtype="float32", truth=(0.7, 0.2)):
    return {
        "title": "spread",
        "dtype": dtype,
        "prior": {"type": "gaussian", "mean": [0, 0], "covariance": [1, 1]},
        "operator": {"type": "mask", "shape": [2], "keep": [0]},
        "noise": {"std": std},
        "observation": {"truth": {"type": "values", "values": list(truth)}},
        "samplers": {"exact": {"type": "exact_lgm"}},
        "samples": 2000,
        "metrics": [{"type": "moments"}, {"type": "truth_error"}],
    }


@pytest.mark.parametrize(
    ("dtype", "std"), [("float32", 1e-3), ("float32", 1e-4), ("float32", 1e-6), ("float64", 1e-8)]
)
def test_the_spread_of_fewer_data_than_unknowns(dtype, std, tmp_path):
    """s / sqrt(1 + s^2), in the closed form, in quantiles and in the draws."""
    study = mempost.run(spec(std, dtype), out=tmp_path / "out")
    right = std / np.sqrt(1 + std**2)
    row, posterior = study.rows[0], study.results[0].posterior
    rounding = {"float32": 1e-6, "float64": 1e-14}[dtype]
    assert row["std_0"] == pytest.approx(right, rel=rounding)
    assert row["std_1"] == pytest.approx(1, rel=rounding)
    assert "z_rms" in row
    assert float(posterior.covariance()[0, 0]) == pytest.approx(right**2, rel=4 * rounding)
    low, high = posterior.credible_intervals(0.95)
    width, eps = 2 * 1.959964 * right, float(np.finfo(dtype).eps)  # ends are numbers near 0.7
    assert float(high[0] - low[0]) == pytest.approx(width, rel=1e-5, abs=4 * eps)
    drawn = float(study.results[0].samples.flat[:, 0].std())
    assert drawn == pytest.approx(right, rel=4 / np.sqrt(4000) + eps / right)


@pytest.mark.parametrize(("m", "d"), [(3, 8), (8, 3)])
def test_variances_of_many_scales_against_extended_precision(m, d):
    """Singular values from 1 to 1e7 in directions of no coordinate."""
    u, v = (torch.linalg.qr(normal(n, n, seed=n)).Q for n in (m, d))
    p = min(m, d)
    s = torch.logspace(0, 7, p, dtype=DOUBLE)
    a = u[:, :p] * s @ v[:, :p].T
    update = GaussianUpdate.of(a[None])
    for vector in (*v.T, torch.eye(d)[0].double()):
        found = float(update.root(vector[None, :, None]).square().sum())
        share = (v[:, :p].T @ vector).numpy().astype(np.longdouble)
        rest = (v[:, p:].T @ vector).numpy().astype(np.longdouble)
        right = float((share**2 / (1 + s.numpy().astype(np.longdouble) ** 2)).sum() + rest @ rest)
        # rounding of A turns directions by 1e-16 |A| = 1e-9, whose squares are mixed in
        assert found == pytest.approx(right, rel=1e-9, abs=10 * 1e-18)
    assert float(update.log_det) == pytest.approx(float(torch.log1p(s**2).sum()), abs=1e-8)


class Stretched(ForwardOperator):
    """Singular values 1e4 and 1, slightly curved: m = d = 2, by statistics."""

    def forward(self, x):
        rotation = torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=x.dtype)
        u = x @ rotation.T
        return torch.stack([1e4 * u[:, 0], u[:, 1] + 1e-3 * u[:, 1] ** 2], 1)


def both(operator, prior, std, y):
    """The same problem in single and in double precision, y as single precision holds it."""
    y = y.to(SINGLE)
    return (
        InverseProblem(prior.to(dtype=dtype), operator, GaussianNoise(std), y.to(dtype))
        for dtype in (SINGLE, DOUBLE)
    )


def test_statistics_are_not_squared_in_single_precision():
    means = torch.tensor([[0.5, -0.25], [-0.5, 0.75], [0.25, 0.5]]).double()
    prior = FullMixture(torch.ones(3).double() / 3, means, torch.ones(3, 2).double())
    y = torch.tensor([2500.0, 0.25])
    single, double = (ExactLGM().posterior(p) for p in both(Stretched(), prior, 1.0, y))
    torch.testing.assert_close(single.std().double(), double.std(), rtol=1e-4, atol=0)
    torch.testing.assert_close(single.weights.double(), double.weights, rtol=1e-3, atol=1e-6)
    index = torch.arange(3)
    found, right = (p.component_covariances(index).double() for p in (single, double))
    assert torch.linalg.eigvalsh(found)[:, 0].tolist() == pytest.approx(
        torch.linalg.eigvalsh(right)[:, 0].tolist(), abs=1e-7
    )


def test_a_preconditioner_of_stiff_data_in_single_precision():
    matrix = torch.diag(torch.tensor([1e4, 1e4, 0.0])).double() @ torch.linalg.qr(normal(3, 3)).Q
    prior = FullMixture(
        torch.ones(1).double(), torch.zeros(1, 3).double(), torch.ones(1, 3).double()
    )
    operator = Linear(matrix=matrix.numpy())
    single, double = (
        GaussNewton().factor(p, torch.zeros(1, 3, dtype=p.prior.dtype)).double()
        for p in both(operator, prior, 1.0, torch.zeros(3))
    )
    found, right = single @ single.mT, double @ double.mT
    torch.testing.assert_close(found, right, rtol=0, atol=1e-6)


def test_a_covariance_of_many_scales_is_learned_in_double_precision():
    """Eigenvalues 1 and 1e-8 of float32 data; the smaller one is not rounding."""
    rotation = torch.tensor([[0.6, -0.8], [0.8, 0.6]]).double()
    x = normal(2000, 2) * torch.tensor([1.0, 1e-4]).double() @ rotation.T
    fitted = REGISTRIES["prior"].get("gaussian")().fit(x.float())
    found = fitted.eigenvalues[0]
    assert found.dtype == SINGLE
    right = torch.linalg.eigvalsh(torch.cov(x.float().double().T))
    torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=0)


def test_weights_of_large_misfits_in_single_precision():
    """Two examples of misfits near 1e7 nats, half a nat apart."""
    m = 4000
    base = normal(m) * 70
    x = torch.stack([base, -base]).to(SINGLE)
    x[1, 0] -= 1 / base[0].abs() * base[0].sign()
    prior = REGISTRIES["prior"].get("empirical_gmm")(bandwidth=0.0)
    identity = REGISTRIES["operator"].get("identity")()
    y = torch.zeros(m, dtype=SINGLE)
    problem = InverseProblem(prior.fit(x), identity, GaussianNoise(1.0), y)
    found = FiniteSampleWeights().posterior(problem).log_weights
    square = x.double().square().sum(1) / 2
    assert float(square[0]) > 5e6
    torch.testing.assert_close(found.double(), torch.log_softmax(-square, 0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("std", "dtype"), [(1e-9, "float32"), (1e-17, "float64")])
def test_noise_below_the_rounding_of_its_data_is_refused(std, dtype, tmp_path):
    said = rf"noise: data of up to 0\.7 are rounded to .* in {dtype}"
    row = mempost.run(spec(std, dtype), out=tmp_path / "out").rows[0]
    assert row["status"] == "failed" and re.search(said, row["reason"])
    given = {**spec(std, dtype), "observation": {"values": [0.7]}}
    with pytest.raises(SpecError, match=said):
        check(load(given)[0], "spec")


def test_draws_that_rounding_makes_equal_are_refused():
    """The data are near zero and the posterior is not: it lies at 1000, 1e-5 wide."""
    prior = FullMixture(*(torch.tensor(v) for v in ([1.0], [[1000.0]], [[1.0]])))
    operator = Linear(matrix=[[1.0]], offset=[-1000.0])
    problem = InverseProblem(prior, operator, GaussianNoise(1e-5), torch.zeros(1))
    posterior = ExactLGM().posterior(problem)
    assert float(posterior.std()) == pytest.approx(1e-5, rel=1e-5)
    with pytest.raises(PluginError, match=r"coordinate 0 has a standard deviation of .*float32"):
        posterior.sample(8, Streams(0, "sampling"))
    atoms = InverseProblem(
        REGISTRIES["prior"].get("empirical_gmm")(bandwidth=0.0).fit(torch.ones(2, 1)),
        operator,
        GaussianNoise(1000.0),
        torch.zeros(1),
    )
    assert bool((ExactLGM().posterior(atoms).sample(8, Streams(0, "sampling")) == 1).all())
