"""Malformed specs: exit code 2 and a short message: place, value, what is allowed, nearest name."""

import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mempost.core.errors import SpecError
from mempost.experiments import cli
from mempost.experiments.run import check, load

ROOT = Path(__file__).parents[2]
FIGURE = (ROOT / "configs" / "figure1_1d.yaml").read_text()


def mempost(capsys, monkeypatch, *arguments):
    """Exit code and standard error of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["mempost", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0, capsys.readouterr().err


SET = [
    # (assignment, what the message must contain)
    ("prior.bandwith=0.3", ["prior.bandwith", "0.3", "bandwidth", "Did you mean 'bandwidth'"]),
    ("prior.type=empirical_gm", ["prior.type", "'empirical_gm'", "Did you mean 'empirical_gmm'"]),
    ("prior.bandwidth=-1", ["prior.bandwidth", "greater than or equal to 0", "-1"]),
    ("prior.bandwidth=.nan", ["prior.bandwidth", "finite", "nan"]),
    ("prior.bandwidth=wide", ["prior.bandwidth", "valid number", "'wide'"]),
    ("prior.bandwidth=[1]", ["prior.bandwidth", "valid number", "[1]"]),
    ("prior=3", ["prior", "mapping with a type", "found 3"]),
    ("prior={bandwidth: 1}", ["prior", "mapping with a type", "empirical_gmm"]),
    ("priro={}", ["priro", "Did you mean 'prior'"]),
    ("operator.type=polynomal", ["operator.0.type", "'polynomal'", "Did you mean 'polynomial'"]),
    ("operator=[]", ["operator", "at least 1", "[]"]),
    ("operator.coefficients=[]", ["operator.0.coefficients", "at least one number"]),
    ("operator.coefficients=[[0, 1]]", ["operator.0.coefficients", "1 axes", "(1, 2)"]),
    ("operator.coefficients=[0, x]", ["operator.0.coefficients", "array of numbers", "'x'"]),
    ("operator.degree=3", ["operator.0.degree", "coefficients", "3"]),
    ("noise.std=0", ["noise.std", "greater than 0", "found 0"]),
    ("noise.std=-0.3", ["noise.std", "greater than 0", "-0.3"]),
    ("noise.relative_to_max=0.1", ["noise", "give one of std, relative_to_max, covariance"]),
    ("noise={}", ["noise", "give one of std, relative_to_max, covariance"]),
    ("noise={sdt: 0.3}", ["noise.sdt", "Did you mean 'std'"]),
    ("noise.complex=true", ["noise.complex", "data are real"]),
    ("observation={}", ["observation", "either values or truth"]),
    ("observation.truth={type: prior}", ["observation", "either values or truth"]),
    ("observation.values=[0, 1]", ["observation.values", "expected (1,)", "(2,)"]),
    ("observation.values=zero", ["observation.values", "array of numbers", "'zero'"]),
    ("observation={truth: {type: heldout}}", ["observation.truth", "'heldout'", "'held_out'"]),
    (
        "observation={truth: {type: held_out, index: 5}}",
        ["observation.truth.index", "5", "held-out"],
    ),
    (
        "observation={truth: {type: train, indices: [9]}}",
        ["observation.truth.indices", "9", "5 training"],
    ),
    (
        "observation={truth: {type: values, values: [1, 2]}}",
        ["observation.truth.values", "expected (1,)", "(2,)"],
    ),
    ("samplers={}", ["samplers", "at least 1"]),
    ("samplers={bad name: {type: quadrature}}", ["samplers.bad name", "'bad name'"]),
    (
        "samplers.lgm.type=exact_lmg",
        ["samplers.lgm.type", "'exact_lmg'", "Did you mean 'exact_lgm'"],
    ),
    ("samplers.lgm.log_determinant=maybe", ["samplers.lgm.log_determinant", "boolean", "'maybe'"]),
    ("samples=0", ["samples", "greater than 0", "found 0"]),
    ("samples={exactt: 3}", ["samples", "'exactt'", "Did you mean 'exact'"]),
    (
        "metrics=[{type: total_variation, reference: exat}]",
        ["metrics.0.reference", "'exat'", "'exact'"],
    ),
    ("metrics=[{type: momments}]", ["metrics.0.type", "'momments'", "Did you mean 'moments'"]),
    ("metrics.9.type=moments", ["metrics.9.type", "'9'", "list of 3"]),
    ("figures=[{type: densities}]", ["figures.0.type", "'densities'", "densities_1d"]),
    ("data.type=point", ["data.type", "'point'", "Did you mean 'points'"]),
    ("data.values=[[1], [2, 3]]", ["data.values", "rectangular"]),
    ("data=null", ["prior is fitted to data", "no data"]),
    ("seed=-1", ["seed", "greater than or equal to 0", "-1"]),
    ("seed=1.5", ["seed", "integer", "1.5"]),
    ("dtype=float16", ["dtype", "'float16'", "float32", "Did you mean 'float"]),
    ("device=gpu", ["device", "'gpu'", "cuda"]),
    ("title=''", ["title", "at least 1 character"]),
    ("sweep={prior.bandwith: [1]}", ["prior.bandwith", "Did you mean 'bandwidth'"]),
    ("sweep={priro.bandwidth: [1]}", ["priro.bandwidth", "Did you mean 'prior'"]),
    ("sweep={prior.bandwidth: 1}", ["sweep.prior.bandwidth", "list", "found 1"]),
    ("sweep={prior.bandwidth: [0.1, -1]}", ["prior.bandwidth=-1", "greater than or equal to 0"]),
    ("zip={prior.standardise: [true, false], noise.std: [1]}", ["zip", "same length"]),
    ("prior", ["PATH=VALUE", "prior"]),
    ("samplers.exact.points.x=1", ["samplers.exact.points.x", "'points'"]),
    ("prior.bandwidth=[", ["--set prior.bandwidth", "not valid YAML"]),
    ("samplers.exact={type: pcn}", ["samplers.exact", "Gaussian"]),
]


@pytest.mark.parametrize(("assignment", "expected"), SET, ids=[a for a, _ in SET])
def test_a_wrong_value(assignment, expected, capsys, monkeypatch):
    config = ROOT / "configs" / "figure1_1d.yaml"
    overrides = ["--set", assignment]
    if "bandwidth" not in assignment and "sweep" not in assignment:
        overrides = ["--set", "sweep={}", *overrides]
    code, message = mempost(capsys, monkeypatch, "validate", config, *overrides)
    assert code == 2, message
    assert message.startswith("error: ")
    assert message.count("\n") <= 3 and "Traceback" not in message
    for text in expected:
        assert text in message


TEXT = [
    (
        FIGURE.replace("prior:", "prior: {type: gaussian}\nprior:"),
        ["'prior' appears twice", "line"],
    ),
    (FIGURE.replace("noise: {std: 0.3}", "noise: {std: 0.3"), ["not valid YAML", "line"]),
    (FIGURE.replace("noise: {std: 0.3}", ""), ["noise: missing"]),
    (
        FIGURE.replace("observation:", "observations:"),
        ["observations", "Did you mean 'observation'"],
    ),
    ("extends: nowhere.yaml\n", ["nowhere.yaml", "no such file"]),
    ("extends: [a]\n", ["extends", "name of a file"]),
    ("- a\n- b\n", ["a spec is a mapping", "list"]),
    ("", ["a spec is a mapping", "nothing"]),
    ("1: 2\n", ["1 is not a name"]),
    ("a: !!python/object/apply:os.system [ls]\n", ["not valid YAML", "python/object"]),
    (
        FIGURE.replace(
            "{type: points, values: [[-1.5], [-0.4], [0.4], [1.2], [2.5]]}",
            "{type: file, path: no.csv}",
        ),
        ["data.path", "no.csv"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), TEXT)
def test_a_wrong_file(text, expected, tmp_path, capsys, monkeypatch):
    (tmp_path / "spec.yaml").write_text(text)
    code, message = mempost(capsys, monkeypatch, "run", tmp_path / "spec.yaml", "--out", tmp_path)
    assert code == 2, message
    assert "spec.yaml" in message and "Traceback" not in message
    for part in expected:
        assert part in message
    assert not (tmp_path / "table.csv").exists()


def test_a_spec_that_is_not_there(capsys, monkeypatch, tmp_path):
    code, message = mempost(capsys, monkeypatch, "run", tmp_path / "no.yaml")
    assert (code, message.count("\n")) == (2, 1)
    assert "no such file" in message


@pytest.mark.parametrize("command", ["describe", "bench", "cite"])
def test_an_unknown_name(command, capsys, monkeypatch):
    code, message = mempost(capsys, monkeypatch, command, "scroe")
    assert code == 2
    assert "'scroe'" in message and "allowed are" in message


SPEC = yaml.safe_load(FIGURE)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["quadrature", "gaussian", "points", "exact", "type"])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "values", "std", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value, at=()):
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*at, key))
    if isinstance(value, list):
        for i in range(len(value)):
            yield from paths(value[i], (*at, i))


@settings(max_examples=300)
@given(st.sampled_from([p for p in paths(SPEC) if p]), values)
def test_no_spec_gives_a_traceback(path, value):
    """Any value at any place of a good spec is fine, or refused with a `SpecError`."""
    raw = yaml.safe_load(FIGURE)
    node = raw
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    try:
        check(load(raw)[0], "spec")
    except SpecError as error:
        assert str(error)
