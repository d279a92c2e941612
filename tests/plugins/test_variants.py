"""A closed list of recipes: by name, in full, and what a schema says of it."""

from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import TypeAdapter, ValidationError

from mempost.core.plugin import Recipe
from mempost.core.variants import ONE_OF
from mempost.experiments.question import HeldOut, Truth
from mempost.methods.geometry.mask_patterns import Half, Pattern


class Round(Recipe):
    type: Literal["round"] = "round"
    radius: float = 1.0


class Polygon(Recipe):
    type: Literal["polygon"] = "polygon"
    corners: int


SHAPE = TypeAdapter(Annotated[Round | Polygon, ONE_OF])


@pytest.mark.parametrize("value", ["round", {"type": "round"}, Round()])
def test_a_name_stands_for_the_defaults(value):
    assert SHAPE.validate_python(value) == Round()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("square", "does not match any of the expected tags: 'round', 'polygon'"),
        ("polygon", "polygon.corners\n  Field required"),
        ({"type": "round", "corners": 3}, "Unknown name; allowed are type, radius"),
        (3, "valid dictionary"),
    ],
)
def test_others_are_refused(value, message):
    with pytest.raises(ValidationError, match=message):
        SHAPE.validate_python(value)


def test_the_schema_names_what_needs_no_more():
    schema = SHAPE.json_schema()
    for right in ("round", {"type": "round", "radius": 2}, {"type": "polygon", "corners": 3}):
        jsonschema.validate(right, schema)
    for wrong in ("polygon", "square", {"type": "polygon"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_patterns_and_truths_are_named_alone():
    assert TypeAdapter(Pattern).validate_python("half") == Half()
    assert TypeAdapter(Truth).validate_python("held_out") == HeldOut()
