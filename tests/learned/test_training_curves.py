"""The training curves show every training run once, with its own numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from learned_problems import fitted, points

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.plugins.figures.training_curves import TrainingCurves
from mempost.plugins.operators.identity import Identity
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion


def result(key, prior, n):
    return Result(
        key=key,
        point={"data.n_train": n},
        sampler=ReverseDiffusion(),
        problem=InverseProblem(
            prior, Identity(), GaussianNoise(1.0), torch.zeros(3, dtype=torch.float64)
        ),
        data=None,
        truth=None,
        seed=0,
        load_samples=lambda: Samples.independent(torch.zeros(1, 3, dtype=torch.float64)),
    )


def test_every_run_is_drawn_once():
    exact = EmpiricalGMM().fit(points())
    clean, noise = fitted(), fitted(parametrisation="epsilon", skip=((0.3, 3.0),))
    more = fitted(points(9))
    results = [
        result("clean", clean, 6),
        result("again", fitted(), 6),
        result("noise", noise, 6),
        result("exact", exact, 6),
        result("clean", more, 9),
    ]
    ((name, figure, *_),) = list(TrainingCurves(last=0.5).draw(results))
    assert name == "training_curves"
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    loss, rate, error = figure.axes
    labels = [line.get_label() for line in loss.get_lines()]
    assert labels == ["clean, $N$ = 6", "noise, $N$ = 6", "clean, $N$ = 9"]
    assert "noise level" in error.get_xlabel() and loss.get_yscale() == "log"
    for line, prior in zip(loss.get_lines(), (clean, noise, more)):
        curves = prior.history.curves
        assert np.array_equal(line.get_ydata(), curves["loss"].numpy())
        assert line.get_xdata()[-1] == 60
    colours = [line.get_color() for line in loss.get_lines()]
    assert len({str(c) for c in colours}) == 3
    assert rate.get_lines()[0].get_ydata()[0] > rate.get_lines()[0].get_ydata()[-1]
    history = clean.history
    late = history.curves["level_error"][history.curves["step"] >= 30]
    levels, errors = error.get_lines()[0].get_data()
    np.testing.assert_allclose(errors, late.nanmean(0).numpy())
    np.testing.assert_allclose(levels[0], (history.edges[0] * history.edges[1]).sqrt())
    assert len(error.get_lines()[1].get_xdata()) < len(levels)  # bins in the gap are left out


def test_a_study_without_learned_priors_is_refused():
    exact = EmpiricalGMM().fit(points())
    with pytest.raises(PluginError, match="this study has none"):
        list(TrainingCurves().draw([result("exact", exact, 6)]))
