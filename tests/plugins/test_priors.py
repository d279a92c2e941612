"""Closed-form priors against independent formulas, autograd, quadrature and high precision."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mempost.core.errors import PluginError
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.prior import FittedPrior
from mempost.core.streams import Streams
from mempost.methods.mixtures import kernel_mixture
from mempost.methods.mixtures.full_mixture import FullMixture
from mempost.methods.mixtures.kernel_mixture import KernelMixture
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture

D = 3
LEVELS = [NoiseLevel(1.0, 0.5), NoiseLevel(0.6, 0.8), NoiseLevel(0.99, 0.05)]


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _spd(k: int, d: int, seed: int = 1) -> torch.Tensor:
    root = _random(k, d, d, seed=seed)
    return root @ root.mT / d + 0.1 * torch.eye(d, dtype=torch.float64)


def _priors() -> dict[str, FittedPrior]:
    data = _random(7, D)
    return {
        "kernel": EmpiricalGMM(bandwidth=0.3).fit(data),
        "weighted": KernelMixture(data, 0.2, torch.softmax(_random(7, seed=5), 0)),
        "learned": Gaussian().fit(data),
        "gaussian": Gaussian(mean=[1.0, -2.0, 0.5], covariance=_spd(1, D)[0]).fit(),
        "diagonal": GaussianMixture(
            weights=[1, 3], means=_random(2, D), covariances=[[0.1, 0.2, 0.3], [1.0, 0.5, 0.2]]
        ).fit(),
        "isotropic": GaussianMixture(means=_random(2, D), covariances=[0.1, 0.4]).fit(),
        "full": GaussianMixture(means=_random(4, D, seed=9), covariances=_spd(4, D)).fit(),
    }


PRIORS = _priors()
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS.keys())
every_level = pytest.mark.parametrize("level", LEVELS, ids=lambda level: f"{level.a},{level.s}")


def _dense(prior: FittedPrior) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances (K, d, d), from the factors."""
    k, d = prior.means.shape
    factors = prior.factor_product(torch.arange(k), torch.eye(d, dtype=prior.dtype).expand(k, d, d))
    return prior.weights.numpy(), prior.means.numpy(), (factors @ factors.mT).numpy()


