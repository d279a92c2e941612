"""Every method against what it claims: exact where it is, its own definition elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from lens_problems import CUBIC, ConstantStream, mixture, three_atoms
from scipy.stats import chi2, norm

from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.posteriors.linear_model import linear_model
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture
from mempost.plugins.samplers.daps import DAPS
from mempost.plugins.samplers.ddrm import DDRM
from mempost.plugins.samplers.diffpir import DiffPIR
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.mmps import MMPS
from mempost.plugins.samplers.pigdm import PiGDM
from mempost.plugins.samplers.tmpd import TMPD
from mempost.plugins.schedules.ve import VarianceExploding
from mempost.plugins.schedules.vp import VariancePreserving

A = torch.tensor([[1.0, 0.5, 0.0], [0.0, -0.4, 1.2]], dtype=torch.float64)
OFFSET = torch.tensor([0.3, -0.1], dtype=torch.float64)
Y = torch.tensor([1.2, -0.6], dtype=torch.float64)
GAMMA = 0.4
MEAN = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.3, 0.1], [0.3, 0.5, -0.1], [0.1, -0.1, 0.8]], dtype=torch.float64
)
Z = torch.linspace(-2, 2, 21, dtype=torch.float64).reshape(7, 3)
LEVELS = (NoiseLevel(0.95, 0.3), NoiseLevel(0.4, 0.9165), NoiseLevel(1.0, 3.0))
LINEAR_ONLY = (PiGDM(), TMPD(), MMPS(), DDRM(), DiffPIR())


def linear_problem(mean=MEAN, covariance=COVARIANCE) -> InverseProblem:
    prior = Gaussian(mean=mean, covariance=covariance).fit()
    return InverseProblem(prior, Linear(matrix=A, offset=OFFSET), GaussianNoise(GAMMA), Y)


def standard_problem() -> InverseProblem:
    return linear_problem(torch.zeros(3).double(), torch.eye(3, dtype=torch.float64))


def modes_problem() -> InverseProblem:
    prior = GaussianMixture(
        weights=[0.4, 0.6],
        means=[[-1.0, 0.5, 0.0], [1.5, -0.5, 0.3]],
        covariances=[[0.3, 0.2, 0.4], [0.5, 0.4, 0.1]],
    ).fit()
    return InverseProblem(prior, Linear(matrix=A, offset=OFFSET), GaussianNoise(GAMMA), Y)


def exact_score(mean, covariance, z, level):
    """grad log p(y | z_t) for a Gaussian prior: y given z_t is N(A E + b, A C A^T + gamma^2 I)."""
    a, s = level.a, level.s
    total = a**2 * covariance + s**2 * torch.eye(3, dtype=torch.float64)
    gain = a * covariance @ torch.linalg.inv(total)
    conditional = covariance - a * gain @ covariance
    y_covariance = A @ conditional @ A.T + GAMMA**2 * torch.eye(2, dtype=torch.float64)
    residual = Y - OFFSET - (mean + (z - a * mean) @ gain.T) @ A.T
    return residual @ torch.linalg.inv(y_covariance) @ A @ gain


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sampler", [TMPD(), MMPS(iterations=10, tolerance=1e-12)])
def test_tmpd_and_mmps_give_the_exact_score_of_a_gaussian_prior(sampler, level):
    problem = linear_problem()
    found = sampler.likelihood_score(problem, Denoised(problem.prior, Z, level))
    torch.testing.assert_close(
        found, exact_score(MEAN, COVARIANCE, Z, level), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("level", LEVELS)
def test_pigdm_gives_the_exact_score_of_a_standard_normal_prior(level):
    problem = standard_problem()
    exact = exact_score(torch.zeros(3).double(), torch.eye(3, dtype=torch.float64), Z, level)
    at = Denoised(problem.prior, Z, level)
    found = PiGDM(variance="unit_prior").likelihood_score(problem, at)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-10)
    other = PiGDM(variance="ratio").likelihood_score(problem, at)
    assert not torch.allclose(other, exact, rtol=0.02)


def test_pigdm_variances_are_those_of_the_literature():
    """1 - abar and (1 - abar)/abar for VP; sigma^2/(1 + sigma^2) and sigma^2 for VE."""
    problem = modes_problem()
    for schedule in (VariancePreserving(), VarianceExploding()):
        a, s = (float(x) for x in (schedule.level(0.4).a, schedule.level(0.4).s))
        level = NoiseLevel(a, s)
        vp = isinstance(schedule, VariancePreserving)
        expected = {
            "ratio": (1 - a**2) / a**2 if vp else s**2,
            "unit_prior": 1 - a**2 if vp else s**2 / (1 + s**2),
        }
        for variance, v in expected.items():
            jacobian = torch.autograd.functional.jacobian(
                lambda z, at=level: problem.prior.denoise(z[None], at)[0], Z[2]
            )
            mean = problem.prior.denoise(Z[2:3], NoiseLevel(a, s))[0]
            K = GAMMA**2 * torch.eye(2, dtype=torch.float64) + v * A @ A.T
            dense = jacobian.T @ A.T @ torch.linalg.solve(K, Y - OFFSET - A @ mean)
            at = Denoised(problem.prior, Z[2:3], NoiseLevel(a, s))
            found = PiGDM(variance=variance).likelihood_score(problem, at)[0]
            torch.testing.assert_close(found, dense, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("level", LEVELS)
def test_tmpd_is_its_dense_formula_and_mmps_converges_to_it(level):
    problem = modes_problem()
    at = Denoised(problem.prior, Z, level)
    tmpd = TMPD().likelihood_score(problem, at)
    for i in range(len(Z)):
        jacobian = torch.autograd.functional.jacobian(
            lambda z: problem.prior.denoise(z[None], level)[0], Z[i]
        )
        j_h = A @ jacobian  # of h(z) = A m(z) + b
        K = GAMMA**2 * torch.eye(2, dtype=torch.float64) + level.s**2 / level.a * j_h @ A.T
        dense = j_h.T @ torch.linalg.solve(K, Y - OFFSET - A @ at.mean[i])
        torch.testing.assert_close(tmpd[i], dense, rtol=1e-8, atol=1e-10)
    mmps = MMPS(iterations=10, tolerance=1e-12).likelihood_score(problem, at)
    torch.testing.assert_close(mmps, tmpd, rtol=1e-7, atol=1e-9)
    one = MMPS(iterations=1).likelihood_score(problem, at)
    assert not torch.allclose(one, tmpd, rtol=1e-3)


def test_sigma_and_zeta_dps_are_those_of_the_paper():
    problem, level = modes_problem(), NoiseLevel(0.8, 0.6)
    at = Denoised(problem.prior, Z, level)
    sigma = DPS(rule="gaussian").rule.likelihood_score(problem, at)
    zeta = DPS(rule={"type": "residual_norm", "zeta": 0.3}).rule.likelihood_score(problem, at)
    for i in range(len(Z)):
        jacobian = torch.autograd.functional.jacobian(
            lambda z: problem.prior.denoise(z[None], level)[0], Z[i]
        )
        residual = Y - OFFSET - A @ at.mean[i]
        dense = jacobian.T @ A.T @ residual / GAMMA**2
        torch.testing.assert_close(sigma[i], dense, rtol=1e-9, atol=1e-10)
        scaled = 2 * 0.3 / residual.norm() * dense
        torch.testing.assert_close(zeta[i], scaled, rtol=1e-9, atol=1e-10)


def _law_agrees(draws, mean, covariance, level=1e-4):
    """Mean by Hotelling's test, variances by their standard errors."""
    n, d = draws.shape
    difference = draws.mean(0) - mean
    statistic = n * difference @ torch.linalg.solve(covariance, difference)
    assert float(statistic) < chi2.isf(level, d)
    error = covariance.diagonal() * math.sqrt(2 / n)
    bound = norm.isf(level / d / 2) * error
    assert ((draws.var(0) - covariance.diagonal()).abs() < bound).all()


