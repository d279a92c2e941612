"""N(m, v I) with m and v learned from the data: E[x|z] = m + a v (z - a m) / (a^2 v + s^2)."""

from mempost import FittedPrior, Prior
from mempost.core.prior import State
from mempost.core.streams import TILE


class Normal(FittedPrior):
    def __init__(self, shape, mean, variance):
        super().__init__(shape, mean)
        self.mean, self.variance = mean, variance

    def _denoise(self, z, a, s):
        return self.mean + a * self.variance * (z - a * self.mean) / (a**2 * self.variance + s**2)

    def _log_density(self, z, a, s):
        v = a**2 * self.variance + s**2
        return -0.5 * (((z - a * self.mean) ** 2 / v) + (2 * 3.141592653589793 * v).log()).sum(-1)

    def _draw(self, stream):
        e = stream.normal((TILE, self.dimension), self.dtype, self.device)
        return self.mean + self.variance.sqrt() * e

    def _state(self):
        return State({"mean": self.mean, "variance": self.variance}, {})

    @classmethod
    def _from_state(cls, state):
        return cls(state.values["shape"], state.tensors["mean"], state.tensors["variance"])


class NormalFit(Prior):
    """An isotropic Gaussian with the mean and variance of the training data."""

    tags = frozenset({"log_density"})
    fitted_class = Normal

    def _fit(self, x, shape, streams, progress):
        return Normal(shape, x.mean(0), x.var())
