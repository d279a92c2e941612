"""Numbers in files: the right ones, or one line that asks for what the file leaves open."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from small_study import SPEC, write

import mempost
from mempost.core.array_file import ArrayInFile
from mempost.core.arrays import FrozenArray, Matrix, Vector
from mempost.core.errors import CorruptFileError, SpecError
from mempost.core.plugin import Recipe
from mempost.experiments.plan import make_plan

TABLE = np.array([[1.5, -2.0, 0.25], [3.0, 4.25, 1e-3]])


def text(folder, content, name="t.csv"):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def read(path, **options):
    return ArrayInFile(path=path, **options).read()


@pytest.mark.parametrize(
    "content",
    [
        "1.5,-2,0.25\n3,4.25,1e-3\n",
        "1.5, -2, 0.25\n\n3, 4.25, 1e-3",
        "1,5;-2;0,25\n3;4,25;1e-3\n",
        "1.5;-2;0.25\n3;4.25;0.001",
        "1.5\t-2\t0.25\n3\t4.25\t1e-3\n",
        "1,5\t-2\t0,25\n3\t4,25\t0,001",
        "  1.5  -2 0.25\n3 4.25 1e-3",
        "\ufeff# depth, velocity\n1.5,-2,0.25 # first\r\n3,4.25,1e-3\r\n",
        '"1.5","-2","0.25"\n"3","4.25","1e-3"',
    ],
)
def test_text_by_its_own_signs(content, tmp_path):
    assert (read(text(tmp_path, content)) == TABLE).all()
    assert (read(text(tmp_path, content, "t.txt")) == TABLE).all()


@pytest.mark.parametrize(
    ("content", "options", "right"),
    [
        ("1,5\n3,25\n2,75", {"decimal": ","}, [[1.5], [3.25], [2.75]]),
        ("1,5\n3,25\n2,75", {"decimal": "."}, [[1, 5], [3, 25], [2, 75]]),
        ("1,5 2,5\n3 4", {"decimal": ","}, [[1.5, 2.5], [3, 4]]),
        ("a,b\n1.5,2\n3,4.5", {"header": True}, [[1.5, 2], [3, 4.5]]),
        ("0,1,2\n5,6,7\n8,9,1", {"header": True}, [[5, 6, 7], [8, 9, 1]]),
        ("0,1,2\n5,6,7\n8,9,1", {"header": False}, [[0, 1, 2], [5, 6, 7], [8, 9, 1]]),
        (",a,b\n0,1.5,2\n1,3,4", {"header": True}, [[1.5, 2], [3, 4]]),
        (",0,1\n0,1.5,2\n1,3,4", {"header": True}, [[1.5, 2], [3, 4]]),
        ("0,1.5\n1,3.5\n2,4.5", {"index_column": True}, [[1.5], [3.5], [4.5]]),
        ("0,1.5\n1,3.5\n2,4.5", {"index_column": False}, [[0, 1.5], [1, 3.5], [2, 4.5]]),
    ],
)
def test_text_as_it_is_said_to_be(content, options, right, tmp_path):
    assert read(text(tmp_path, content), **options).tolist() == right


@pytest.mark.parametrize(
    ("content", "options", "asks"),
    [
        ("1,5\n3,25\n2,75", {}, "decimal: ','"),
        ("-1,5\n3,25", {}, "decimal: ','"),
        ("1,5\n3\n2,75", {}, "decimal: ','"),
        ("1.234,5;2", {}, "commas and points"),
        ("1.5,2.0\n3.0,4.25", {"header": True}, "would be lost"),
        ("0,1,2\n5,6,7\n8,9,1", {}, "names the columns by header"),
        ("0,1\n1.5,2.5", {}, "names the columns by header"),
        ("a,b\n1,2.5", {}, "set header: true"),
        ("0,1.5\n1,3.5\n2,4.5", {}, "index_column"),
        ("1;1,5\n2;3,5\n3;4,5", {}, "index_column"),
        ("1.5,\n2,3", {}, "cannot be read"),
        ("1.5,NA\n2,3.5", {}, "cannot be read"),
        ("1.5,nan\n2,3.5", {}, "non-finite"),
        ("", {}, "no numbers"),
        ("# nothing", {}, "no numbers"),
    ],
)
def test_text_that_leaves_something_open_is_refused(content, options, asks, tmp_path):
    with pytest.raises((SpecError, CorruptFileError)) as error:
        read(text(tmp_path, content), **options)
    assert asks in str(error.value) and "\n" not in str(error.value)


def write_all(folder, array):
    """The array in a file of every format; path and key of each."""
    np.save(folder / "a.npy", array)
    np.save(folder / "f.npy", np.asfortranarray(array.astype(">f8")))
    np.savez(folder / "a.npz", other=np.zeros(2), a=array)
    np.savetxt(folder / "a.csv", array, delimiter=",")
    np.savetxt(folder / "a.txt", array)
    with h5py.File(folder / "a.h5", "w") as file:
        file["group/a"] = array
        file["b"] = np.zeros(3)
        file["soft"] = h5py.SoftLink("/group/a")
    data = xr.Dataset({"a": (("i", "j"), array), "b": (("i",), array[:, 0])})
    data.to_netcdf(folder / "a.nc", engine="h5netcdf")
    packed = {"a": {"dtype": "int32", "scale_factor": 1e-3, "add_offset": 7.0, "_FillValue": -1}}
    data.to_netcdf(folder / "packed.nc", engine="h5netcdf", encoding=packed)
    data.to_netcdf(folder / "three.nc", engine="scipy")
    keys = {"a.npz": "a", "a.h5": "group/a", "a.nc": "a", "three.nc": "a", "packed.nc": "a"}
    return {**dict.fromkeys(("a.npy", "f.npy", "a.csv", "a.txt")), **keys}


def test_every_format_gives_the_same_numbers(tmp_path):
    for name, key in write_all(tmp_path, TABLE).items():
        assert read(tmp_path / name, key=key) == pytest.approx(TABLE, abs=1e-15), name
    assert (read(tmp_path / "a.h5", key="/soft") == TABLE).all()


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.nc"])
def test_of_several_arrays_one_is_named(name, tmp_path):
    write_all(tmp_path, TABLE)
    with pytest.raises(SpecError, match="name one of its arrays as key"):
        read(tmp_path / name)
    with pytest.raises(SpecError, match="holds no array 'q'"):
        read(tmp_path / name, key="q")


def test_numbers_that_stand_elsewhere_or_are_packed_are_refused(tmp_path):
    write_all(tmp_path, TABLE)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["a"] = h5py.ExternalLink(tmp_path / "a.h5", "b")
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = h5py.VirtualSource(tmp_path / "a.h5", "b", shape=(3,))
        file.create_virtual_dataset("v", layout)
        file["packed"] = np.arange(3)
        file["packed"].attrs["scale_factor"] = 0.1
    for key, why in (("a", "another file"), ("v", "another file"), ("packed", "scale_factor")):
        with pytest.raises(SpecError, match=why):
            read(tmp_path / "link.h5", key=key)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.nc", "a.csv"])
def test_what_is_no_such_file_is_refused_in_one_line(name, tmp_path):
    for content in (b"", b"\x93NUMPY", b"PK\x03\x04 not a zip", b"\x89HDF\r\n\x1a\n", b"\xff\xfe1"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((CorruptFileError, SpecError)) as error:
            read(tmp_path / name)
        assert name in str(error.value)
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    with pytest.raises(CorruptFileError, match="allow_pickle"):
        read(tmp_path / "object.npy")


class Arrays(Recipe):
    """Fields that take arrays."""

    vector: Vector | None = None
    matrix: Matrix | None = None


def test_fields_take_files_and_are_equal_to_typed_numbers(tmp_path):
    write_all(tmp_path, TABLE)
    np.savetxt(tmp_path / "v.txt", TABLE[0])
    np.save(tmp_path / "row.npy", TABLE[None, :1])
    file = {"type": "file", "path": str(tmp_path / "a.npy")}
    recipe = Arrays(matrix=file, vector={"type": "file", "path": str(tmp_path / "v.txt")})
    assert recipe.matrix == FrozenArray(TABLE) and recipe.vector == FrozenArray(TABLE[0])
    again = Arrays.model_validate(recipe.model_dump(mode="json"))
    assert again == recipe and recipe.model_dump(mode="json")["matrix"]["path"] == file["path"]
    assert Arrays(matrix={**file, "transpose": [1, 0]}).matrix == FrozenArray(TABLE.T)
    assert Arrays(vector={**file, "index": 1}).vector == FrozenArray(TABLE[1])
    assert Arrays(vector={"type": "file", "path": str(tmp_path / "row.npy")}).vector is not None
    for field, changes in (("vector", {}), ("matrix", {"index": 9}), ("matrix", {"path": "no"})):
        with pytest.raises(ValueError, match=field):
            Arrays(**{field: {**file, **changes}})


def linear(folder, **changes):
    matrix, y = np.array([[1.0, 0.5]]), np.array([0.3])
    np.save(folder / "matrix.npy", matrix)
    np.savetxt(folder / "y.csv", y)
    return {
        **SPEC,
        "data": {"type": "points", "values": [[-1.5, 0.2], [2.5, 1.0]]},
        "operator": {"type": "linear", "matrix": matrix.tolist()},
        "observation": {"values": y.tolist()},
        **changes,
    }


def test_measured_data_and_matrices_come_from_files(tmp_path):
    typed = mempost.run(linear(tmp_path), out=tmp_path / "typed")
    in_files = linear(
        tmp_path,
        operator={"type": "linear", "matrix": {"type": "file", "path": "matrix.npy"}},
        observation={"values": {"type": "file", "path": "y.csv"}},
    )
    spec = write(tmp_path, in_files)
    study = mempost.run(spec, out=tmp_path / "out")
    assert study.rows[0]["mean_0"] == typed.rows[0]["mean_0"]
    provenance = study.worker.records.provenance(study.plan.runs[0])
    assert {Path(p).name for p in provenance["files"]} == {"matrix.npy", "y.csv"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("s.yaml", "matrix.npy", "y.csv"):
        shutil.copy(tmp_path / name, elsewhere)
    runs = study.plan.runs
    moved = make_plan(study.plan.raw, "spec", elsewhere).runs
    assert moved[0].id == runs[0].id
    np.savetxt(elsewhere / "y.csv", [0.4])
    assert make_plan(study.plan.raw, "spec", elsewhere).runs[0].id != runs[0].id


def test_complex_data_come_from_two_files(tmp_path):
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["re"], file["im"] = [1.0], [2.0]
        file["both"] = np.array([1.0 + 2.0j])

    def observation(key):
        return {"type": "file", "path": str(tmp_path / "y.h5"), "key": key}

    operator = {"type": "linear", "matrix": {"real": [[1.0]], "imag": [[0.5]]}}
    spec = {**SPEC, "operator": operator, "samplers": {"exact": {"type": "exact_lgm"}}}
    rows = [
        mempost.run({**spec, "observation": {"values": values}}, out=tmp_path / str(i)).rows[0]
        for i, values in enumerate(
            (
                {"real": [1.0], "imag": [2.0]},
                {"real": observation("re"), "imag": observation("im")},
                observation("both"),
            )
        )
    ]
    assert len({row["mean_0"] for row in rows}) == 1


def test_survey_positions_come_from_a_file(tmp_path):
    from mempost.core.registry import REGISTRIES

    positions = np.array([[0.1, 0.1], [0.3, 0.1], [0.5, 0.12]])
    np.savetxt(tmp_path / "receivers.txt", positions)
    hyper = {"shape": [20, 20], "spacing": 0.04, "frequencies": [4.0], "sources": [[0.2, 0.2]]}
    cls = REGISTRIES["operator"].get("helmholtz")
    typed = cls(**hyper, receivers=positions)
    assert (
        cls(**hyper, receivers={"type": "file", "path": str(tmp_path / "receivers.txt")}) == typed
    )


def test_one_of_many_examples_may_be_the_datum(command, tmp_path):
    models = np.arange(24.0).reshape(3, 1, 2, 4)
    np.save(tmp_path / "models.npy", models)
    file = {"type": "file", "path": "models.npy"}
    spec = {
        **SPEC,
        "data": {**file, "shape": [2, 4]},
        "observation": {"values": file},
    }
    code, message = command("validate", write(tmp_path, spec))
    assert code == 2 and "observation.values: shape (3, 1, 2, 4), expected (2, 4)" in message
    code, _ = command("validate", tmp_path / "s.yaml", "--set", "observation.values.index=1")
    assert code == 0


@pytest.mark.parametrize(
    ("content", "header", "asks"),
    [("1,5\n3,25\n2,75\n", "null", "decimal"), ("1.5,2\n3,4.25\n", "true", "be lost")],
)
def test_datasets_ask_too(content, header, asks, command, tmp_path):
    text(tmp_path, content, "d.csv")
    data = {"type": "file", "path": "d.csv", "order": "file"}
    spec = write(tmp_path, {**SPEC, "data": data, "observation": {"truth": {"type": "train"}}})

    code, message = command("validate", spec, "--set", f"data.header={header}")
    assert code == 2 and asks in message and message.count("\n") == 1
