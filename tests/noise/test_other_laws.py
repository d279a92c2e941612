"""Noise that is not Gaussian: right densities, right posteriors, one line from who cannot."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from noise_problems import numbers

from mempost.core.denoised import Denoised
from mempost.core.errors import NonFiniteError, PluginError, SpecError
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.plugins.noises.gaussian import Gaussian as GaussianRecipe
from mempost.plugins.noises.poisson import Poisson
from mempost.plugins.noises.student_t import StudentT
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture
from mempost.plugins.samplers.quadrature import Quadrature

DOUBLE = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=DOUBLE)


def counts(mean=3.0, background=0.5):
    """Three counts of x + 1/2 under N(mean, 1)."""
    prior = Gaussian(mean=[mean], covariance=[1.0]).fit(None)
    operator = Linear(matrix=[[1.0], [1.0], [1.0]])
    return InverseProblem(prior, operator, Poisson(background=background), tensor(4, 2, 5))


def outlier(y=9.0, noise=None):
    """Two data that agree and one that does not, under a mixture of two Gaussians."""
    prior = GaussianMixture(weights=[0.5, 0.5], means=[[1.0], [3.0]], covariances=[[0.7], [0.7]])
    operator = Linear(matrix=[[1.0], [1.0], [1.0]])
    law = noise or StudentT(scale=[0.5, 0.7, 0.5], nu=2.0)
    return InverseProblem(prior.fit(None), operator, law, tensor(3, 2, y))


# -- densities ----------------------------------------------------------------------------------


def test_densities_are_those_of_scipy():
    y, f = tensor(4, 0, 6), torch.from_numpy(np.abs(numbers(0, 5, 3)) + 0.2)
    gain, background = np.array([2.0, 1.0, 0.5]), 0.3
    found = Poisson(gain=gain, background=background).resolve(y).log_density(y, f)
    rates = (f.numpy() + background) / gain
    expected = scipy.stats.poisson.logpmf(y.numpy() / gain, rates).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    scale = np.array([0.2, 1.0, 3.0])
    found = StudentT(scale=scale, nu=1.7).resolve(y).log_density(y, f)
    expected = scipy.stats.t.logpdf(y.numpy(), 1.7, f.numpy(), scale).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_complex_data_have_two_parts_of_student_t():
    y = torch.from_numpy(numbers(0, 3, complex_data=True))
    f = torch.from_numpy(numbers(1, 3, complex_data=True))
    found = StudentT(scale=0.8, nu=3.0).resolve(y).log_density(y, f)
    parts = np.stack([(y - f).real, (y - f).imag])
    expected = scipy.stats.t.logpdf(parts, 3.0, 0, 0.8 / math.sqrt(2)).sum()
    assert float(found) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(SpecError, match="type: Poisson is for real data"):
        Poisson().resolve(y)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ((2.5, 1.0), "datum 0 is 2.5; allowed are counts from 0 times the gain, which is 2"),
        ((4.0, -3.0), "datum 1 is -3"),
        ((4.0, 4.0), "datum 1 is 4; allowed are counts from 0 times the gain, which is 3"),
    ],
)
def test_what_is_no_count_is_refused(y, said):
    prior = Gaussian(mean=[3.0], covariance=[1.0]).fit(None)
    with pytest.raises(SpecError, match=said) as caught:
        InverseProblem(prior, Linear(matrix=[[1.0], [1.0]]), Poisson(gain=[2, 3]), tensor(*y))
    assert "\n" not in str(caught.value)


def test_a_negative_rate_gives_no_data():
    with pytest.raises(SpecError, match=r"should not be negative, found -0\.5; give a larger"):
        Poisson(background=0.5).perturb(tensor(-1.0, 2.0), Streams(0, "noise").at())


# -- posteriors ---------------------------------------------------------------------------------

PROBLEMS = {
    "poisson": counts,
    "poisson at the edge": lambda: counts(mean=0.0),  # half of the prior makes data impossible
    "student_t": outlier,
}


def moments(problem):
    """Mean and standard deviation by SciPy's adaptive quadrature."""

    def p(x):
        return float(problem.log_density(tensor([x])).exp())

    places = [-0.5, 1.0, 2.0, 3.0, 4.0]
    z, m, s = (
        scipy.integrate.quad(lambda x, k=k: x**k * p(x), -8, 12, points=places, epsabs=1e-13)[0]
        for k in range(3)
    )
    return m / z, math.sqrt(s / z - (m / z) ** 2)


