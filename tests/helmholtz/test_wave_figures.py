"""Figures of wave problems draw what they say, and refuse other problems."""

from types import MappingProxyType

import numpy as np
import pytest
import torch

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import compose
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.streams import Streams
from mempost.plugins.figures.acquisition import Acquisition
from mempost.plugins.figures.sensitivity import Sensitivity
from mempost.plugins.figures.shot_data import ShotData
from mempost.plugins.figures.wavefields import Wavefields
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FIGURES = [Acquisition, Wavefields, ShotData, Sensitivity]


def result(operator, d, known=True):
    z = 2 * Streams(0, "truth").at().normal((3, d))
    noise = GaussianNoise(1e-3, complex=operator.is_complex)
    y = noise.perturb(operator(z[:1])[0], Streams(0, "noise").at())
    return Result(
        key="exact",
        point=MappingProxyType({}),
        sampler=ExactLGM(),
        problem=InverseProblem(EmpiricalGMM(bandwidth=0.1).fit(z), operator, noise, y),
        data=None,
        truth=z[0] if known else None,
        seed=0,
        load_samples=lambda: pytest.fail("no samples are needed"),
    )


@pytest.fixture
def waves():
    helmholtz = Helmholtz(
        shape=(40, 30),
        spacing=0.04,
        frequencies=(3.0, 6.0),
        sources={"start": (0.1, 0.1), "stop": (1.5, 0.1), "number": 5},
        receivers={"start": (0.1, 1.1), "stop": (1.5, 1.1), "number": 8},
    )
    return compose([helmholtz, KLCosine(shape=(40, 30))])


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_are_drawn(figure, waves, tmp_path):
    ((stem, canvas, *_),) = figure().draw([result(waves, 100)])
    canvas.savefig(tmp_path / f"{stem}.png", dpi=60)
    assert (tmp_path / f"{stem}.png").stat().st_size > 3000


@pytest.mark.parametrize("figure", FIGURES)
def test_other_problems_are_refused(figure, waves):
    with pytest.raises(PluginError, match="operator helmholtz, this has none"):
        list(figure().draw([result(Identity(), 3)]))
    with pytest.raises(PluginError, match="truth, which is not known"):
        list(figure().draw([result(waves, 100, known=False)]))


def test_acquisition_shows_the_true_velocity(waves):
    r = result(waves, 100)
    ((_, canvas, *_),) = Acquisition().draw([r])
    shown = canvas.axes[0].images[0].get_array()
    v = waves.operators[1](r.truth[None])[0] ** -0.5
    assert np.allclose(shown, v.T.numpy())
    assert canvas.axes[0].images[0].get_extent() == [0, 1.6, 1.2, 0]


def test_sensitivity_is_a_row_of_the_jacobian(waves):
    r = result(waves, 100)
    helmholtz, kl = waves.operators
    ((_, canvas, *_),) = Sensitivity(source=1, receiver=3).draw([r])
    rows = helmholtz.jacobian(kl(r.truth[None]))[1][0].real.reshape(2, 5, 8, 40, 30)
    for k in range(2):
        shown = canvas.axes[k].images[0].get_array()
        assert np.allclose(shown * 0.04**2, rows[k, 1, 3].T.numpy(), atol=1e-9)
    with pytest.raises(PluginError, match=r"sensitivity.source is 5; allowed are 0 to 4"):
        list(Sensitivity(source=5).draw([r]))


def test_misfit_of_the_truth_is_the_noise(waves):
    ((_, canvas, *_),) = ShotData().draw([result(waves, 100)])
    misfit = torch.as_tensor(np.asarray(canvas.axes[1].images[0].get_array()))
    assert 0.6 < float(misfit.std()) < 1.4
