"""What a thing gives beyond what its kind promises, and the one way to ask for it.

A capability is a small protocol named by what it gives. Whoever has its attributes has it, whatever
the class; who needs it asks, and never looks at a class or waits for an error:

    kept = ask(problem.prior, HasExamples)                 the prior, typed, or None
    kept = require(problem.prior, HasExamples, "finite_sample", "give atoms: N")       or an error

An instance may lack what its class has methods for: atoms have no density. It says so in a property
``withheld``, capabilities with a reason each, and both questions respect that. Priors are asked
after fitting (`FittedPrior`), posteriors as samplers return them, noise as a problem holds it,
operators as they stand.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.streams import Stream
from mempost.core.whitening import Whitening

if TYPE_CHECKING:
    from mempost.core.flow import Denoise
    from mempost.core.prior import FittedPrior

C = TypeVar("C")
Withheld = Mapping[type, str]
"""Capabilities that an instance lacks though its class has the methods, and why."""


def ask(thing: object, capability: type[C]) -> C | None:
    """The thing itself if it has the capability, else None."""
    if capability in _withheld(thing) or not isinstance(thing, capability):
        return None
    return thing


def require(thing: object, capability: type[C], who: str, remedy: str = "") -> C:
    """The thing itself, which must have the capability.

    Args:
        thing: what is asked.
        capability: a protocol of this module, or of your own.
        who: name of the plugin that needs it.
        remedy: what to do where it is lacking.

    Raises:
        PluginError: it does not have it; the message says who needs what, and what was found.
    """
    found = ask(thing, capability)
    if found is None:
        what = (inspect.getdoc(capability) or capability.__name__).partition(".")[0]
        why = _withheld(thing).get(capability)
        raise PluginError(
            f"{who} needs {what[0].lower()}{what[1:]}, and {type(thing).__name__} has none"
            + (f" ({why})" if why else "")
            + (f"; {remedy}" if remedy else "")
        )
    return found


def _withheld(thing: object) -> Withheld:
    return getattr(thing, "withheld", {})


# -- of priors --------------------------------------------------------------------------------


class Examples(NamedTuple):
    """Training examples x_n (N, d) in the coordinates of the prior, with weights that sum to 1."""

    x: Float[Tensor, "n d"]
    weights: Float[Tensor, " n"]

    @classmethod
    def of(cls, x: Float[Tensor, "n d"]) -> Self:
        """Examples of equal weight."""
        return cls(x, x.new_full((len(x),), 1 / len(x)))


@runtime_checkable
class HasExamples(Protocol):
    """Training examples.

    The fitted prior keeps them itself (they stand in its state): what the spec calls data may be
    gone where a stored prior is loaded, and a prior need not have learned from all of it.
    """

    @property
    def examples(self) -> Examples: ...


@runtime_checkable
class HasDensity(Protocol):
    """A log density.

    Of a prior at s = 0, of a posterior p(x | y); normalised, with a gradient.
    """

    def log_density(self, x: Float[Tensor, "batch d"], /) -> Float[Tensor, " batch"]: ...


@runtime_checkable
class HasNoisedDensity(Protocol):
    """A log density at every noise level s > 0.

    The denoiser is then that of the prior's own draws, D(z) = E[x | z].
    """

    def log_density(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel, /
    ) -> Float[Tensor, " batch"]: ...

    def denoise(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel, /
    ) -> Float[Tensor, "batch d"]: ...


@runtime_checkable
class HasComponents(Protocol):
    """Components of a Gaussian mixture.

    Weights pi_n (n,), means m_n (n, d) and factors of the covariances L_n L_n^T, as of a
    `mempost.core.mixture.MixturePrior`, which says what the methods give.
    """

    @property
    def weights(self) -> Float[Tensor, " n"]: ...
    @property
    def means(self) -> Float[Tensor, "n d"]: ...
    @property
    def shared_covariance(self) -> bool: ...
    @property
    def dimension(self) -> int: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...

    def factor_product(
        self, index: Tensor, v: Float[Tensor, "k d p"], transpose: bool = False
    ) -> Float[Tensor, "k d p"]: ...

    def factor_solve(
        self, index: Tensor, v: Float[Tensor, "k d p"]
    ) -> tuple[Float[Tensor, "k d p"], Float[Tensor, " k"]]: ...

    def component_variances(self, index: Tensor) -> Float[Tensor, "k d"]: ...

    def component_log_densities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]: ...

    def responsibilities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]: ...


@runtime_checkable
class HasBandwidth(HasComponents, Protocol):
    """Components of one bandwidth h, whose covariances are all h^2 I."""

    @property
    def bandwidth(self) -> float: ...


@runtime_checkable
class HasLimitLaw(Protocol):
    """The share of its flow that ends on training examples, in closed form.

    The probability that the flow from the noised prior ends within a distance of an example, while
    examples are far apart.
    """

    def limit_law(self, tolerance: float, /) -> float: ...


@runtime_checkable
class HasBase(Protocol):
    """A prior that it stands on, whose denoiser it changes.

    ``over`` makes the same change to another denoiser of the base, such as one given data.
    """

    @property
    def base(self) -> FittedPrior: ...

    def over(self, denoise: Denoise, /) -> Denoise: ...


class TrainingHistory(Protocol):
    """Curves of a training run: tensors by name, and the edges of the bins of noise levels."""

    @property
    def curves(self) -> Mapping[str, Tensor]: ...
    @property
    def edges(self) -> Float[Tensor, " bins_and_one"]: ...


@runtime_checkable
class HasHistory(Protocol):
    """A history of its training.

    The curves ``step``, ``loss`` and ``learning_rate`` (steps,), ``level_error`` (steps, bins).
    """

    @property
    def history(self) -> TrainingHistory: ...


# -- of posteriors ------------------------------------------------------------------------------


@runtime_checkable
class CanIntegrate(Protocol):
    """A way to integrate: E[f(x) | y] of any f, (batch, d) to (batch, k)."""

    def expectation(
        self, f: Callable[[Float[Tensor, "batch d"]], Float[Tensor, "batch k"]], /
    ) -> Float[Tensor, " k"]: ...


@runtime_checkable
class HasEvidence(Protocol):
    """The log evidence log p(y)."""

    @property
    def log_evidence(self) -> Float[Tensor, ""]: ...


@runtime_checkable
class HasWeights(Protocol):
    """Posterior weights, one for every component or example of the prior."""

    @property
    def weights(self) -> Float[Tensor, " n"]: ...


@runtime_checkable
class HasAtoms(HasWeights, Protocol):
    """Weighted atoms, a posterior that lives on finitely many points."""

    @property
    def atoms(self) -> Float[Tensor, "n d"]: ...
    @property
    def log_weights(self) -> Float[Tensor, " n"]: ...


@runtime_checkable
class HasPosteriorComponents(HasWeights, Protocol):
    """Gaussian components, one for every component of the prior."""

    @property
    def component_means(self) -> Float[Tensor, "n d"]: ...

    def component_covariances(self, index: Tensor) -> Float[Tensor, "k d d"]: ...


@runtime_checkable
class HasTangents(HasPosteriorComponents, Protocol):
    """Gaussian components of a linearised operator.

    Component n is linearised at ``points[n]``; ``converged`` says where a search for it ended.
    """

    @property
    def log_weights(self) -> Float[Tensor, " n"]: ...
    @property
    def points(self) -> Float[Tensor, "n d"]: ...
    @property
    def converged(self) -> Bool[Tensor, " n"]: ...

    def component_draws(
        self, index: Tensor, count: int, stream: Stream
    ) -> Float[Tensor, "k count d"]: ...


class Marginal(Protocol):
    """The law of one coordinate; ``atomic`` where it has no density."""

    @property
    def atomic(self) -> bool: ...

    def density(self, x: Float[Tensor, " k"]) -> Float[Tensor, " k"]: ...
    def cdf(self, x: Float[Tensor, " k"]) -> Float[Tensor, " k"]: ...
    def quantile(self, p: Float[Tensor, " q"]) -> Float[Tensor, " q"]: ...


@runtime_checkable
class HasMarginals(Protocol):
    """Marginals of single coordinates in closed form."""

    def marginals(self, coordinates: Sequence[int] | None = None) -> Sequence[Marginal]: ...


# -- of noise -----------------------------------------------------------------------------------


@runtime_checkable
class IsGaussian(Protocol):
    """A Gaussian law of the noise.

    Residuals have real components in which the noise is white (``components``), of the standard
    deviation gamma (``component_std``); ``whiten`` gives them in units of gamma. The components are
    those of ``whitening`` times the residual, where there is one. ``std`` is gamma as it is given
    for complex data, whose two parts share the variance.
    """

    @property
    def std(self) -> float: ...
    @property
    def whitening(self) -> Whitening | None: ...
    @property
    def component_std(self) -> float: ...

    def components(self, residual: Tensor, /) -> Float[Tensor, "... m_real"]: ...
    def whiten(self, residual: Tensor, /) -> Float[Tensor, "... m_real"]: ...
    def log_normaliser(self, m_real: int, /) -> float: ...
    def standardise(self, residual: Tensor, /) -> Tensor: ...


# -- of operators -------------------------------------------------------------------------------


@runtime_checkable
class HasProjection(Protocol):
    """A projection: the coefficients (n, *domain) of examples of its range (n, *range)."""

    def project(self, m: Tensor) -> Tensor: ...