@pytest.mark.parametrize("name", ["tmpd", "mmps", "pigdm"])
def test_exact_methods_sample_the_analytic_posterior(name):
    """Heun's bias with 60 steps is far below the Monte-Carlo error of 8192 samples."""
    if name == "pigdm":
        problem = standard_problem()
        mean, covariance = torch.zeros(3).double(), torch.eye(3, dtype=torch.float64)
    else:
        problem, mean, covariance = linear_problem(), MEAN, COVARIANCE
    options = {"solver": "heun", "steps": 60, "t_min": 1e-3, "tile": 8192}
    sampler = {"tmpd": TMPD, "mmps": MMPS, "pigdm": PiGDM}[name](**options)
    draws = sampler.sample(problem, 8192, Streams(5, "sampling")).flat
    gain = (
        covariance
        @ A.T
        @ torch.linalg.inv(A @ covariance @ A.T + GAMMA**2 * torch.eye(2, dtype=torch.float64))
    )
    _law_agrees(draws, mean + gain @ (Y - OFFSET - A @ mean), covariance - gain @ A @ covariance)


@pytest.mark.parametrize("sampler", LINEAR_ONLY, ids=lambda s: type(s).__name__)
def test_methods_for_linear_operators_refuse_others_in_one_line(sampler):
    with pytest.raises(PluginError, match="linear operators, and Polynomial is not") as error:
        sampler.sample(three_atoms(-1.0, CUBIC), 1, Streams(0, "sampling"))
    assert "\n" not in str(error.value)
    sampler.check(three_atoms())


