"""A field that holds a plugin takes a name, a mapping, an instance and a class, in one meaning."""

from typing import Annotated

import jsonschema
import pytest
from pydantic import Field, ValidationError

import mempost
from mempost.core.errors import PluginError, SpecError
from mempost.core.fields import PluginField, kind_definitions, named
from mempost.core.operator import ForwardOperator
from mempost.core.plugin import Recipe
from mempost.core.registry import KINDS, REGISTRIES, register
from mempost.plugins.operators.blur import Blur
from mempost.plugins.operators.linear import Linear


class Holder(Recipe):
    operator: Annotated[ForwardOperator, PluginField("operator")] = Field(
        default_factory=named("operator", {"type": "blur", "width": 2.0})
    )


@pytest.mark.parametrize("value", ["blur", {"type": "blur"}, Blur(), Blur])
def test_a_name_a_mapping_an_instance_and_a_class_mean_the_same(value):
    held = Holder(operator=value)
    assert held == Holder(operator=Blur())
    assert held.model_dump(mode="json")["operator"]["type"] == "blur"
    assert Holder.model_validate(held.model_dump(mode="json")) == held


def test_a_default_by_name_is_made_when_it_is_needed():
    assert Holder().operator == Blur(width=2.0)
    assert Holder.model_fields["operator"].default_factory == named(
        "operator", {"type": "blur", "width": 2.0}
    )


@pytest.mark.parametrize(
    ("value", "message", "place"),
    [
        ("blurr", "No operator has this name.*Did you mean 'blur'", ("operator",)),
        ({"type": "blurr"}, "No operator has this name.*Did you mean 'blur'", ("operator", "type")),
        (3, "a name, or a mapping with a type; operators are .*blur", ("operator",)),
        ({"width": 2.0}, "a name, or a mapping with a type", ("operator",)),
        ("linear", "Field required", ("operator", "matrix")),
        (Linear, "Field required", ("operator", "matrix")),
        (ForwardOperator, "ForwardOperator is abstract: it does not override", ("operator",)),
        (Holder, "Holder is not a subclass of ForwardOperator", ("operator",)),
    ],
)
def test_anything_else_is_refused_where_it_stands(value, message, place):
    with pytest.raises(ValidationError, match=message) as caught:
        Holder(operator=value)
    assert caught.value.errors()[0]["loc"] == place


def test_the_schema_takes_the_bare_name_of_a_plugin_without_required_fields():
    schema = {"$defs": kind_definitions(), "$ref": "#/$defs/operator"}
    jsonschema.validate("blur", schema)
    jsonschema.validate({"type": "blur"}, schema)
    for wrong in ("blurr", "linear"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


class Shift(ForwardOperator):
    """x + 1."""

    def forward(self, x):
        return x + 1


def test_register_offers_a_class_under_a_name(monkeypatch):
    monkeypatch.setattr(REGISTRIES["operator"], "_local", {})
    mempost.register("operator", "shift", Shift)
    assert Holder(operator="shift").operator == Shift()
    assert PluginField("operator").dump(Shift()) == {"type": "shift"}
    register("operators", "moved", Shift)
    with pytest.raises(SpecError, match=r"'operater' is not a kind; .* Did you mean 'operator'"):
        register("operater", "shift", Shift)
    with pytest.raises(PluginError, match=r"operator 'shift' is not a subclass"):
        register("operator", "shift", Holder)
    with pytest.raises(PluginError, match=r"operator 'any' is abstract: it does not override"):
        register("operator", "any", ForwardOperator)


def test_an_unregistered_class_says_how_to_register_it():
    with pytest.raises(PluginError, match=r"call mempost\.register\('operator', name, cls\)"):
        PluginField("operator").dump(Shift())


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_of_a_kind_leads_to_all_that_it_needs(kind):
    from mempost.testing.conformance import CATALOGUES
    from mempost.testing.scaffold import _template

    registry = REGISTRIES[kind]
    with pytest.raises(PluginError, match="abstract"):
        register(kind, "base", registry.base)
    assert registry.names
    assert {"config_round_trip", "described"} <= {e.name for e in CATALOGUES[kind].entries}
    assert _template(f"{kind}.py") and _template(f"{kind}.yaml")
