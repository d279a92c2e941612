"""Checks of observation noise: density, gradient and draws belong together, missing data are none.

Every law is asked for real data and, with the tag ``complex``, for complex ones. Draws are held to
the density datum by datum, the others missing: the distribution function between two quantiles of
the draws is the integral of the density there, or its sum where draws repeat, as counts do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.autodiff import value_and_pullback
from mempost.core.capabilities import IsGaussian
from mempost.core.errors import SpecError
from mempost.core.noise import NoiseLaw, NoiseRecipe
from mempost.core.streams import Streams
from mempost.testing.check import Catalogue, NotApplicable, having
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import (
    FAMILY_WISE,
    require,
    require_close,
    require_distribution,
    require_equal,
)
from mempost.testing.randomness import twice_under_global_seeds

_DRAWS = 2**16
_GRID, _ACROSS = 2**11, 2**8
_TAIL = 0.005
"""Part of the draws beyond either end of the interval on which they are compared."""
_STEP = 1e-5


@dataclass(frozen=True, eq=False)
class NoiseCase:
    """A recipe of noise, and data without noise where the built-in ones do not suit it."""

    plugin: NoiseRecipe
    given_data: Tensor | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def laws(self) -> dict[str, tuple[NoiseLaw, Tensor]]:
        """Laws and data without noise (m,) that they are for, real and complex.

        Raises:
            SpecError: the recipe takes neither.
        """
        found: dict[str, tuple[NoiseLaw, Tensor]] = {}
        refused: SpecError | None = None
        for f in self._data():
            try:
                law = self.plugin.resolve(f)
            except SpecError as error:
                refused = refused or error
                continue
            found.setdefault("complex" if f.is_complex() else "real", (law, f.flatten()))
        if not found:
            assert refused is not None
            raise refused
        return found

    def _data(self) -> Iterator[Tensor]:
        """Data without noise: four numbers, or as many as an array of the recipe has."""
        if self.given_data is not None:
            yield self.given_data
            return
        arrays = (getattr(self.plugin, name) for name in type(self.plugin).model_fields)
        sizes = [a.shape[:1] for a in arrays if isinstance(a, FrozenArray) and a.ndim]
        for (m,) in [*sizes, (4,)]:
            f = 1.0 + 2.5 * torch.arange(m, dtype=torch.float64)
            yield f
            yield torch.complex(f, 0.5 - f)

    def __iter__(self) -> Iterator[tuple[str, NoiseLaw, Tensor, Tensor]]:
        """Name, law, data without noise (m,), and five draws of data (5, m)."""
        for name, (law, f) in self.laws.items():
            yield name, law, f, _draw(law, f, 0)


def _draw(law: NoiseLaw, f: Float[Tensor, " m"], seed: int) -> Float[Tensor, "5 m"]:
    return law.perturb(f.repeat(5, 1), Streams(seed, "noise").at())


CHECKS: Catalogue[NoiseCase] = Catalogue("noise", NoiseCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def draws_follow_density(case: NoiseCase) -> None:
    """Draws do not have the density that they are said to have, or it is not normalised."""
    for name, law, f, _ in case:
        draws = law.perturb(f.expand(_DRAWS, -1), Streams(0, "noise").at())
        for i in {0, len(f) - 1}:
            alone = law.without(torch.arange(len(f)) != i)
            _require_marginal(alone, f, draws[:, i], i, f"Datum {i} ({name})")


def _require_marginal(law: NoiseLaw, f: Tensor, draws: Tensor, i: int, what: str) -> None:
    """Compare draws of datum i, of complex ones the real part, with the density of that datum."""

    def density(values: Tensor) -> Float[Tensor, " k"]:
        y = f.new_full((len(values), len(f)), torch.nan)
        y[:, i] = values
        return law.log_density(y, f.expand(len(values), -1)).exp()

    ordered = draws.real.sort().values
    values, counts = ordered.unique(return_counts=True)
    if len(values) < _DRAWS / 2:
        expected = density(values.to(draws.dtype)).cumsum(0)
        found = counts.cumsum(0) / _DRAWS
    else:
        edge = round(_TAIL * _DRAWS)
        grid = torch.linspace(float(ordered[edge]), float(ordered[-edge]), _GRID).double()
        expected = _integral(density, grid, draws)
        found = (torch.searchsorted(ordered, grid, right=True) - edge) / _DRAWS
        found = found[:: _GRID // len(expected)]
    worst = float((found - expected).abs().max())
    sampling = math.sqrt(math.log(2 * 8 / FAMILY_WISE) / (2 * _DRAWS))
    require(
        worst <= 2 * sampling + 1e-3,
        f"{what}: the distribution functions of draws and density differ by {worst:.3g}.",
    )


def _integral(
    density: Callable[[Tensor], Tensor], grid: Tensor, draws: Tensor
) -> Float[Tensor, " g"]:
    """The distribution function (of the real part) on a grid, from its first node."""
    if draws.is_complex():
        across, weights = _nodes(draws.imag, _ACROSS)  # over the imaginary part
        grid = grid[:: _GRID // _ACROSS]
        plane = torch.complex(*torch.meshgrid(grid, across, indexing="ij"))
        values = density(plane.flatten()).reshape(plane.shape) @ weights
    else:
        values = density(grid)
    return torch.cat([values.new_zeros(1), torch.cumulative_trapezoid(values, grid)])


@CHECKS.add()
def joint_density(case: NoiseCase) -> None:
    """The density of two data, integrated over one of them, is not that of the other alone."""
    if "real" not in case.laws:
        raise NotApplicable("only complex data")
    law, f = case.laws["real"]
    if len(f) < 2:
        raise NotApplicable("a single datum")
    draws = law.perturb(f.expand(_DRAWS, -1), Streams(0, "noise").at())
    ends = torch.isin(torch.arange(len(f)), torch.tensor([0, len(f) - 1]))
    both = law.without(~ends)
    for i, other in ((0, len(f) - 1), (len(f) - 1, 0)):
        alone = law.without(torch.arange(len(f)) != i)
        nodes, weights = _nodes(draws[:, other])
        y = draws[:3, None].repeat(1, len(nodes), 1)
        y[:, :, other] = nodes
        found = both.log_density(y, f.expand_as(y)).exp() @ weights
        expected = alone.log_density(draws[:3], f.expand(3, -1)).exp()
        require_close(found, expected, f"Density of datum {i}", 0.01)


def _nodes(draws: Tensor, n: int = _GRID) -> tuple[Tensor, Tensor]:
    """Nodes and weights of an integral over all values of a real datum; of a sum over counts.

    A value is written as middle + spread tan(angle), so that long tails are reached.
    """
    values = draws.unique()
    if len(values) < _DRAWS / 2:
        return values, torch.ones_like(values)
    low, middle, high = draws.quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    angle = math.pi * ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5)
    spread = high - low
    return middle + spread * angle.tan(), spread / angle.cos() ** 2 * math.pi / n


@CHECKS.add()
def gradient(case: NoiseCase) -> None:
    """The log density has no gradient in F(x), or another one than its central differences."""
    for name, law, f, y in case:
        value, slope = value_and_pullback(partial(law.log_density, y), f.expand(5, -1))
        found = slope(torch.ones_like(value))
        require(tuple(value.shape) == (5,), f"Five rows ({name}) give {tuple(value.shape)}.")
        size = _STEP * (1 + (y - f).abs().max())
        for part in (1.0, 1j) if f.is_complex() else (1.0,):
            for i in range(len(f)):
                step = torch.zeros_like(f)
                step[i] = part * size
                forward, back = law.log_density(y, f + step), law.log_density(y, f - step)
                along = found[:, i].imag if part == 1j else found[:, i].real
                expected = (forward - back) / (2 * size)
                scale = 1 + float(found.abs().max())
                require_close(along, expected, f"Gradient at datum {i} ({name})", 1e-6, scale)


@CHECKS.add()
def whitening(case: NoiseCase) -> None:
    """Whitened residuals are not white, or half their square is not minus the log density."""
    for name, law, f, y in case:
        noise = having(law, IsGaussian)
        real = len(f) * (2 if f.is_complex() else 1)
        whitened = noise.whiten(y - f)
        require(
            not whitened.is_complex() and tuple(whitened.shape) == (5, real),
            f"{len(f)} data ({name}) give {whitened.dtype} of shape {tuple(whitened.shape)}.",
        )
        found = -0.5 * whitened.square().sum(-1) - noise.log_normaliser(real)
        require_close(law.log_density(y, f), found, f"-|whitened|^2 / 2 + const ({name})", 1e-10)
        e = noise.whiten(law.perturb(f.expand(4096, -1), Streams(0, "noise").at()) - f)
        require_distribution(torch.special.ndtr(e), f"Whitened noise ({name})")
        pairs = (e.mT @ e / len(e)).fill_diagonal_(0).abs().max()
        require(float(pairs) < 7 / math.sqrt(len(e)), f"Whitened data correlate by {pairs:.2g}.")


@CHECKS.add()
def missing_data(case: NoiseCase) -> None:
    """What stands in the place of a missing datum matters, or the datum is drawn or counted."""
    for name, law, f, y in case:
        if len(f) < 2:
            raise NotApplicable("a single datum")
        missing = torch.arange(len(f)) == 1
        left = law.without(missing)
        require(
            left.present is not None and left.present.numpy().tolist() == _numbers(~missing),
            f"`present` does not say which data are left ({name}).",
        )
        drawn = left.perturb(f.expand(5, -1), Streams(0, "noise").at())
        require(
            bool((drawn.isnan() == missing).all()), f"Draws are not NaN where missing ({name})."
        )
        other = torch.where(missing, 3 * y + 1, y)
        absent = torch.where(missing, torch.nan, y)
        value, slope = value_and_pullback(partial(left.log_density, absent), f)
        require_equal(left.log_density(other, f), value, f"Log density without a datum ({name})")
        require(
            bool((slope(torch.ones_like(value))[missing] == 0).all()),
            f"The gradient is not 0 where a datum is missing ({name}).",
        )
        parts = left.components(absent - f)
        expected = (len(f) - 1) * (2 if f.is_complex() else 1)
        require(
            parts.shape[-1] == expected and bool(torch.isfinite(parts).all()),
            f"Without a datum there are {parts.shape[-1]} components, or they are not finite.",
        )


def _numbers(mask: Tensor) -> list[int]:
    return torch.nonzero(mask)[:, 0].tolist()


@CHECKS.add()
def batch_invariance(case: NoiseCase) -> None:
    """The log density of a row depends on the other rows."""
    for name, law, f, y in case:
        f = f + 0.1 * torch.arange(5, dtype=torch.float64)[:, None]
        alone = torch.cat([law.log_density(y[i, None], f[i, None]) for i in range(5)])
        require_close(law.log_density(y, f), alone, f"log p(y | x) in a batch and alone ({name})")


@CHECKS.add()
def global_random_state(case: NoiseCase) -> None:
    """Draws depend on a global random generator, or are not a function of the stream."""
    for name, law, f, y in case:
        first, second = twice_under_global_seeds(partial(_draw, law, f, 0))
        require_equal(first, second, f"Two draws from one stream ({name})")
        require(not torch.equal(_draw(law, f, 1), y), f"Two streams give the same draws ({name}).")


@CHECKS.add()
def arguments_kept(case: NoiseCase) -> None:
    """Data are written into."""
    for name, law, f, y in case:
        kept = f.clone(), y.clone()
        law.perturb(f, Streams(0, "noise").at())
        law.log_density(y, f)
        require_equal(f, kept[0], f"F(x) afterwards ({name})")
        require_equal(y, kept[1], f"The data afterwards ({name})")


@CHECKS.add()
def dtype_kept(case: NoiseCase) -> None:
    """Precision changes on the way."""
    for name, law, f, y in case:
        single = torch.complex64 if f.is_complex() else torch.float32
        f, y = f.to(single), y.to(single)
        for what, found in (
            ("log_density", law.log_density(y, f).dtype),
            ("components", law.components(y - f).dtype),
            ("perturb", law.perturb(f, Streams(0, "noise").at()).dtype.to_real()),
        ):
            require(found == torch.float32, f"{what} of {single} gives {found} ({name}).")


@CHECKS.add()
def device(case: NoiseCase) -> None:
    """Data on an accelerator leave it, or are others there."""
    if not torch.cuda.is_available():
        raise NotApplicable("no accelerator here")
    for name, law, f, y in case:
        drawn = law.perturb(f.cuda().expand(5, -1), Streams(0, "noise").at())
        require_close(drawn.cpu(), y, f"Draw on cuda ({name})")
        value = law.log_density(y.cuda(), f.cuda())
        require(value.is_cuda, f"The log density left the device ({name}).")
        require_close(value.cpu(), law.log_density(y, f), f"Log density on cuda ({name})", 1e-9)
