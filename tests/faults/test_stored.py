"""What is stored is checked against its name: altered or exchanged content is never used."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from small_study import SPEC, write

import mempost
from mempost.core.errors import CorruptFileError, MempostError
from mempost.experiments.store import Store
from mempost.experiments.study import Study

TWO = {**SPEC, "sweep": {"prior.bandwidth": [0.5, 0.05]}}
LEARNED = {
    **SPEC,
    "seed": 7,
    "data": {"type": "points", "values": [[-1.5, 0.2], [-0.4, 1.0], [0.4, -1.0], [1.2, 0.3]]},
    "prior": {
        "type": "learned_score",
        "steps": 24,
        "snapshots": [12, 24],
        "network": {"type": "mlp", "width": 8, "hidden": 1},
    },
    "operator": {"type": "linear", "matrix": [[1.0, 0.5]]},
    "observation": {"truth": {"type": "train", "indices": [1]}},
    "samplers": {"dps": {"type": "dps", "steps": 6}},
    "sweep": {"prior.snapshot": [12, 24]},
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A copy of the folder of a study, run once a spec; and its rows."""
    made = {}

    def copy(spec, to):
        key = json.dumps(spec)
        if key not in made:
            out = tmp_path_factory.mktemp("study") / "out"
            made[key] = out, mempost.run(spec, out=out).rows
        shutil.copytree(made[key][0], to)
        return made[key][1]

    return copy


def exchange(folder):
    """Exchange the first two things in a folder by name."""
    first, second = sorted(folder.iterdir())[:2]
    first.rename(folder / "t")
    second.rename(first)
    (folder / "t").rename(second)


def only(folder, pattern):
    (path,) = sorted(folder.glob(pattern))[:1]
    return path


def rows_of(folder):
    """Rows that are shown, with what is said on the way."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rows = Study.open(folder).rows
    return rows, " ".join(str(w.message) for w in said)


def test_a_changed_digit_of_a_metric_is_not_shown(folder_of, command, tmp_path):
    """Every digit of every number of what the metrics gave."""
    right = folder_of(SPEC, tmp_path / "out")
    path = only(tmp_path / "out", "runs/*/metrics/*")
    content = path.read_bytes()
    digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    for i in np.random.default_rng(0).choice(digits, min(60, len(digits)), replace=False):
        other = str((int(chr(content[i])) + 3) % 10).encode()
        path.write_bytes(content[:i] + other + content[i + 1 :])
        (row,), said = rows_of(tmp_path / "out")
        assert row["status"] != "ok" and "std_0" not in row and path.name in said
    code, message = command("report", tmp_path / "out")
    assert code == 3 and path.name in message
    assert mempost.run(SPEC, out=tmp_path / "out").rows == right


def test_exchanged_runs_are_not_shown(folder_of, tmp_path):
    right = folder_of(TWO, tmp_path / "out")
    exchange(tmp_path / "out" / "runs")
    rows, said = rows_of(tmp_path / "out")
    assert all(row["status"] == "pending" for row in rows) and "belongs elsewhere" in said
    with pytest.warns(UserWarning, match="belongs elsewhere"):
        assert mempost.run(TWO, out=tmp_path / "out").rows == right


@pytest.mark.parametrize("part", ["result.nc", "provenance.json"])
def test_exchanged_parts_of_runs_are_not_shown(part, folder_of, tmp_path):
    folder_of(TWO, tmp_path / "out")
    first, second = sorted((tmp_path / "out" / "runs").iterdir())
    contents = (first / part).read_bytes(), (second / part).read_bytes()
    (first / part).write_bytes(contents[1])
    (second / part).write_bytes(contents[0])
    rows, _ = rows_of(tmp_path / "out")
    assert all(row["status"] == "pending" for row in rows)


def test_exchanged_priors_are_trained_again(folder_of, tmp_path):
    right = folder_of(LEARNED, tmp_path / "out")
    exchange(tmp_path / "out" / "kept")
    shutil.rmtree(tmp_path / "out" / "runs")
    with pytest.warns(UserWarning, match="belongs elsewhere"):
        assert mempost.run(LEARNED, out=tmp_path / "out").rows == right


def test_a_folder_may_be_moved_and_copied(folder_of, tmp_path):
    right = folder_of(TWO, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert rows_of(tmp_path / "elsewhere") == (right, "")


OTHER = [
    *[
        ("runs/*/provenance.json", text)
        for text in ("[]", "{}", '"x"', "null", "1e999", "[" * 9999)
    ],
    *[("study.json", t) for t in ("{}", "[]", '{"spec": {}, "folder": null}', "", "nul", "\x00")],
    ("runs/*/failed.json", '{"reason": []}'),
]


@pytest.mark.parametrize(("pattern", "text"), OTHER)
def test_json_of_another_shape_is_one_line(pattern, text, folder_of, command, tmp_path):
    right = folder_of(SPEC, tmp_path / "out")
    found = list((tmp_path / "out").glob(pattern))
    path = found[0] if found else only(tmp_path / "out", "runs/*") / "failed.json"
    path.write_text(text)
    spec = write(tmp_path, SPEC)
    code, message = command("report", tmp_path / "out")
    assert (code == 0) == (path.name == "failed.json")  # of a run that has succeeded since
    if code:
        assert path.name in message
    assert command("run", spec, "--out", tmp_path / "out")[0] == 0
    assert Study.open(tmp_path / "out").rows == right


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"shape":[2,3]', b'"shape":[3,2]'),
        (b'"F32"', b'"I32"'),
        (b'"x":', b'"z":'),
        (b'"y":', b'"w":'),
        (b'\\"a\\": 1', b'\\"a\\": 2'),
    ],
)
def test_the_seal_of_tensors_covers_names_shapes_types_and_values(old, new, tmp_path):
    store = Store(tmp_path)
    path = tmp_path / "t.safetensors"
    tensors = {"x": torch.arange(6.0).reshape(2, 3), "y": torch.ones(2)}
    store.write_tensors(path, tensors, {"a": 1})
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(CorruptFileError, match="altered, or belongs elsewhere"):
        store.read_tensors(path)
    path.write_bytes(content)
    assert (store.read_tensors(path)[0]["x"] == tensors["x"]).all()
    path.rename(tmp_path / "u.safetensors")
    with pytest.raises(CorruptFileError, match="belongs elsewhere"):
        store.read_tensors(tmp_path / "u.safetensors")


def stored(folder):
    """Everything that is read again: not the table, the report, figures and the lock."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
    own = ("study.json", "provenance.json")
    return sorted(
        p for p in files if p.name in own or p.suffix == ".nc" or p.suffix == ".safetensors"
        or "metrics" in p.parts
    )  # fmt: skip