def test_the_linear_model_is_the_operator_and_its_update_is_dense_algebra():
    problem = linear_problem()
    model = linear_model(problem)
    torch.testing.assert_close(model.A, A / GAMMA)
    torch.testing.assert_close(model.residual(Z), problem.whitened_residual(Z))
    v = torch.linspace(0.1, 3, 7, dtype=torch.float64)[:, None]
    for i in range(7):
        K = v[i] * model.A @ model.A.T + torch.eye(2, dtype=torch.float64)
        dense = model.A.T @ torch.linalg.solve(K, model.residual(Z)[i])
        torch.testing.assert_close(model.update(Z, v)[i], dense, rtol=1e-10, atol=1e-12)


# -- DiffPIR ---------------------------------------------------------------------------------------


def test_diffpir_solves_the_proximal_problem():
    problem, sampler = modes_problem(), DiffPIR(strength=2.5, steps=10)
    step = sampler.reverse_steps[6]
    x = sampler.estimate(problem, Z, step, ConstantStream(0.0)).requires_grad_()
    mean = problem.prior.denoise(Z, step.level)
    v = step.level.s**2 / step.level.a**2
    data = (Y - OFFSET - x @ A.T).square().sum() / (2 * GAMMA**2)
    objective = data + 2.5 / (2 * v) * (x - mean).square().sum()
    gradient = torch.autograd.grad(objective, x)[0]
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)


def test_diffpir_without_new_noise_and_data_is_ddim():
    """For blind data the estimate is E[x | z_t], and eta = 0 keeps the old noise."""
    from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion

    prior = modes_problem().prior
    blind = InverseProblem(prior, Linear(matrix=A), GaussianNoise(1e9), Y)
    streams = Streams(2, "sampling")
    expected = ReverseDiffusion(steps=20).sample(blind, 32, streams).flat
    found = DiffPIR(steps=20, eta=0.0).sample(blind, 32, streams).flat
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_diffpir_has_the_law_of_its_own_recursion():
    """Gaussian prior, one datum: every step is affine in z, so mean and variance follow exactly."""
    m, v, y, gamma = 0.5, 0.6, 1.3, 0.25
    prior = Gaussian(mean=[m], covariance=v).fit()
    data = torch.tensor([y], dtype=torch.float64)
    problem = InverseProblem(prior, Identity(), GaussianNoise(gamma), data)
    sampler = DiffPIR(steps=25, eta=0.6, strength=0.8, tile=8192)
    first = sampler.reverse_steps[0].level
    mean, variance = first.a * m, first.a**2 * v + first.s**2
    for step in sampler.reverse_steps:
        a, s = step.level.a, step.level.s
        k = a * v / (a**2 * v + s**2)  # E[x | z] = m + k (z - a m)
        c = s**2 / a**2 / 0.8
        w = c / (c + gamma**2)
        slope, constant = (1 - w) * k, (1 - w) * (m - k * a * m) + w * y
        a2, s2 = step.next_level.a, step.next_level.s
        keep = math.sqrt(1 - 0.36) if not step.is_clean else 0.0
        scale = a2 * slope + s2 * keep * (1 - a * slope) / s
        mean = scale * mean + a2 * constant - s2 * keep * a * constant / s
        variance = scale**2 * variance + (0.6 * s2) ** 2
    draws = sampler.sample(problem, 8192, Streams(4, "sampling")).flat
    _law_agrees(draws, torch.tensor([mean]).double(), torch.tensor([[variance]]).double())


