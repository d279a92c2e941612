"""The learned prior: a network trained to denoise the training set.

Denoising score matching fits D(u) = E[x | u] for u = x + sigma e; its exact minimiser is the
memorized prior (`empirical_gmm` with bandwidth 0), so what a network learns beyond or short of that
is capacity, optimisation and regularisation. The mathematics stands in the modules of
`mempost.methods.score_matching`.

References: Vincent 2011, "A connection between score matching and denoising autoencoders"; Ho, Jain
& Abbeel 2020, "Denoising diffusion probabilistic models"; Karras, Aittala, Aila & Laine 2022,
"Elucidating the design space of diffusion-based generative models".
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.keeping import content_hash
from mempost.core.prior import FittedPrior, Prior
from mempost.core.progress import Progress
from mempost.core.publication import Publication
from mempost.core.streams import Streams
from mempost.methods.bibliography import HO_2020_DENOISING, KARRAS_2022_EDM, VINCENT_2011_CONNECTION
from mempost.methods.score_matching.denoiser import Denoiser, scales_of
from mempost.methods.score_matching.fitted import FittedScore
from mempost.methods.score_matching.settings import TrainingSettings
from mempost.methods.score_matching.training import Training


class LearnedScore(TrainingSettings, Prior):
    """A neural network trained by denoising score matching on the training set.

    It answers at every noise level, whatever schedule it was trained on. Training goes on where a
    checkpoint was left, to the same bits. With ``snapshots`` the finished run is kept, so that a
    sweep over ``snapshot`` trains once.
    """

    tags = frozenset({"random"})
    publications: ClassVar[tuple[Publication, ...]] = (
        VINCENT_2011_CONNECTION,
        HO_2020_DENOISING,
        KARRAS_2022_EDM,
    )
    fitted_class: ClassVar[type[FittedPrior]] = FittedScore

    snapshot: int | None = Field(
        None, description="answer with the weights after this step, one of ``snapshots``"
    )
    sample_steps: int = Field(
        40, ge=1, description="steps of Heun's method in unconditional samples", examples=[4]
    )

    @model_validator(mode="after")
    def _kept(self) -> Self:
        if self.snapshot is not None and self.snapshot not in self.snapshots:
            raise ValueError(f"snapshot is {self.snapshot}; it should be one of snapshots")
        return self

    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        if x is None:
            raise PluginError("LearnedScore is fitted to training data, and none were given")
        with torch.enable_grad():
            network = self.network.initialised(shape, streams.at(1), x)
            levels = self.levels
            denoiser = Denoiser(
                network, self.parametrisation, *scales_of(x), levels.low, levels.high
            )
            training = Training(self, denoiser, x)
            training.run(streams, progress, self._name(x, shape, streams))
        network.load_state_dict(training.average)
        fitted = FittedScore(
            shape, denoiser, self.network, self.sample_steps, training.history, training.snapshots
        )
        return fitted if self.snapshot is None else fitted.at_step(self.snapshot)

    def _name(self, x: Tensor, shape: tuple[int, ...], streams: Streams) -> str:
        """The name of the training run: what is chosen after training stays out of it."""
        defaults = {name: type(self).model_fields[name].default for name in _AFTERWARDS}
        recipe = self.model_copy(update=defaults)
        return "training-" + content_hash(recipe, x, str(shape), streams.seed, streams.role)


_AFTERWARDS = ("snapshot", "sample_steps")
