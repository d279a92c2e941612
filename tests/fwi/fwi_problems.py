"""A small problem of full-waveform inversion: twelve coefficients, waves of 3 Hz, few positions."""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.dataset import Data
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import compose
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import PosteriorSampler, Samples
from mempost.core.streams import Streams
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.operators.standardise import Standardise
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights

WAVES = Helmholtz(
    shape=(24, 20),
    spacing=0.05,
    frequencies=(3.0,),
    sources={"start": (0.1, 0.05), "stop": (1.1, 0.05), "number": 2},
    receivers={"start": (0.05, 0.95), "stop": (1.15, 0.95), "number": 6},
    pml_width=0.2,
)
SERIES = KLCosine(shape=(24, 20), modes=(4, 3))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return Streams(seed, "data").at().normal(shape)


def wave_problem(
    n: int = 8,
    *,
    relative_noise: float = 0.05,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    bandwidth: float = 0.0,
) -> tuple[InverseProblem, Data, Tensor]:
    """A memorized prior of n examples in standardised coordinates, its data, and a truth."""
    raw, held_out = (3 * normal(k, 12, seed=seed + i).to(dtype) for i, k in enumerate((n, 40)))
    prior = EmpiricalGMM(bandwidth=bandwidth, standardise=True).fit(raw)
    operator = compose([WAVES, SERIES, Standardise(from_="prior")]).resolve(prior)
    truth = prior.coordinates.from_raw(raw[:2].mean(0))
    y = operator(truth[None])[0]
    noise = GaussianNoise(relative_noise * float(y.abs().max()), complex=True)
    y = noise.perturb(y, Streams(seed, "noise").at())
    data = Data(prior.coordinates.from_raw(raw), prior.coordinates.from_raw(held_out))
    return InverseProblem(prior, operator, noise, y), data, truth


def results_of(
    problem: InverseProblem,
    data: Data,
    truth: Tensor | None,
    answers: dict[str, Tensor | PosteriorSampler],
    *,
    n: int = 8,
    point: dict | None = None,
    samplers: dict[str, PosteriorSampler] | None = None,
    stats: dict[str, dict[str, Tensor]] | None = None,
) -> dict[str, Result]:
    """A result for each answer: draws (n, d), or a sampler that is run."""
    results: dict[str, Result] = {}
    for key, answer in answers.items():
        if isinstance(answer, PosteriorSampler):
            drawn = answer.sample(problem, n, Streams(0, "sampling"))
        else:
            found = {k: v[None] for k, v in (stats or {}).get(key, {}).items()}
            drawn = Samples(answer[None], found)
        fallback = answer if isinstance(answer, PosteriorSampler) else None
        sampler = (samplers or {}).get(key, fallback)
        results[key] = Result(
            key=key,
            point=point or {},
            sampler=sampler or Silent(),
            problem=problem,
            data=data,
            truth=truth,
            seed=0,
            load_samples=lambda drawn=drawn: drawn,
            siblings=results,
        )
    return results


class Silent(PosteriorSampler):
    """A sampler without a posterior of its own."""

    def sample(self, *_) -> Samples:
        raise NotImplementedError


EXACT = FiniteSampleWeights()


def interpolations(data: Data, count: int, seed: int = 5) -> Tensor:
    """Points between random pairs of training examples."""
    stream = Streams(seed, "data").at()
    i, j = stream.integers(len(data.train), (2, count))
    share = stream.uniform((count, 1))
    return torch.lerp(data.train[i], data.train[j], share)
