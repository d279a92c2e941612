"""Tags say what is true of an instance: hyper-parameters amend them, composites derive theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mempost.core.operator import ForwardOperator
from mempost.core.plugin import Plugin
from mempost.core.sampler import ExactSampler
from mempost.core.tags import TAGS
from mempost.experiments.describe import description
from mempost.plugins.datasets.file import File
from mempost.plugins.datasets.projected import Projected
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture
from mempost.plugins.samplers.distorted import Distorted
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.plugins.samplers.importance import Importance
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.quadrature import Quadrature


def test_a_word_that_is_no_tag_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Wrong.tags: unknown tag 'linaer'.*Did you mean 'linear'"):

        class Wrong(ForwardOperator):
            tags = frozenset({"linaer"})

    for value in ("linear", property(lambda self: frozenset({"linear"}))):
        with pytest.raises(TypeError, match="_tags amends it"):
            type("Wrong", (ForwardOperator,), {"tags": value, "__module__": __name__})


def test_a_word_that_is_no_tag_is_refused_when_the_instance_is_asked() -> None:
    class Late(Plugin):
        def _tags(self):
            return super()._tags() | {"exakt"}

    with pytest.raises(TypeError, match=r"Late.tags: unknown tag 'exakt'.*Did you mean 'exact'"):
        _ = Late().tags


@pytest.mark.parametrize(
    ("base", "name", "tag"),
    [
        (ForwardOperator, "is_linear", "linear"),
        (ForwardOperator, "is_complex", "complex"),
        (ExactSampler, "uses_noise_level", "uses_noise_level"),
    ],
)
def test_what_a_tag_says_is_not_said_twice(base: type, name: str, tag: str) -> None:
    with pytest.raises(TypeError, match=f"Twice.{name}: the tag '{tag}' says this"):
        type("Twice", (base,), {name: property(lambda self: True), "__module__": __name__})


def test_the_class_declares_and_the_instance_amends() -> None:
    class Base(Plugin):
        tags = frozenset({"exact", "random"})
        exact: bool = True

        def _tags(self):
            return super()._tags() - (set() if self.exact else {"exact"})

    class Derived(Base):
        tags = Base.tags | {"linear"}

    assert Base.tags == Base().tags == {"exact", "random"}
    assert Base(exact=False).tags == {"random"}
    assert Derived.tags == Derived().tags == {"exact", "random", "linear"}
    assert Derived(exact=False).tags == {"random", "linear"}


def test_a_density_is_claimed_where_there_is_one() -> None:
    assert "log_density" in EmpiricalGMM(bandwidth=0.1).tags
    assert EmpiricalGMM(bandwidth=0.0).tags == {"closed_form"}
    means = [[0.0, 0.0], [1.0, 1.0]]
    for covariances, dense in (
        ([0.25, 0.5], True),
        ([0.25, 0.0], False),
        ([[0.25, 1.0], [0.0, 1.0]], False),
        ([[[1.0, 0.5], [0.5, 1.0]], [[1.0, 1.0], [1.0, 1.0]]], False),
        ([[[1.0, 0.5], [0.5, 1.0]], [[1.0, 0.9], [0.9, 1.0]]], True),
    ):
        prior = GaussianMixture(means=means, covariances=covariances)
        assert ("log_density" in prior.tags) == dense, covariances
        one = Gaussian(mean=means[1], covariance=covariances[1])
        assert ("log_density" in one.tags) == dense, covariances[1]
    assert "log_density" in Gaussian().tags


def test_operators_derive_whether_they_are_linear_and_complex() -> None:
    real, whole = Linear(matrix=np.eye(2)), Linear(matrix=1j * np.eye(2))
    offset = Linear(matrix=np.eye(2), offset=[1j, 0])
    assert real.tags == {"linear"} and whole.tags == offset.tags == {"linear", "complex"}
    assert (real @ Identity()).tags == {"linear"} and (real @ Identity()).is_linear
    assert (whole @ real).tags == {"linear", "complex"} and (whole @ real).is_complex
    assert (whole @ Polynomial(coefficients=[0, 1, 1])).tags == {"complex"}
    assert (real @ Polynomial(coefficients=[0, 1])).tags == {"linear"}
    assert (real @ Quadratic2D()).tags == frozenset()
    assert (real @ Quadratic2D(a=0, b=0)).tags == {"linear"}


def test_samplers_derive_theirs_from_what_they_are_made_of() -> None:
    assert "uses_noise_level" in DPS().tags
    assert "uses_noise_level" not in DPS(rule="unit_gradient").tags
    assert "exact" in MALA().tags and "exact" not in MALA(smoothing=0.1).tags
    assert "needs_gradient" in Importance().tags
    assert "needs_gradient" not in Importance(proposal=Quadrature()).tags
    exact = {"exact", "closed_form", "uses_noise_level"}
    assert Distorted(sampler=Quadrature()).tags == exact
    assert Distorted(sampler=Quadrature(), scale=0.8).tags == exact - {"exact"}
    assert Distorted(sampler=Quadrature(), shift=0.1).tags == exact - {"exact"}
    assert Distorted(sampler=FiniteSampleWeights()).tags == FiniteSampleWeights().tags
    assert Distorted(sampler=DPS()).tags == DPS().tags | {"interacting"}


def test_datasets_are_random_where_they_draw(tmp_path) -> None:
    np.save(tmp_path / "x.npy", torch.arange(24.0).reshape(4, 3, 2))
    shuffled = File(path=tmp_path / "x.npy")
    assert shuffled.tags == {"random"} and File(path=shuffled.path, order="file").tags == set()
    operator = KLCosine(shape=(3, 2), modes=(2, 1))
    for dataset in (shuffled, File(path=shuffled.path, order="file")):
        assert Projected(dataset=dataset, operator=operator).tags == dataset.tags


def test_described_are_the_tags_of_the_defaults() -> None:
    text = description("prior", "empirical_gmm")
    assert "tags of the defaults (hyper-parameters may change them):\n  closed_form: " in text
    assert f"log_density: {TAGS['log_density']}" in text
    assert "may change" not in description("sampler", "exact_lgm")
    needs_examples = description("operator", "linear")
    assert "  linear: " in needs_examples and "  complex: " not in needs_examples
    assert "tags:\n  none" in description("operator", "slowness")
