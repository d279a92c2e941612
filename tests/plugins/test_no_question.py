"""A problem without a question: the prior alone, and one line where more is needed."""

import pytest
import torch

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.methods.drawing.densities import likelihood
from mempost.plugins.figures.nearest_images import data_image
from mempost.plugins.metrics.collapse import Collapse
from mempost.plugins.metrics.velocity_error import VelocityError
from mempost.plugins.operators.identity import Identity
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion

POINTS = torch.tensor([[-1.0, 0.0], [0.5, 1.0], [2.0, -0.5]]).double()
PRIOR = EmpiricalGMM(bandwidth=0.3).fit(POINTS)


@pytest.fixture
def result():
    return Result(
        "draws",
        {},
        ReverseDiffusion(steps=4),
        InverseProblem(PRIOR),
        None,
        None,
        0,
        load_samples=lambda: Samples.independent(POINTS + 0.1),
    )


def test_a_question_is_whole_or_absent():
    assert InverseProblem(PRIOR).question is None
    with pytest.raises(PluginError, match="operator, noise and data, or none of the three"):
        InverseProblem(PRIOR, Identity(), None, POINTS[0])
    whole = InverseProblem(PRIOR, Identity(), GaussianNoise(0.1), POINTS[0])
    assert whole.question == (whole.operator, whole.noise, whole.y)


@pytest.mark.parametrize("name", ["operator", "noise", "y", "data_dimension"])
def test_what_is_not_there_is_refused_in_one_line(name):
    with pytest.raises(PluginError, match="nothing is asked here") as caught:
        getattr(InverseProblem(PRIOR), name)
    assert "\n" not in str(caught.value)


def test_metrics_leave_out_what_needs_data(result):
    columns = Collapse().evaluate(result)
    assert columns["atom_distance"] == pytest.approx(
        0.1 * 2**0.5 / float(torch.cdist(POINTS, POINTS).topk(2, largest=False)[0][:, 1].median())
    )
    assert not any("separation" in name for name in columns)
    assert VelocityError().evaluate(result).columns == {}


def test_figures_leave_out_the_data(result):
    assert likelihood(result, POINTS) is None
    assert data_image(result) is None
