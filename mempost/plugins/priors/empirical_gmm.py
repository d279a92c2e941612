"""The memorized prior: a Gaussian kernel of bandwidth h on every training example.

    p(x) = (1/N) sum_n N(x; x_n, h^2 I)

A diffusion model that minimises its training loss exactly has the score of the noised training
set, which is this prior with h = 0; h > 0 stands for what regularisation or capacity leave of it.

References: Vincent 2011, "A connection between score matching and denoising autoencoders";
Siahkoohi & Sabeddu 2026, "On the role of memorization in learned priors for geophysical inverse
problems".
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.prior import FittedPrior, Prior
from mempost.core.progress import Progress
from mempost.core.publication import Publication
from mempost.core.streams import Streams
from mempost.core.tags import Tag
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION
from mempost.methods.mixtures.kernel_mixture import KernelMixture


class EmpiricalGMM(Prior):
    """The memorized prior: an isotropic Gaussian of bandwidth h on every training example.

    ``bandwidth`` 0 gives atoms: they can be drawn, denoised and scored at noise levels s > 0,
    and have no density at s = 0.
    """

    tags = frozenset({"closed_form", "log_density"})
    publications: ClassVar[tuple[Publication, ...]] = (SIAHKOOHI_2026_MEMORIZATION,)
    fitted_class: ClassVar[type[FittedPrior]] = KernelMixture

    bandwidth: float = Field(0.1, ge=0, description="h, in the prior's coordinates; 0 for atoms")

    def _tags(self) -> frozenset[Tag]:
        """Atoms have no density."""
        return super()._tags() - ({"log_density"} if self.bandwidth == 0 else set())

    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        if x is None:
            raise PluginError("EmpiricalGMM is fitted to training data, and none were given")
        return KernelMixture(x, self.bandwidth, shape=shape)
