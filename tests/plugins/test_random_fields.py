"""Gaussian random fields: stationarity, spectrum, the reference variant and its null rates."""

import math

import pytest
import torch
from scipy import stats

from mempost.core.streams import Streams
from mempost.plugins.datasets.gaussian_random_field import GaussianRandomField
from mempost.plugins.datasets.points import Points
from mempost.plugins.datasets.projected import Projected
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.operators.polynomial import Polynomial

STREAMS = Streams(3, "data")


def mirrored(field):
    """f(-x) on a periodic grid."""
    return torch.roll(field.flip(-2, -1), (1, 1), (-2, -1))


@pytest.fixture(scope="module")
def fields():
    return GaussianRandomField(n=16, n_train=4000, n_held_out=0).load(STREAMS).train


def test_stationary_fields_have_one_variance_everywhere(fields):
    dataset = GaussianRandomField(n=16)
    centred = fields - sum(dataset.bounds) / 2
    statistic = centred.square().sum(0) / dataset.std**2
    # each entry is chi-square with 4000 degrees of freedom; Bonferroni over 256 points
    tail = torch.from_numpy(stats.chi2(len(fields)).cdf(statistic.numpy()))
    assert torch.minimum(tail, 1 - tail).min() > 1e-6 / 256
    # and the correlation with a neighbour does not depend on the place
    neighbours = (centred * centred.roll(1, -1)).mean(0) / dataset.std**2
    standard_error = math.sqrt(2 / len(fields))
    assert (neighbours - neighbours.mean()).abs().max() < 5.5 * standard_error


def test_stationary_fields_have_the_spectrum(fields):
    dataset = GaussianRandomField(n=16)
    power = torch.fft.fft2(fields - sum(dataset.bounds) / 2).abs().square().mean(0)
    expected = (dataset.amplitude() * dataset.n) ** 2
    k = torch.fft.fftfreq(16, 1 / 16, dtype=torch.float64)
    shape = (4 * math.pi**2 * (k[:, None] ** 2 + k**2) + 25) ** -3
    nonzero = expected > 0
    assert (~nonzero).sum() == 1
    ratio = expected[nonzero] / shape[nonzero]
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-12)
    # |F f|^2 of one mode is exponential (or chi-square 1 at the four real modes)
    relative = power[nonzero] / expected[nonzero]
    assert (relative - 1).abs().max() < 5 * math.sqrt(2 / len(fields))
    assert power[0, 0] < 1e-20


def test_a_stationary_field_is_not_symmetric(fields):
    assert (fields[0] - mirrored(fields[0])).abs().max() > 0.01


def test_reference_fields_are_point_symmetric_and_reproduce_the_fixture():
    dataset = GaussianRandomField(variant="reference", n_train=50, n_held_out=3)
    data = dataset.load(STREAMS)
    assert (data.train - mirrored(data.train)).abs().max() < 1e-15
    z = KLCosine(shape=(64, 64)).project(data.train)
    assert z[0, :4].tolist() == pytest.approx([-3.6666, 1.5223, 1.5312, 1.7740], abs=5e-5)
    one = GaussianRandomField(variant="reference", n_train=1, n_held_out=1).load(STREAMS)
    assert torch.equal(one.train, data.train[:1])
    assert torch.equal(one.held_out, data.held_out[:1])


def test_the_projection_loses_most_of_the_energy():
    data = GaussianRandomField(variant="reference", n_train=200, n_held_out=0).load(STREAMS)
    kept = KLCosine(shape=(64, 64)).energy_kept(data.train)
    assert kept.mean() == pytest.approx(0.22, abs=0.02)


def test_clipping():
    dataset = GaussianRandomField(n=16, n_train=200, clip=True)
    train = dataset.load(STREAMS).train
    low, high = dataset.bounds
    assert train.min() == low and train.max() == high
    plain = GaussianRandomField(n=16, n_train=200).load(STREAMS).train
    assert torch.equal(train, plain.clamp(low, high))


@pytest.mark.parametrize(("n", "ratio", "rate"), [(50, 0.607, 0.956), (200, 0.721, 0.337)])
def test_null_rates_of_the_reference_coefficients(n, ratio, rate):
    """Never-trained fields are 'memorized' by r < 0.7 at the published null rates."""
    coefficients = Projected(
        dataset=GaussianRandomField(variant="reference", n_train=n, n_held_out=1000),
        operator=KLCosine(shape=(64, 64)),
    ).load(STREAMS)
    d = torch.cdist(coefficients.held_out, coefficients.train).sort(-1).values[:, :50]
    r = d[:, 0] / d[:, 1:].mean(-1)
    found = float((r < 0.7).double().mean())
    assert abs(found - rate) < 3 * math.sqrt(2 * rate * (1 - rate) / 1000)
    assert r.mean() == pytest.approx(ratio, abs=3 * float(r.std()) * math.sqrt(2 / 1000))


def test_projected_keeps_examples_apart_and_needs_a_projection():
    inner = GaussianRandomField(n=16, n_train=5, n_held_out=0)
    operator = KLCosine(shape=(16, 16), modes=(4, 3))
    data = Projected(dataset=inner, operator=operator).load(STREAMS)
    assert data.train.shape == (5, 12) and data.held_out.shape == (0, 12)
    assert torch.equal(data.train, operator.project(inner.load(STREAMS).train))
    with pytest.raises(ValueError, match="has no projection"):
        Projected(dataset=Points(values=[[1.0]]), operator=Polynomial(coefficients=[0, 1]))


def test_bounds_in_order():
    with pytest.raises(ValueError, match="bounds should increase"):
        GaussianRandomField(bounds=(0.4, 0.1))
