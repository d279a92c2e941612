"""What docs/writing_a_plugin.md shows runs, and what it says of the interfaces is so.

The Python blocks of the page, in order, are one module; tables are compared with the classes.
"""

import importlib.util
import inspect
import math
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

import mempost
from mempost.core import capabilities
from mempost.core.denoised import Denoised
from mempost.core.registry import REGISTRIES
from mempost.testing import check_plugin, operator_checks
from mempost.testing.examples import gaussian_problem

PAGE = (Path(__file__).parents[2] / "docs" / "writing_a_plugin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)

IDENTITY = [[float(i == j) for j in range(5)] for i in range(5)]
SPEC = {
    "title": "The plugins of the page",
    "data": {"type": "gaussian", "mean": [0] * 5, "covariance": IDENTITY, "n_train": 12},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
    "noise": {"std": 0.1},
    "observation": {"truth": {"type": "held_out"}},
    "samplers": {
        "exact": {"type": "exact_lgm"},
        "dps": {"type": "dps", "steps": 20, "schedule": "logistic", "save": [0.4, 0.1]},
        "gauss_newton": {"type": "gauss_newton_dps", "steps": 20},
        "widened": {"type": "guided", "guidance": "widened", "solver": "kutta", "steps": 20},
        "langevin": {"type": "smoothed_langevin", "steps": 20, "size": 0.001},
    },
    "samples": 64,
}


def blocks(language):
    return [text for found, text in BLOCKS if found == language]


def rows(heading):
    """Cells of the table of the page whose first heading is given."""
    table = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    return [line.strip("|").split("|") for line in table.group(1).splitlines()]


def spans(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The module that the page's Python blocks make; what it registers is forgotten after."""
    for registry in REGISTRIES.values():
        monkeypatch.setattr(registry, "_local", {})
    path = tmp_path / "documented_plugins.py"
    path.write_text("\n\n".join(blocks("python")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


def test_every_block_is_run_here():
    assert {language for language, _ in BLOCKS} == {"python", "yaml", "toml"}
    assert len(blocks("yaml")) == len(blocks("toml")) == 1
    groups = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]
    assert groups.keys() <= {registry.group for registry in REGISTRIES.values()}


@pytest.mark.parametrize(
    "name",
    [
        "operator:absorption",
        "prior:regularised",
        "sampler:smoothed_langevin",
        "guidance:widened",
        "solver:kutta",
        "schedule:logistic",
        "network:gated",
        "metric:mean_shift",
        "metric:to_nearest",
        "figure:first_coordinate",
    ],
)
def test_the_plugins_pass_the_public_checks(page, name):
    outcomes = check_plugin(*name.split(":"))
    assert len(outcomes) >= 3
    assert [str(o) for o in outcomes if not o.ok] == []


@pytest.mark.parametrize(
    "name", ["Regularised", "Widened", "Kutta", "Logistic", "Gated", "ToNearest"]
)
def test_parts_are_short_and_need_no_edit_elsewhere(page, name):
    parts = {cls: inspect.getsource(cls) for n, cls in vars(page).items() if n.endswith(name)}
    assert sum(len(source.splitlines()) for source in parts.values()) < 60


def test_the_plugins_run_in_a_spec(page, tmp_path):
    study = mempost.run({**SPEC, **yaml.safe_load(blocks("yaml")[0])}, out=tmp_path / "out")
    assert study.ok, [*study.errors, *(row["reason"] for row in study.rows)]
    shifts = {row["sampler"]: row["mean_shift"] for row in study.rows}
    assert shifts["exact"] == 0
    assert 0 < shifts["gauss_newton"] < 1 and shifts["dps"] > 0
    (dps,) = [row for row in study.rows if row["sampler"] == "dps"]
    assert dps["to_nearest_0.4"] > 0 and dps["to_nearest_0.1"] > 0
    assert list(study.figures) == ["first_coordinate"]
    (result, *_) = study.results
    for cell, _ in rows("of a `Result`"):
        for span in spans(cell):
            if span.startswith("result"):
                eval(span, {"result": result, "key": "exact"})


def test_the_regularised_flow_ends_where_the_page_says(page, tmp_path):
    """In the plane |x - x_n|/sqrt(c) is Rayleigh: median sqrt(2 log 2), with density .589 there."""
    c, n = 1e-4, 512
    spec = {
        "title": "Tikhonov",
        "data": {"type": "points", "values": [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]},
        "prior": {"type": "regularised", "c": c, "base": {"type": "empirical_gmm", "bandwidth": 0}},
        "samplers": {
            "flow": {
                "type": "reverse_diffusion",
                "schedule": {"type": "ve", "sigma_min": 1e-4, "sigma_max": 10.0},
                "solver": "dormand_prince",
                "start": "noise",
            }
        },
        "samples": n,
    }
    (result,) = mempost.run(spec, out=tmp_path / "out").results
    x_n = result.data.train.flatten(1)
    radius = torch.cdist(result.samples.flat, x_n).min(1).values / c**0.5
    error = 0.5 / (0.589 * n**0.5)
    assert abs(float(radius.median()) - (2 * math.log(2)) ** 0.5) < 3.5 * error


def test_a_solver_that_leaves_torch_is_refused(page):
    class Detached(page.Absorption):
        """The values alone, with products beside them."""

        def forward(self, x):
            return torch.from_numpy(self.value(x.detach().numpy())).to(x)

        def vjp(self, x, v):
            return self(x), torch.from_numpy(self.adjoint(x.numpy(), v.numpy()))

    failed = [check.name for check in operator_checks(Detached(n=4)) if not check.outcome().ok]
    assert "jvp_matches_vjp" in failed


def test_second_derivatives_of_a_wrapped_solver_are_never_silently_wrong(page):
    f, x = page.Absorption(n=4), torch.zeros(1, 4).double()

    def phi(x):
        return f(x).square().sum()

    assert torch.func.hessian(phi)(x).isnan().all()
    assert torch.func.jacrev(torch.func.jacrev(phi))(x).isnan().all()


@pytest.mark.parametrize(("line", "overridden"), [row[:2] for row in rows("import")])
def test_the_table_has_the_signatures(line, overridden):
    (statement,) = spans(line)
    namespace = {}
    exec(statement, namespace)
    cls = namespace[statement.split()[-1]]
    named = set()
    for span in spans(overridden):
        name, bracket, arguments = span.partition("(")
        if name in mempost.__all__:
            continue
        member = inspect.getattr_static(cls, name, None)
        named.add(name)
        if bracket:
            actual = list(inspect.signature(getattr(cls, name)).parameters)
            actual = actual if isinstance(member, classmethod) else actual[1:]
            assert actual == [a.strip() for a in arguments[:-1].split(",") if a], span
        else:
            assert member is not None or name in cls.__annotations__ or name == "log_density", span
    inherited = mempost.FittedPrior.__abstractmethods__ if "those of" in overridden else set()
    assert cls.__abstractmethods__ <= named | inherited, cls


def test_the_table_of_capabilities_is_complete():
    documented = set()
    for _, names, attributes, _ in rows("of"):
        for name in spans(names):
            documented.add(name)
            for span in spans(attributes):
                assert hasattr(vars(capabilities)[name], span.partition("(")[0]), (name, span)
    known = {n for n, v in vars(capabilities).items() if getattr(v, "_is_runtime_protocol", False)}
    assert documented == known


def test_the_table_of_at_holds():
    problem = gaussian_problem()
    z = torch.zeros(3, problem.dimension).double()
    at = Denoised(problem.prior, z, mempost.NoiseLevel(1.0, 0.5))
    for cell, _ in rows("of `at`"):
        for span in spans(cell):
            eval(span, {"at": at, "v": z})
