"""Hyper-parameters that are one of several named recipes, written in full or by name.

    rule: {type: residual_norm, zeta: 0.3}       a recipe with its own hyper-parameters
    rule: gaussian                               a recipe with its defaults

Every recipe has a field ``type`` with one literal value, and the hyper-parameter is annotated

    Rule = Annotated[
        Gaussian | ResidualNorm,
        Field(discriminator="type"),
        BeforeValidator(by_name, json_schema_input_type=
            Literal["gaussian", "residual_norm"] | Gaussian | ResidualNorm),
    ]
"""

from __future__ import annotations

from typing import Any


def by_name(value: Any) -> Any:
    """A bare name as the mapping ``{"type": name}``; anything else as it is."""
    return {"type": value} if isinstance(value, str) else value
