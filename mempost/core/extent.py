"""How far out draws may lie: an iteration that is too coarse may end at finite numbers.

They mean nothing, and look like draws. Those of an iteration are held against draws of the prior,
where these are what its denoiser and densities speak of: one that lies a thousand times farther
from their mean than they do (root mean square) is an error.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import HasNoisedDensity, ask
from mempost.core.errors import DivergenceError
from mempost.core.memory import remember
from mempost.core.prior import FittedPrior
from mempost.core.streams import TILE, Streams

FARTHEST = 1e3


def require_within(prior: FittedPrior, x: Float[Tensor, "rows d"], remedy: str) -> None:
    """Refuse draws x that lie much farther out than those of the prior.

    Raises:
        DivergenceError: naming how far, and the remedy.
    """
    if ask(prior, HasNoisedDensity) is None:
        return
    drawn = remember(lambda: prior.sample(8 * TILE, Streams(0, "metric")), "extent", prior)
    centre = drawn.mean(0)
    extent = (drawn - centre).norm(dim=-1).square().mean().sqrt()
    times = float((x - centre).norm(dim=-1).max() / extent)
    if extent > 0 and times > FARTHEST:
        raise DivergenceError(
            f"a draw lies {times:.2g} times farther out than those of the prior; "
            f"{remedy or 'take smaller steps'} (or are the data in other units?)"
        )