def mutated(content, others, rng):
    """Content that was altered, or is somebody else's."""
    i = int(rng.integers(len(content)))
    kind = rng.integers(6)
    if kind == 0:
        return content[:i] + bytes([content[i] ^ (1 << int(rng.integers(8)))]) + content[i + 1 :]
    if kind == 1:
        return content[:i]
    if kind == 2:
        return content[:i] + content[i + 1 :]
    if kind == 3:
        j = int(rng.integers(len(content)))
        return content[:i] + content[j : j + 9] + content[i:]
    if kind == 4 and others:
        return others[int(rng.integers(len(others)))]
    places = [k for k, byte in enumerate(content) if 48 <= byte < 58]
    k = places[int(rng.integers(len(places)))] if places else i
    return content[:k] + bytes([48 + (content[k] - 47) % 10]) + content[k + 1 :]


def read_everything(folder, paths):
    """Rows, samples and kept tensors: what is not refused."""
    shown = {}
    try:
        study = Study.open(folder)
        for row in study.rows:
            if row["status"] == "ok":
                shown[row["run"]] = row
        for result in study.results:
            shown["samples", result.key, *result.point.values()] = result.samples.values.tolist()
    except MempostError:
        pass
    store = Store(folder)
    for path in paths:
        if path.suffix == ".safetensors" and path.exists():
            kept = store.read_or_none(store.read_tensors, path)
            if kept is not None:
                tensors = {name: t.tolist() for name, t in kept[0].items()}
                shown[path.relative_to(folder).as_posix()] = tensors, kept[1]
    return shown


def count_silent(folder_of, folder, spec, n):
    """Of ``n`` mutations of stored files, how many change what is shown."""
    folder_of(spec, folder)
    paths = stored(folder)
    contents = {path: path.read_bytes() for path in paths}
    rng = np.random.default_rng(n)
    silent = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = read_everything(folder, paths)
        assert right
        for _ in range(n):
            path = paths[int(rng.integers(len(paths)))]
            others = [c for p, c in contents.items() if p != path and p.suffix == path.suffix]
            path.write_bytes(mutated(contents[path], others, rng))
            shown = read_everything(folder, paths)
            silent += any(right.get(name) != value for name, value in shown.items())
            path.write_bytes(contents[path])
    return silent


def test_no_mutation_of_stored_files_is_used(folder_of, tmp_path):
    assert count_silent(folder_of, tmp_path / "two", TWO, 40) == 0
    assert count_silent(folder_of, tmp_path / "learned", LEARNED, 20) == 0


@pytest.mark.slow
def test_none_of_500_mutations_is_used(folder_of, tmp_path):
    assert count_silent(folder_of, tmp_path / "two", TWO, 300) == 0
    assert count_silent(folder_of, tmp_path / "learned", LEARNED, 200) == 0