# -- DDRM ------------------------------------------------------------------------------------------


def test_ddrm_keeps_the_marginals_if_the_denoiser_knows_the_truth():
    """One atom: E[x | z_t] is the truth. Then z_t/a is N(truth, sigma^2 I) over noise and data."""
    truth = torch.tensor([[0.3, -0.7, 0.5]], dtype=torch.float64)
    matrix = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.02, 0.0]], dtype=torch.float64)
    prior = EmpiricalGMM(bandwidth=0.0).fit(truth)
    clean = (truth @ matrix.T)[0]
    sampler = DDRM(steps=20, eta=0.7, eta_b=0.8)
    gamma = 0.1
    regimes = set()
    for step in sampler.reverse_steps[:-1]:
        level, following = step.level, step.next_level
        sigma, sigma_next = level.s / level.a, following.s / following.a

        def u_next(z, e, noise, step=step, following=following):
            problem = InverseProblem(
                prior, Linear(matrix=matrix), GaussianNoise(gamma), clean + gamma * e
            )
            return sampler.move(problem, z, step, ConstantStream(noise))[0] / following.a

        zero = torch.zeros(2, dtype=torch.float64)
        start = level.a * truth
        still = u_next(start, zero, 0.0)
        torch.testing.assert_close(still, truth[0], rtol=1e-9, atol=1e-9)
        of_noise = u_next(start, zero, 1.0) - still
        of_data = u_next(start, zero + 1, 0.0) - still  # unit noise on each datum
        of_past = u_next(start + level.s, zero, 0.0) - still  # one standard deviation of z
        total = of_noise**2 + of_data**2 + of_past**2
        torch.testing.assert_close(
            total, torch.full((3,), sigma_next**2, dtype=torch.float64), rtol=1e-9, atol=0
        )
        assert float(of_data[2]) == 0 and float(of_past[:2].abs().max()) < 1e-9 * sigma
        regimes.add((sigma_next >= gamma / 2.0, sigma_next >= gamma / 0.02))
    assert regimes == {(True, True), (True, False), (False, False)}


def test_ddrm_does_not_depend_on_the_basis_of_the_data():
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    problem = modes_problem()
    turned = InverseProblem(
        problem.prior,
        Linear(matrix=turn @ A, offset=turn @ OFFSET),
        GaussianNoise(GAMMA),
        turn @ Y,
    )
    sampler, streams = DDRM(steps=15), Streams(3, "sampling")
    torch.testing.assert_close(
        sampler.sample(turned, 32, streams).values,
        sampler.sample(problem, 32, streams).values,
        rtol=1e-8,
        atol=1e-8,
    )


def test_ddrm_starts_around_the_data_where_they_are_strong():
    problem = InverseProblem(
        Gaussian(mean=[0.0], covariance=1.0).fit(),
        Identity(),
        GaussianNoise(0.1),
        torch.tensor([0.7], dtype=torch.float64),
    )
    sampler = DDRM(steps=10, schedule=VarianceExploding(sigma_max=5.0))
    streams = Streams(8, "sampling")
    u = torch.cat([sampler.init(problem, streams.at(k))["z"] for k in range(128)])
    _law_agrees(u, torch.tensor([0.7]).double(), torch.tensor([[25.0 - 0.01]]).double())


# -- DAPS ------------------------------------------------------------------------------------------


