"""A fitted prior whose denoiser changes that of one other, its base."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from mempost.core.capabilities import Examples, HasBandwidth, HasExamples, Withheld, ask, require
from mempost.core.composite import FittedComposite
from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior
from mempost.core.streams import Stream
from mempost.methods.regularisation.flow_draws import FlowDraws


class OverBase(FittedComposite):
    """A prior over ``base``, whose training examples it has, and whose draws follow its flow.

    Authors override ``over``, ``_state`` and ``_from_state``, and ``at`` where derivatives of the
    base serve.

    Attributes:
        base: the prior that is asked.
        draws: how draws follow the flow.
    """

    calls = 1
    """Calls of the base for one of its own."""

    def __init__(self, base: FittedPrior, draws: FlowDraws) -> None:
        super().__init__({"base": base})
        self.base, self.draws = base, draws

    @property
    def examples(self) -> Examples:
        """Those of the base."""
        return require(self.base, HasExamples, type(self).__name__).examples

    @property
    def withheld(self) -> Withheld:
        own = super().withheld
        kept = ask(self.base, HasExamples) is not None
        return own if kept else {**own, HasExamples: "its base keeps none"}

    @property
    def draw_calls(self) -> int:
        return self.base.draw_calls + self.calls * self.draws.calls

    def _draw(self, stream: Stream) -> Tensor:
        return self.draws.draw(self, self.base, stream)

    @abstractmethod
    def over(self, denoise: Denoise) -> Denoise:
        """The regularised denoiser, from one of the base or of the base given data."""

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return self.over(self.base.denoise)(z, NoiseLevel(a[:, 0], s[:, 0]))


def is_atoms(prior: FittedPrior) -> bool:
    """Whether a prior lives on its training examples alone."""
    kernel = ask(prior, HasBandwidth)
    return kernel is not None and kernel.bandwidth == 0
