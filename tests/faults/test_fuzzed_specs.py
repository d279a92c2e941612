"""Specs that are mutated: right, or refused in a line or a few; never a traceback, never a hang."""

from __future__ import annotations

import copy
import random
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mempost.core.errors import SpecError
from mempost.experiments.plan import make_plan
from mempost.experiments.run import check
from mempost.experiments.yamlio import dump_yaml, parse_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
SECONDS = 5
SMALL = {
    "title": "a small study",
    "seed": 3,
    "data": {"type": "points", "values": [[-1.5], [-0.4], [2.5]], "held_out": [[0.2]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5, "standardise": True},
    "operator": [{"type": "polynomial", "coefficients": [0, 1, 0.3]}, "identity"],
    "noise": {"std": 0.3},
    "observation": {"truth": {"type": "held_out", "index": 0}, "seed": 2},
    "samplers": {
        "exact": {"type": "quadrature", "max_nodes": 4096},
        "lgm": "exact_lgm",
        "dps": {
            "type": "dps",
            "rule": {"type": "unit_gradient", "step_length": 0.1},
            "schedule": {"type": "vp_discrete", "steps": 20},
            "solver": "euler_maruyama",
            "steps": 10,
            "save": [0.5, 0.1],
        },
        "chains": {"type": "mala", "draws": 3, "preconditioner": "gauss_newton"},
    },
    "samples": {"default": 40, "chains": 32},
    "sweep": {"prior.bandwidth": {"from": 0.1, "to": 1, "n": 2, "spacing": "log"}},
    "zip": {"noise.std": [0.1, 0.2], "seed": [1, 2]},
    "metrics": ["moments", {"type": "nearest_neighbour", "k": 3, "threshold": 0.3}],
    "figures": ["densities_1d"],
    "table": {"mean_0": "mean"},
}
OBSERVED = {
    "title": "data that are given",
    "data": {"type": "gaussian", "mean": [0, 1], "covariance": [[1, 0.2], [0.2, 1]], "n_train": 9},
    "prior": {
        "type": "gaussian_mixture",
        "weights": [1, 1],
        "means": [[0, 0], [1, 2]],
        "covariances": [1, 2],
    },
    "operator": {"type": "linear", "matrix": [[1, 2], [0, 1]], "offset": [0, 1]},
    "noise": {"relative_to_max": 0.1},
    "observation": {"values": [0.0, 1.0]},
    "samplers": {"exact": "exact_lgm", "daps": {"type": "daps", "steps": 4}},
    "calibration": None,
    "dtype": "float32",
}
HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e-300, 1e300, -1e300, 5e-324, 10**12, 10**400),
    *(float("inf"), float("-inf"), float("nan"), "", " ", "yes", "1e5", "0x1f", "a" * 5000),
    *("\x00", "naïve", "../../etc/passwd", "exact", "type", "{}", "*", "<<", "\N{SNOWMAN}"),
    *([], [[]], [None], [0], [[0, 1], [2]], list(range(50)), {}, {"type": None}, {"type": "x"}),
    *({"type": "gaussian"}, {"type": ["identity"]}, {"file": "nowhere.npy"}, {"": 1}, {1: 2}),
    *({"std": 1, "relative_to_max": 1}, {"a": {"b": {"c": []}}}, [[[[[[[[1]]]]]]]], "exact_lgm"),
]
BITS = ["{", "}", "[", "]", ":", ": ", "- ", ",", "&a ", "*a", "<<: ", "!!set ", "? ", "| ", "\t"]
BITS += ["'", '"', "#", "%", "@", "\n", "\r", "\x07", "~", "---\n", "...\n", "1e999", "\u2028", "﻿"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from places(inner, (*path, key))


def mutated(raw: dict[str, Any], random_: random.Random) -> Any:
    """A spec with one or two places replaced, removed, renamed, doubled or exchanged."""
    raw = copy.deepcopy(raw)
    for _ in range(random_.choice([1, 1, 2])):
        path = random_.choice([p for p in places(raw) if p] or [()])
        if not path:
            return random_.choice(HOSTILE)
        parent = raw
        for part in path[:-1]:
            parent = parent[part]
        last, what = path[-1], random_.randrange(8)
        if what == 0:
            del parent[last]
        elif what == 1 and isinstance(parent, dict):
            parent[str(last) + random_.choice("sx_. ")] = parent.pop(last)
        elif what == 2:
            parent[last] = [parent[last]]
        elif what == 3:
            other = random_.choice([p for p in places(raw) if p])
            value: Any = raw
            for part in other:
                value = value[part]
            parent[last] = copy.deepcopy(value)
        else:
            parent[last] = copy.deepcopy(random_.choice(HOSTILE))
    return raw


def scrambled(text: str, random_: random.Random) -> str:
    """A text with pieces put in, taken out and doubled."""
    for _ in range(random_.randint(1, 4)):
        i, j = sorted(random_.randrange(len(text) + 1) for _ in range(2))
        j = min(j, i + random_.randint(0, 40))
        text = text[:i] + random_.choice(["", text[i:j] * 2, random_.choice(BITS)]) + text[j:]
    return text


class HangError(BaseException):
    """Out of time."""


def _hangs(*_: Any) -> None:
    raise HangError


def outcome(raw: Any, text: str | None = None) -> str:
    """``fine`` or ``refused``; all else is an error of the test."""
    signal.signal(signal.SIGPROF, _hangs)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = raw if text is None else parse_yaml(text, "spec")
            if not isinstance(found, dict):
                return "refused"
            check(make_plan(found, "spec"), "spec")
    except SpecError as error:
        assert 0 < len(str(error).splitlines()) <= 6, str(error)
        assert max(map(len, str(error).splitlines())) < 2000, str(error)
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "fine"


def hold(seed: int, n: int) -> None:
    random_ = random.Random(seed)
    shipped = [parse_yaml(p.read_text(), p.name) for p in sorted(CONFIGS.glob("*.yaml"))]
    whole = [raw for raw in shipped if "extends" not in raw and "fwi" not in str(raw)]
    for base in (SMALL, OBSERVED):
        assert outcome(base) == "fine"
    counts = {"fine": 0, "refused": 0}
    for k in range(n):
        base = random_.choice([SMALL, OBSERVED]) if k % 8 else random_.choice(whole)
        text = None
        raw: Any = None
        if k % 3 == 0:
            text = scrambled(dump_yaml(base), random_)
        else:
            raw = mutated(base, random_)
        try:
            counts[outcome(raw, text)] += 1
        except BaseException as error:
            what = text if text is not None else repr(raw)
            raise AssertionError(f"{type(error).__name__}: {error}\n{what}") from error
    assert counts["refused"] > n / 3 and counts["fine"] > n / 50


def test_mutated_specs_are_right_or_refused():
    hold(0, 300)


@pytest.mark.slow
def test_twenty_thousand_mutated_specs():
    hold(1, 20_000)