def test_daps_has_the_law_of_its_own_recursion_and_is_exact_for_small_steps():
    """Prior N(m, v), y = x + n: Langevin is affine, so mean and variance follow exactly."""
    m, v, y, gamma = 0.5, 0.6, 1.3, 0.25
    prior = Gaussian(mean=[m], covariance=v).fit()
    data = torch.tensor([y], dtype=torch.float64)
    problem = InverseProblem(prior, Identity(), GaussianNoise(gamma), data)
    posterior_variance = 1 / (1 / v + 1 / gamma**2)
    posterior_mean = posterior_variance * (m / v + y / gamma**2)

    def law(sampler: DAPS) -> tuple[float, float]:
        first = sampler.reverse_steps[0].level
        mean, variance = first.a * m, first.a**2 * v + first.s**2
        for step in sampler.reverse_steps:
            a, s = step.level.a, step.level.s
            k = a * v / (a**2 * v + s**2)
            precision = 1 / v + a**2 / s**2
            total = precision + 1 / gamma**2
            h = sampler.step_size / total
            slope, constant, noise = k, m - k * a * m, 0.0  # x as slope z + constant + noise
            centre = slope, constant
            for _ in range(sampler.langevin_steps):
                slope = (1 - h * total / 2) * slope + h / 2 * precision * centre[0]
                pull = precision * centre[1] + y / gamma**2
                constant = (1 - h * total / 2) * constant + h / 2 * pull
                noise = (1 - h * total / 2) ** 2 * noise + h
            mean = step.next_level.a * (slope * mean + constant)
            variance = step.next_level.a**2 * (slope**2 * variance + noise)
            variance += step.next_level.s**2
        return mean, variance

    sampler = DAPS(steps=12, langevin_steps=25, prior_variance=v, tile=8192)
    mean, variance = law(sampler)
    draws = sampler.sample(problem, 8192, Streams(6, "sampling")).flat
    _law_agrees(draws, torch.tensor([mean]).double(), torch.tensor([[variance]]).double())

    fine = DAPS(steps=12, langevin_steps=2000, step_size=0.01, prior_variance=v)
    mean, variance = law(fine)
    assert mean == pytest.approx(posterior_mean, rel=1e-3)
    assert variance == pytest.approx(posterior_variance, rel=0.004)


def test_daps_follows_the_flow_to_first_order():
    """The flow of N(m, v) ends at m + sqrt(v) (z - a m)/sqrt(a^2 v + s^2)."""
    m, v = 0.5, 0.6
    problem = InverseProblem(
        Gaussian(mean=[m], covariance=v).fit(),
        Identity(),
        GaussianNoise(1e9),
        torch.tensor([0.0], dtype=torch.float64),
    )
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    errors = []
    for count in (16, 32, 64):
        sampler = DAPS(steps=4, ode_steps=count, langevin_steps=1, step_size=1e-12)
        step = sampler.reverse_steps[2]
        a, s = step.level.a, step.level.s
        exact = m + math.sqrt(v) * (z - a * m) / math.sqrt(a**2 * v + s**2)
        found = sampler.estimate(problem, z, step, ConstantStream(0.0))
        errors.append(float((found - exact).abs().max()))
    assert 1.7 < errors[0] / errors[1] < 2.3 and 1.7 < errors[1] / errors[2] < 2.3


def test_daps_takes_nonlinear_maps():
    samples = DAPS(steps=8, gain=4.0).sample(three_atoms(-1.0, CUBIC), 32, Streams(0, "sampling"))
    assert bool(torch.isfinite(samples.values).all())


def test_methods_disagree_where_they_should():
    """On a multimodal prior no two of the scores coincide."""
    problem, level = mixture(), NoiseLevel(0.7, 0.714)
    z = torch.linspace(-1, 1.5, 6, dtype=torch.float64)[:, None]
    scores = [
        sampler.guide.likelihood_score(problem, Denoised(problem.prior, z, level))
        for sampler in (PiGDM(), PiGDM(variance="ratio"), TMPD(), DPS())
    ]
    for i, one in enumerate(scores):
        for other in scores[:i]:
            assert not torch.allclose(one, other, rtol=0.05)
