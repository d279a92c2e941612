"""Numbers and booleans by YAML 1.2: what merely converts to a number is none."""

from pathlib import Path

import numpy as np
import pytest
from small_study import SPEC, write

from mempost.core.arrays import Array
from mempost.core.plugin import Recipe
from mempost.core.registry import REGISTRIES
from mempost.experiments.yamlio import dump_yaml, parse_yaml

DATA = Path(__file__).parent / "data"

PLAIN = [
    *[("1e3", 1000.0), ("1.e-3", 0.001), (".5", 0.5), ("+1", 1), ("-0.0", 0.0), ("1E+2", 100.0)],
    *[("true", True), ("False", False), ("null", None), ("~", None), ("", None)],
    *[(text, text) for text in ("yes", "on", "No", "y", "1:30", "190:20:30", "0x1f", "0o17")],
    *[(text, text) for text in ("010", "1_000", "2020-01-01", "=", "0b1", "1e", "tRue", "١")],
]


@pytest.mark.parametrize(("text", "value"), PLAIN)
def test_plain_scalars(text, value):
    read = parse_yaml(text, "x")
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("text", ["yes", "1e3", "010", "null", "1:30", "true", "0x1f", "", "1.5"])
def test_text_survives_writing_and_reading(text):
    assert parse_yaml(dump_yaml({"a": text, "b": [text]}), "x") == {"a": text, "b": [text]}


def test_aliases_are_copies_and_merge_keys_merge():
    read = parse_yaml("a: &x {b: [1], c: 2}\nd: *x\ne: {<<: *x, c: 3}", "x")
    assert read["d"] == read["a"] and read["d"]["b"] is not read["a"]["b"]
    assert read["e"] == {"b": [1], "c": 3}


class Everything(Recipe):
    """A recipe with a field of each kind."""

    whole: int = 1
    real: float = 1.0
    flag: bool = False
    several: tuple[float, ...] = ()
    either: int | tuple[int, int] = 1
    by_name: dict[str, float] = {}
    maybe: float | None = None
    array: Array | None = None


@pytest.mark.parametrize(
    "hyper",
    [
        *[{"whole": v} for v in (True, np.True_, "yes", "1_000", "010", "0x1f", 2.5, 10**30)],
        *[{"real": v} for v in (True, "on", "1:30", "nan", "inf", "1_0", " 1", 10**400, "1e999")],
        *[{"flag": v} for v in (1, 0, "yes", "on", "true", 1.0)],
        *[{"several": (1.0, v)} for v in (False, "off")],
        *[{"either": v} for v in (True, (1, False))],
        *[{"by_name": {"a": True}}, {"maybe": False}],
        *[{"array": v} for v in ([True], [[1.0], [True]], "yes", ["on"], [np.True_], [None], [{}])],
        {"array": np.array([True, False])},
    ],
)
def test_what_is_no_number_is_refused(hyper):
    with pytest.raises(ValueError, match=next(iter(hyper))):
        Everything(**hyper)


def test_what_is_a_number_is_accepted():
    recipe = Everything(
        whole=1e3,
        real="1e-3",
        flag=np.True_,
        several=[1, np.float32(0.5)],
        either=np.int64(4),
        array=["1e3", 2, 0.5],
    )
    assert (recipe.whole, recipe.real, recipe.flag) == (1000, 0.001, True)
    assert recipe.array is not None and recipe.array.tolist() == [1000.0, 2.0, 0.5]


@pytest.mark.parametrize("kind", sorted(REGISTRIES))
def test_no_plugin_takes_a_boolean_for_a_number(kind):
    """Of every installed plugin, every field that is a plain number."""
    for name in REGISTRIES[kind].names:
        cls = REGISTRIES[kind].get(name)
        for field, info in cls.model_fields.items():
            if info.annotation in (int, float):
                with pytest.raises(ValueError, match=rf"(?s){field}.*valid (number|integer)"):
                    cls(**{field: True})


def test_the_words_of_yaml_1_1_are_refused(command):
    code, message = command("validate", DATA / "yaml_bool.yaml")
    assert code == 2
    for place in ("seed", "data.values", "prior.bandwidth", "noise.std"):
        assert f"{place}: Input should be" in message


@pytest.mark.parametrize("text", ["010", "1:30", "0x10", "yes", "1_0"])
def test_a_number_of_another_notation_is_refused(text, command, tmp_path):
    code, message = command("validate", write(tmp_path, SPEC), "--set", f"samples={text}")
    assert code == 2 and "samples" in message and text in message and message.count("\n") <= 2


def test_an_exponent_is_a_number(command, tmp_path):
    assert command("validate", write(tmp_path, SPEC), "--set", "samples=1e1")[0] == 0