@pytest.mark.parametrize("name", PROBLEMS)
def test_quadrature_is_that_of_scipy(name):
    problem = PROBLEMS[name]()
    posterior = Quadrature(tolerance=1e-10).posterior(problem)
    mean, std = moments(problem)
    assert float(posterior.mean()) == pytest.approx(mean, abs=1e-5)
    assert float(posterior.std()) == pytest.approx(std, abs=1e-5)


EXACT = {
    "mala": {"warmup": 150, "draws": 1, "thin": 50, "tile": 512},
    "pcn": {"warmup": 300, "draws": 1, "thin": 200, "tile": 512},
    "smc": {"particles": 512},
    "importance": {"proposal": {"type": "quadrature"}, "population": 512},
}


def sampler(name, hyper):
    return REGISTRIES["sampler"].get(name).model_validate(hyper)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", EXACT)
def test_exact_samplers_draw_the_posterior(name, method):
    problem, n = PROBLEMS[name](), 512
    method_ = sampler(method, EXACT[method])
    try:
        method_.check(problem)
    except PluginError:
        assert method == "pcn" and name == "student_t"  # its prior is a mixture
        return
    x = method_.sample(problem, n, Streams(3, "sampling")).flat[:, 0].sort().values
    grid = Quadrature().posterior(problem)
    cdf = torch.from_numpy(
        np.interp(x, grid.nodes[:, 0], grid.node_weights.cumsum(0) - grid.node_weights / 2)
    )
    steps = torch.arange(n + 1) / n
    distance = max(float((cdf - steps[:-1]).abs().max()), float((steps[1:] - cdf).abs().max()))
    assert distance < math.sqrt(math.log(2 / 1e-6) / (2 * n))  # Dvoretzky, Kiefer & Wolfowitz


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_finite_sample_posterior_is_weighted_by_any_likelihood(name):
    problem = PROBLEMS[name]()
    x = problem.prior.sample(400, Streams(0, "truth"))
    atoms = InverseProblem(
        EmpiricalGMM(bandwidth=0.0).fit(x), problem.operator, problem.noise, problem.y
    )
    weights = sampler("finite_sample_weights", {}).posterior(atoms).weights
    likelihoods = torch.stack([problem.log_likelihood(row[None])[0] for row in x]).exp()
    torch.testing.assert_close(weights, likelihoods / likelihoods.sum())
    assert (weights == 0).any() == (name == "poisson at the edge")
    draws = sampler("finite_sample", {"steps": 100}).sample(atoms, 256, Streams(1, "sampling"))
    error = float(draws.flat.mean() - weights @ x[:, 0])
    spread = float((weights @ (x[:, 0] - weights @ x[:, 0]) ** 2).sqrt())
    assert abs(error) < 5 * spread / 16


def test_data_that_no_example_explains_are_named():
    prior = EmpiricalGMM(bandwidth=0.0).fit(tensor([-3.0], [-2.0]))
    problem = InverseProblem(prior, Linear(matrix=[[1.0]]), Poisson(), tensor(4))
    for name in ("finite_sample_weights", "finite_sample"):
        with pytest.raises(NonFiniteError, match="every log p"):
            sampler(name, {}).sample(problem, 4, Streams(0, "sampling"))


