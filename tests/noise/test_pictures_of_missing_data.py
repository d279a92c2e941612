"""Pictures leave missing data blank, and measure others in their own noise."""

from types import MappingProxyType

import numpy as np
import pytest
import torch

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import compose
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.streams import Streams
from mempost.plugins.figures.nearest_images import data_image
from mempost.plugins.figures.shot_data import ShotData
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM


def result(problem, truth):
    return Result(
        key="exact",
        point=MappingProxyType({}),
        sampler=ExactLGM(),
        problem=problem,
        data=None,
        truth=truth,
        seed=0,
        load_samples=lambda: pytest.fail("no samples are needed"),
    )


def test_shots_without_some_traces():
    helmholtz = Helmholtz(
        shape=(20, 15),
        spacing=0.04,
        frequencies=(3.0,),
        sources=((0.1, 0.1), (0.5, 0.1)),
        receivers=((0.2, 0.5), (0.4, 0.5), (0.6, 0.5)),
    )
    operator = compose([helmholtz, KLCosine(shape=(20, 15))])
    z = Streams(0, "truth").at().normal((2, 100))
    f = operator(z[:1])[0].flatten()
    stds = 1e-3 * torch.arange(1.0, 7.0).double()
    gone = torch.arange(6) == 4
    law = GaussianNoise.of_stds(stds.numpy(), complex=True).without(gone)
    y = law.perturb(f, Streams(0, "noise").at())
    shape = operator.range_shape((100,))
    problem = InverseProblem(EmpiricalGMM(bandwidth=0.1).fit(z), operator, law, y.reshape(shape))
    ((_, canvas, caption, _),) = ShotData().draw([result(problem, z[0])])
    assert caption.endswith("Missing data are blank.")
    data, misfit = (np.ma.filled(ax.images[0].get_array(), np.nan) for ax in canvas.axes[:2])
    np.testing.assert_allclose(data.ravel(), y.real, rtol=1e-6)
    np.testing.assert_allclose(misfit.ravel(), (y - f).real / (stds / 2**0.5), rtol=1e-6)
    assert np.isnan(misfit).ravel().tolist() == gone.tolist()


def test_images_show_what_was_seen():
    x = Streams(0, "truth").at().normal((3, 4, 4))
    gone = torch.arange(16) == 5
    law = GaussianNoise(0.1).without(gone)
    y = law.perturb(x[0].flatten(), Streams(0, "noise").at()).reshape(4, 4)
    problem = InverseProblem(EmpiricalGMM(bandwidth=0.1).fit(x), Identity(), law, y)
    shown = data_image(result(problem, x[0].flatten()))
    assert shown.isnan().flatten().tolist() == gone.tolist()
