"""Networks by name: one of several recipes, ``{type: mlp, width: 128}`` or ``mlp``.

A network of one's own is a subclass of `NetworkRecipe`, offered by a subclass of the prior whose
field ``network`` lists it; stored states find it by its ``type``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mempost.core.variants import by_name
from mempost.plugins.priors.score_matching.networks.mlp import MLP
from mempost.plugins.priors.score_matching.networks.network import CLOCK, NetworkRecipe
from mempost.plugins.priors.score_matching.networks.residual_mlp import ResidualMLP
from mempost.plugins.priors.score_matching.networks.unet_1d import UNet1D
from mempost.plugins.priors.score_matching.networks.unet_2d import UNet2D

Network = Annotated[
    ResidualMLP | MLP | UNet1D | UNet2D,
    Field(discriminator="type"),
    BeforeValidator(
        by_name,
        json_schema_input_type=Literal["residual_mlp", "mlp", "unet_1d", "unet_2d"]
        | ResidualMLP
        | MLP
        | UNet1D
        | UNet2D,
    ),
]

__all__ = ["CLOCK", "MLP", "Network", "NetworkRecipe", "ResidualMLP", "UNet1D", "UNet2D"]