def test_ula_steps_by_the_curvature_of_the_noise():
    """The default step follows the noise: its bias stays of the order of 0.2 lambda h."""
    for make in (counts, outlier):
        problem = make()
        x = sampler("ula", {"warmup": 200, "draws": 1, "tile": 512}).sample(
            problem, 512, Streams(0, "sampling")
        )
        mean, std = moments(problem)
        assert float(x.flat.mean()) == pytest.approx(mean, abs=5 * std / math.sqrt(512) + 0.1 * std)
        assert 0.9 * std < float(x.flat.std()) < 1.3 * std


# -- guidance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("noise", [StudentT(scale=0.5), Poisson(background=30.0)], ids=repr)
def test_the_gaussian_rule_follows_the_gradient_of_any_likelihood(noise, missing):
    prior = outlier().prior
    operator = Polynomial(coefficients=[1.0, 1.0, 0.3])
    y = tensor(3.0)
    problem = InverseProblem(prior, operator, noise, y)
    if missing:
        operator = Linear(matrix=[[1.0], [2.0]])
        law = noise.resolve(tensor(3, 2)).without(torch.tensor([False, True]))
        problem = InverseProblem(prior, operator, law, tensor(3, math.nan))
    z, level = torch.linspace(-1, 4, 6).double()[:, None], NoiseLevel(0.8, 0.6)
    rule = REGISTRIES["guidance"].get("gaussian")()
    found = rule.likelihood_score(problem, Denoised(prior, z, level))
    u = z.clone().requires_grad_()
    log_p = problem.log_likelihood(prior.denoise(u, level)).sum()
    torch.testing.assert_close(found, torch.autograd.grad(log_p, u)[0], rtol=1e-10, atol=1e-10)
    residual, ascent = problem.likelihood_ascent(z)
    torch.testing.assert_close(ascent, problem.log_likelihood_gradient(z)[1])
    assert residual.shape == (6, 1)


def test_an_outlier_is_forgiven_and_by_a_gaussian_it_is_not():
    """As a datum goes to infinity, Student's t makes of it what a missing one is."""
    law = outlier().noise.without(torch.tensor([False, False, True]))
    two = InverseProblem(outlier().prior, outlier().operator, law, tensor(3, 2, math.nan))
    without = float(Quadrature().posterior(two).mean())
    means = [float(Quadrature().posterior(outlier(y)).mean()) for y in (9.0, 1e2, 1e4)]
    errors = [abs(mean - without) for mean in means]
    assert errors[0] > 5 * errors[1] > 100 * errors[2] and errors[2] < 1e-4
    gaussian = outlier(100.0, GaussianRecipe(std=[0.5, 0.7, 0.5]))
    assert float(Quadrature().posterior(gaussian).mean()) > 30


# -- who cannot ---------------------------------------------------------------------------------

NEED = {
    **{name: {} for name in ("exact_lgm", "tmpd", "mmps", "pigdm", "ddrm", "diffpir", "daps")},
    **{name: {} for name in ("gauss_newton_dps", "annealed_langevin", "guided", "importance")},
    "mala": {"preconditioner": "gauss_newton"},
    "ula": {"preconditioner": "gauss_newton"},
}


@pytest.mark.parametrize("name", NEED)
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
def test_who_needs_gaussian_noise_says_so_in_one_line(name, missing):
    problem = counts()
    if missing:
        law = problem.noise.without(torch.tensor([True, False, False]))
        problem = InverseProblem(problem.prior, problem.operator, law, problem.y)
    with pytest.raises(
        PluginError, match="needs a Gaussian law of the noise, and Poisson has"
    ) as e:
        sampler(name, NEED[name]).check(problem)
    assert "\n" not in str(e.value) and " take" in str(e.value)


TAKE = {"reverse_diffusion", "finite_sample", "finite_sample_weights", "quadrature", "pcn", "smc"}


def test_every_sampler_is_one_or_the_other():
    both = {"dps", "mala", "ula"}  # by their rule, by their preconditioner
    ours = {
        name
        for name in REGISTRIES["sampler"].names
        if REGISTRIES["sampler"].entry(name).distribution == "mempost"
    }
    assert ours - {"distorted"} == set(NEED) | TAKE | both