def _dense_answers(
    prior: FittedPrior, z: np.ndarray, a: float, s: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """log p(z), E[x|z] and Cov[x|z] by dense Gaussian conditioning of every component."""
    log_terms, means, covariances = [], [], []
    for w, m, c in zip(*_dense(prior)):
        marginal = a**2 * c + s**2 * np.eye(len(m))
        r = z - a * m
        quadratic = r @ np.linalg.solve(marginal, r)
        log_det = np.linalg.slogdet(2 * np.pi * marginal)[1]
        log_terms.append(np.log(w) - 0.5 * (quadratic + log_det))
        gain = a * np.linalg.solve(marginal, c).T
        means.append(m + gain @ r)
        covariances.append(c - a * gain @ c)
    top = max(log_terms)
    w = np.exp(np.array(log_terms) - top)
    log_p, w = top + np.log(w.sum()), w / w.sum()
    mean = w @ np.array(means)
    between = np.array(means) - mean
    within = np.einsum("k,kij->ij", w, np.array(covariances))
    return log_p, mean, within + np.einsum("k,ki,kj->ij", w, between, between)


@every_prior
@every_level
def test_answers_equal_dense_conditioning(prior: FittedPrior, level: NoiseLevel) -> None:
    z = 1.5 * _random(5, D, seed=3)
    density, mean = prior.log_density(z, level), prior.denoise(z, level)
    products = [
        prior.at(z, level).covariance_product(e.expand_as(z)) for e in torch.eye(D).double()
    ]
    covariance = torch.stack(products, -1)
    for i in range(len(z)):
        expected = _dense_answers(prior, z[i].numpy(), level.a, level.s)
        np.testing.assert_allclose(density[i], expected[0], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(mean[i], expected[1], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(covariance[i], expected[2], rtol=1e-10, atol=1e-11)


@every_prior
@pytest.mark.parametrize("level", [CLEAN, *LEVELS], ids=lambda level: f"{level.a},{level.s}")
def test_score_is_the_gradient_of_the_log_density(prior: FittedPrior, level: NoiseLevel) -> None:
    z = _random(6, D, seed=4).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_density(z, level).sum(), z)
    torch.testing.assert_close(prior.score(z, level), gradient, rtol=1e-10, atol=1e-10)


@every_prior
@every_level
def test_tweedie(prior: FittedPrior, level: NoiseLevel) -> None:
    z = _random(6, D, seed=4)
    a, s = level.columns(z)
    expected = (a * prior.denoise(z, level) - z) / s**2
    torch.testing.assert_close(prior.score(z, level), expected, rtol=1e-9, atol=1e-9)
    # second order: Cov[x | z] v = (s^2 / a) (dD/dz)^T v, by automatic differentiation
    v = _random(6, D, seed=8)
    _, pullback = torch.func.vjp(lambda u: prior.denoise(u, level), z)
    torch.testing.assert_close(
        prior.at(z, level).covariance_product(v), s**2 / a * pullback(v)[0], rtol=1e-9, atol=1e-10
    )
    torch.testing.assert_close(prior.at(z, level).vjp(v), pullback(v)[0], rtol=1e-9, atol=1e-9)


@every_prior
def test_levels_per_sample(prior: FittedPrior) -> None:
    z, v = _random(3, D, seed=4), _random(3, D, seed=5)
    a, s = (torch.tensor([getattr(level, k) for level in LEVELS]).double() for k in ("a", "s"))

    def answers(z: torch.Tensor, level: NoiseLevel, v: torch.Tensor) -> list[torch.Tensor]:
        return [
            prior.denoise(z, level),
            prior.score(z, level),
            prior.log_density(z, level),
            prior.responsibilities(z, level),
            prior.at(z, level).covariance_product(v),
            prior.at(z, level).vjp(v),
        ]

    together = answers(z, NoiseLevel(a, s), v)
    for i in range(len(LEVELS)):
        alone = answers(z[i : i + 1], NoiseLevel(float(a[i]), float(s[i])), v[i : i + 1])
        for rows, row in zip(together, alone):
            torch.testing.assert_close(rows[i], row[0], rtol=1e-11, atol=1e-12)


@every_prior
def test_transforms(prior: FittedPrior) -> None:
    """vjp, jvp, vmap and a Jacobian agree with plain autograd."""
    level, z, v = LEVELS[1], _random(4, D, seed=2), _random(4, D, seed=3)

    def one(z: torch.Tensor) -> torch.Tensor:
        return prior.denoise(z[None], level)[0]

    rows = torch.func.vmap(one)(z)
    torch.testing.assert_close(rows, prior.denoise(z, level), rtol=1e-12, atol=1e-12)
    jacobians = torch.func.vmap(torch.func.jacrev(one))(z)
    forward = torch.func.vmap(torch.func.jacfwd(one))(z)
    torch.testing.assert_close(jacobians, forward, rtol=1e-11, atol=1e-11)
    pulled = torch.einsum("bij,bi->bj", jacobians, v)
    torch.testing.assert_close(prior.at(z, level).vjp(v), pulled, rtol=1e-10, atol=1e-11)
    scales = torch.func.vmap(lambda z, s: prior.denoise(z[None], NoiseLevel(0.6, s))[0])(
        z, torch.full((4,), 0.8, dtype=torch.float64)
    )
    torch.testing.assert_close(scales, rows, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: prior.denoise(z, level), z.requires_grad_())


@pytest.mark.parametrize("level", [CLEAN, *LEVELS], ids=lambda level: f"{level.a},{level.s}")
@pytest.mark.parametrize(
    "prior",
    [
        EmpiricalGMM(bandwidth=0.05).fit(_random(4, 1)),
        GaussianMixture(weights=[1, 2], means=[[-1.0], [2.0]], covariances=[0.01, 0.5]).fit(),
    ],
    ids=["kernel", "full"],
)
def test_densities_integrate_to_one(prior: FittedPrior, level: NoiseLevel) -> None:
    x = torch.linspace(-12, 12, 20001, dtype=torch.float64)[:, None]
    total = torch.trapezoid(prior.log_density(x, level).exp(), x[:, 0])
    assert abs(float(total) - 1) < 1e-9
    parts = torch.trapezoid(prior.component_log_densities(x, level).exp(), x[:, 0], dim=0)
    torch.testing.assert_close(parts, prior.weights, rtol=1e-9, atol=1e-9)


@every_prior
def test_small_and_large_noise(prior: FittedPrior) -> None:
    z = _random(5, D, seed=6)
    nearly_clean = prior.denoise(z, NoiseLevel(1.0, 1e-7))
    torch.testing.assert_close(nearly_clean, z, rtol=0, atol=1e-10)
    mean = (prior.weights @ prior.means).expand_as(z)
    torch.testing.assert_close(prior.denoise(z, NoiseLevel(1.0, 1e5)), mean, rtol=0, atol=1e-8)


def test_atoms_at_vanishing_noise_denoise_to_the_nearest() -> None:
    data, z = _random(50, D), _random(20, D, seed=6)
    prior = EmpiricalGMM(bandwidth=0.0).fit(data)
    nearest = data[torch.cdist(z, data).argmin(-1)]
    torch.testing.assert_close(prior.denoise(z, NoiseLevel(1.0, 1e-6)), nearest, rtol=0, atol=0)


def test_atoms_have_no_density() -> None:
    prior = EmpiricalGMM(bandwidth=0.0).fit(_random(5, D))
    z = _random(2, D, seed=3)
    for method in (prior.log_density, prior.score, prior.denoise, prior.responsibilities):
        with pytest.raises(PluginError, match="bandwidth 0 leaves atoms"):
            method(z, CLEAN)
    with pytest.raises(PluginError, match="no inverse"):
        prior.factor_solve(torch.tensor([0]), z[:1, :, None])
    draws = prior.sample(40, Streams(0, "sampling"))
    assert (draws[:, None] == prior.means).all(-1).any(-1).all()


def test_a_learned_gaussian_with_few_examples_is_singular() -> None:
    prior = Gaussian().fit(_random(3, 5))
    assert int((prior.eigenvalues > 0).sum()) == 2
    with pytest.raises(PluginError, match="singular covariance"):
        prior.log_density(_random(2, 5))
    assert torch.isfinite(prior.denoise(_random(2, 5), NoiseLevel(1.0, 0.1))).all()
    with pytest.raises(PluginError, match="two examples"):
        Gaussian().fit(_random(1, 2))


def test_a_learned_gaussian_has_the_moments_of_the_data() -> None:
    data = _random(40, 2, 2)
    prior = Gaussian().fit(data)
    assert prior.shape == (2, 2)
    _, mean, covariance = _dense(prior)
    np.testing.assert_allclose(mean[0], data.flatten(1).numpy().mean(0), atol=1e-13)
    np.testing.assert_allclose(covariance[0], np.cov(data.flatten(1).numpy().T), atol=1e-13)


@every_prior
def test_draws_have_the_moments_of_the_mixture(prior: FittedPrior) -> None:
    n = 20_000
    x = prior.sample(n, Streams(3, "sampling"))
    weights, means, covariances = _dense(prior)
    mean = weights @ means
    between = means - mean
    covariance = np.einsum("k,kij->ij", weights, covariances) + (weights * between.T) @ between
    standard_error = np.sqrt(np.diag(covariance) / n)
    assert (np.abs(x.mean(0).numpy() - mean) < 4.5 * standard_error).all()
    centred = x.numpy() - mean
    products = centred[:, :, None] * centred[:, None, :]
    assert (np.abs(products.mean(0) - covariance) < 4.5 * products.std(0) / math.sqrt(n)).all()
    again = prior.sample(50, Streams(3, "sampling"))
    assert torch.equal(again, x[:50])


def test_draws_visit_components_by_their_weights() -> None:
    weights = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    prior = KernelMixture(10 * torch.arange(4.0).double()[:, None], 0.1, weights)
    n = 10_000
    counts = torch.bincount((prior.sample(n, Streams(1, "sampling"))[:, 0] / 10).round().long())
    chi_square = float(((counts - n * weights) ** 2 / (n * weights)).sum())
    assert chi_square < 16.3  # 99.9 % point of chi^2 with 3 degrees of freedom


@every_prior
def test_factors(prior: FittedPrior) -> None:
    index = torch.tensor([0, len(prior.weights) - 1])
    v = _random(2, D, 4, seed=7)
    _, _, covariances = _dense(prior)
    product = prior.factor_product(index, prior.factor_product(index, v, transpose=True))
    np.testing.assert_allclose(product, covariances[index] @ v.numpy(), rtol=1e-11, atol=1e-12)
    diagonals = covariances[index].diagonal(axis1=1, axis2=2)
    np.testing.assert_allclose(prior.component_variances(index), diagonals, rtol=1e-12)
    solved, log_det = prior.factor_solve(index, prior.factor_product(index, v))
    torch.testing.assert_close(solved, v, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(log_det, 0.5 * np.linalg.slogdet(covariances[index])[1], rtol=1e-10)


@every_prior
def test_state_round_trip_and_precision(prior: FittedPrior) -> None:
    z = _random(4, D, seed=3)
    again = type(prior).from_state(prior.state())
    assert torch.equal(again.denoise(z, LEVELS[0]), prior.denoise(z, LEVELS[0]))
    assert again.shape == prior.shape
    single = prior.to(dtype=torch.float32)
    assert single.dtype == torch.float32 and single.weights.dtype == torch.float32
    low = single.denoise(z.float(), LEVELS[0])
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), prior.denoise(z, LEVELS[0]), rtol=1e-5, atol=1e-5)
    assert single.log_density(z.float(), LEVELS[0]).dtype == torch.float32
    assert single.sample(3, Streams(0, "sampling")).dtype == torch.float32


@every_prior
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_do_not_depend_on_the_batch(prior: FittedPrior, dtype: torch.dtype) -> None:
    prior, z = prior.to(dtype=dtype), _random(40, D, seed=3).to(dtype)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    for level in [*LEVELS, NoiseLevel(1.0, 1e-3), NoiseLevel(0.3, 1.0)]:
        together = prior.denoise(z, level)
        alone = torch.cat([prior.denoise(row, level) for row in z.split(1)])
        torch.testing.assert_close(together, alone, rtol=tolerance, atol=tolerance)


# -- rounding and blocks of the kernel mixture ------------------------------------------------


def _mp_answers(
    data: np.ndarray, z: np.ndarray, a: float, s: float, h: float
) -> tuple[list[float], list[float]]:
    """Weights and denoiser in 60 digits, at exactly the numbers given."""
    with mpmath.workdps(60):
        a, s, h = mpmath.mpf(a), mpmath.mpf(s), mpmath.mpf(h)
        v = a**2 * h**2 + s**2
        x = [[mpmath.mpf(float(c)) for c in row] for row in data]
        y = [mpmath.mpf(float(c)) for c in z]
        logits = [-sum((p - a * q) ** 2 for p, q in zip(y, row)) / (2 * v) for row in x]
        top = max(logits)
        w = [mpmath.exp(logit - top) for logit in logits]
        total = sum(w)
        w = [value / total for value in w]
        mean = [sum(p * row[j] for p, row in zip(w, x)) for j in range(len(y))]
        denoised = [a * h**2 / v * y[j] + s**2 / v * mean[j] for j in range(len(y))]
        return [float(p) for p in w], [float(c) for c in denoised]


@pytest.mark.parametrize("blocks", [None, 8], ids=["one block", "blocks of 8"])
@pytest.mark.parametrize("s", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_at_small_noise(
    dtype: torch.dtype, s: float, blocks: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from the origin, close to the middle of two neighbours, where rounding hurts the most."""
    if blocks is not None:
        monkeypatch.setattr(kernel_mixture, "_LOGITS", 3 * blocks)
    data = (100 + _random(40, 4, seed=2)).to(dtype)
    data[:30] = data[:1] + 3 * s * _random(30, 4, seed=3).to(
        dtype
    )  # a cluster as wide as the noise
    z = torch.stack([data[0], (data[3] + data[4]) / 2, data[35] + s]).to(dtype)
    prior = KernelMixture(data, 0.0)
    level = NoiseLevel(1.0, s)
    rounded = float(torch.tensor(s, dtype=dtype))
    w, denoised = prior.responsibilities(z, level), prior.denoise(z, level)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    for i in range(len(z)):
        expected = _mp_answers(data.numpy(), z[i].numpy(), 1.0, rounded, 0.0)
        np.testing.assert_allclose(w[i], expected[0], rtol=0, atol=tolerance)
        scale = 100 * torch.finfo(dtype).eps  # rounding of the answer itself
        np.testing.assert_allclose(denoised[i], expected[1], rtol=2 * scale, atol=0)


@pytest.mark.parametrize("s", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_change_nothing(
    dtype: torch.dtype, s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, v = _random(300, 5).to(dtype), _random(20, 5, seed=9).to(dtype)
    z = data[:20] + s * _random(20, 5, seed=1).to(dtype)
    prior = KernelMixture(data, 0.1 * s)
    level = NoiseLevel(0.9, s)

    def answers() -> list[torch.Tensor]:
        return [
            prior.denoise(z, level),
            prior.log_density(z, level),
            prior.responsibilities(z, level),
            prior.at(z, level).covariance_product(v) / s**2,
        ]

    whole = answers()
    monkeypatch.setattr(kernel_mixture, "_LOGITS", 20 * 37)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    for parts, expected in zip(answers(), whole):
        torch.testing.assert_close(parts, expected, rtol=tolerance, atol=tolerance)


@given(
    n=st.integers(1, 30),
    d=st.integers(1, 6),
    log_s=st.floats(-4, 3),
    log_h=st.floats(-4, 1),
    a=st.floats(0.01, 1),
    seed=st.integers(0, 2**31),
)
def test_kernel_mixture_equals_the_general_mixture(
    n: int, d: int, log_s: float, log_h: float, a: float, seed: int
) -> None:
    """Two implementations that share no line, over fourteen orders of magnitude of v."""
    data = _random(n, d, seed=seed)
    level, h = NoiseLevel(a, 10**log_s), 10**log_h
    kernel = KernelMixture(data, h)
    general = FullMixture(kernel.weights, data, torch.full_like(data, h**2))
    z = a * data[:1] + 10**log_s * _random(4, d, seed=seed + 1)
    v = _random(4, d, seed=seed + 2)
    # a change of one rounding error in z moves a logit by eps |z| |x_i - x_j| / v
    variance = a**2 * h**2 + 10 ** (2 * log_s)
    rounding = 1e-14 * (1 + float(z.abs().max() * data.abs().max()) / variance)
    if rounding > 1e-6:
        return
    for ours, theirs in (
        (kernel.denoise(z, level), general.denoise(z, level)),
        (kernel.log_density(z, level), general.log_density(z, level)),
        (kernel.responsibilities(z, level), general.responsibilities(z, level)),
        (kernel.at(z, level).covariance_product(v), general.at(z, level).covariance_product(v)),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 + 10 * rounding)


def test_duplicate_examples_share_their_weight() -> None:
    data = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
    w = KernelMixture(data, 0.1).responsibilities(torch.tensor([[0.0]], dtype=torch.float64))
    torch.testing.assert_close(w[0], torch.tensor([0.5, 0.5, 0.0]).double(), atol=1e-12, rtol=0)


# -- recipes ------------------------------------------------------------------------------------


def test_standardised_data_round_trip() -> None:
    data = 5 + 3 * _random(20, 2)
    prior = EmpiricalGMM(bandwidth=0.0, standardise=True).fit(data)
    torch.testing.assert_close(prior.means.mean(0), torch.zeros(2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(prior.coordinates.to_raw(prior.means), data)


def test_what_needs_data() -> None:
    assert EmpiricalGMM().needs_data and Gaussian().needs_data
    given_parameters = Gaussian(mean=[0.0], covariance=1.0)
    assert not given_parameters.needs_data
    with pytest.raises(PluginError, match="takes no data"):
        given_parameters.fit(_random(3, 1))
    with pytest.raises(PluginError, match="none were given"):
        EmpiricalGMM().fit()
    with pytest.raises(PluginError, match="none were given"):
        Gaussian(mean=[0.0]).fit()
    half = Gaussian(mean=[7.0]).fit(_random(9, 1))
    assert float(half.means[0, 0]) == 7.0
    with pytest.raises(PluginError, match="2 numbers, the data 3"):
        Gaussian(mean=[7.0, 0.0]).fit(_random(9, 3))
    mixture = GaussianMixture(means=[[0.0]], covariances=[1.0], standardise=True)
    assert mixture.needs_data and mixture.fit(_random(4, 1)).means.tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmpiricalGMM(bandwidth=-0.1), "greater than or equal to 0"),
        (lambda: EmpiricalGMM(bandwidth=math.inf), "finite"),
        (lambda: Gaussian(mean=[0.0, 0.0], covariance=[1.0, 1.0, 1.0]), "found"),
        (lambda: Gaussian(covariance=[[1.0, 2.0], [2.0, 1.0]]), "positive semi-definite"),
        (lambda: Gaussian(covariance=[[1.0, 0.2], [0.0, 1.0]]), "symmetric"),
        (lambda: Gaussian(covariance=-1.0), "positive semi-definite"),
        (lambda: GaussianMixture(means=[[0.0], [1.0]], covariances=[1.0]), "found"),
        (
            lambda: GaussianMixture(means=[[0.0]], covariances=[1.0], weights=[1.0, 1.0]),
            "1 means have 2 weights",
        ),
        (
            lambda: GaussianMixture(
                means=[[0.0], [1.0]], covariances=[1.0, 1.0], weights=[1.0, 0.0]
            ),
            "weights should be positive",
        ),
    ],
)
def test_refused_hyper_parameters(make: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()  # type: ignore[operator]
