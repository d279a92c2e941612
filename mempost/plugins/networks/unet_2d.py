"""The image U-Net of the package diffusers, for x of shape (rows, columns) or (channels, ...).

Images are padded with zeros to a multiple of 2^(levels - 1) and cut again. Needs the extra
``mempost[unet]``.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import pad

from mempost.core.errors import PluginError
from mempost.core.network import Network


class UNet2D(Network):
    """diffusers' UNet2DModel on images; needs the extra ``mempost[unet]``."""

    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (32, 64), min_length=1, description="channels of every level"
    )
    layers: int = Field(1, ge=1, description="residual blocks of a level")
    attention: bool = Field(False, description="self-attention at the coarsest level")
    groups: int = Field(8, ge=1, description="groups of the group norms; divides the channels")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for c in self.channels:
            if c % self.groups:
                raise ValueError(f"{c} channels do not fall into {self.groups} groups")
        return self

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        if len(shape) not in (2, 3):
            raise PluginError(
                f"unet_2d takes images, x of shape (rows, columns) or (channels, rows, columns); "
                f"found {shape}"
            )
        image = shape if len(shape) == 3 else (1, *shape)
        return _UNet2D(self, (image[0], image[1], image[2]))


def _model_class() -> Any:
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise PluginError(
            "unet_2d needs the package diffusers: pip install 'mempost[unet]'"
        ) from error
    return UNet2DModel


class _UNet2D(nn.Module):
    def __init__(self, recipe: UNet2D, image: tuple[int, int, int]) -> None:
        super().__init__()
        levels, self.image = len(recipe.channels), image
        plain, attention = (
            ["Block2D"] * (levels - 1),
            "AttnBlock2D" if recipe.attention else "Block2D",
        )
        self.multiple = 2 ** (levels - 1)
        self.unet = _model_class()(
            in_channels=image[0],
            out_channels=image[0],
            block_out_channels=recipe.channels,
            layers_per_block=recipe.layers,
            down_block_types=[f"{way}Down{kind}" for way, kind in _named([*plain, attention])],
            up_block_types=[f"{way}Up{kind}" for way, kind in _named([attention, *plain])],
            norm_num_groups=recipe.groups,
            add_attention=recipe.attention,
        )

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        _, rows, columns = self.image
        h = pad(x.reshape(-1, *self.image), (0, -columns % self.multiple, 0, -rows % self.multiple))
        return self.unet(h, clock).sample[..., :rows, :columns].flatten(1)


def _named(kinds: list[str]) -> list[tuple[str, str]]:
    return [
        ("Attn" if kind.startswith("Attn") else "", kind.removeprefix("Attn")) for kind in kinds
    ]
