"""The output folder: one command at a time, nobody else's files, a disk that is full."""

import errno
import os
import subprocess
import sys

import pytest
from small_study import SPEC, write

import mempost
from mempost.core.errors import SpecError
from mempost.experiments.claim import claimed
from mempost.experiments.store import Store


def test_a_folder_with_somebody_elses_files_is_refused(command, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "table.csv").write_text("mine")
    code, message = command("run", write(tmp_path, SPEC), "--out", out)
    assert code == 2 and "holds table.csv" in message and message.count("\n") == 1
    assert (out / "table.csv").read_text() == "mine" and len(list(out.iterdir())) == 1
    assert command("run", tmp_path / "s.yaml", "--out", tmp_path / "s.yaml")[0] == 2


def test_an_empty_folder_and_one_with_hidden_files_are_taken(tmp_path):
    for name in ("empty", "hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "hidden" / ".gitkeep").touch()
    for name in ("empty", "hidden"):
        assert mempost.run(SPEC, out=tmp_path / name).ok
        assert mempost.run(SPEC, out=tmp_path / name).ok


HOLD = """
import sys, time
from pathlib import Path
from mempost.experiments.claim import claimed
from mempost.experiments.store import Store
with claimed(Store(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("action", ["run", "report", "prune"])
def test_two_commands_in_one_folder_are_kept_apart(action, command, tmp_path):
    out = tmp_path / "out"
    spec = write(tmp_path, SPEC)
    assert command("run", spec, "--out", out)[0] == 0
    holder = subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        arguments = {
            "run": ("run", spec, "--out", out),
            "report": ("report", out),
            "prune": ("prune", out, "--yes"),
        }[action]
        code, message = command(*arguments)
        assert code == 2 and f"process {holder.pid}" in message and message.count("\n") == 1
    finally:
        holder.kill()
        holder.wait()
    assert command(*arguments)[0] == 0  # the lock of what was killed is gone


def test_what_killed_writers_have_left_is_removed(tmp_path):
    study = mempost.run(SPEC, out=tmp_path / "out")
    run = next((tmp_path / "out" / "runs").iterdir())
    left = [run / ".result.nc.123.0a1b2c3d", tmp_path / "out" / ".study.json.9.ffffffff"]
    for path in left:
        path.write_bytes(b"half")
    (run / ".mine").touch()
    with claimed(study.store):
        pass
    assert not any(path.exists() for path in left) and (run / ".mine").exists()


@pytest.mark.parametrize("name", ["result.nc", "provenance.json", "table.csv", "report.html"])
@pytest.mark.parametrize("space", [0, 100])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(
    name, space, command, tmp_path, monkeypatch
):
    """A write that fails after some bytes, as on a disk that fills."""
    from pathlib import Path

    whole = Path.write_bytes

    def write_bytes(path, data):
        if name in path.name:
            whole(path, bytes(data)[:space])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    out = tmp_path / "out"
    code, message = command("run", write(tmp_path, SPEC), "--out", out)
    assert code in (1, 3) and "No space left on device" in message
    assert not list(out.rglob(".*"))
    monkeypatch.undo()
    assert command("run", tmp_path / "s.yaml", "--out", out)[0] == 0


def test_results_are_made_in_memory(tmp_path, monkeypatch):
    """HDF5 dies of a signal where its file cannot grow: it is never given one."""
    import h5netcdf

    opened = []
    make = h5netcdf.File.__init__

    def init(self, path, mode="r", **options):
        opened.append((path, mode))
        make(self, path, mode, **options)

    monkeypatch.setattr(h5netcdf.File, "__init__", init)
    mempost.run(SPEC, out=tmp_path / "out")
    written = [path for path, mode in opened if mode != "r"]
    assert written and not any(isinstance(path, str | os.PathLike) for path in written)


@pytest.mark.parametrize("where", ["loop/out", "x" * 300, "file.txt/out"])
def test_no_folder_at_all_is_one_line(where, command, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file.txt").touch()
    code, message = command("run", write(tmp_path, SPEC), "--out", tmp_path / where)
    assert code in (1, 2) and message.count("\n") == 1
    with pytest.raises((SpecError, OSError)), claimed(Store(tmp_path / where)):
        pass


def test_the_backend_of_a_notebook_does_not_cost_the_figures(tmp_path):
    spec = write(tmp_path, {**SPEC, "figures": [{"type": "densities_1d"}]})
    out = tmp_path / "out"
    code = f"import mempost; print(mempost.run({str(spec)!r}, out={str(out)!r}).errors)"
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    for arguments in (["-c", code], ["-m", "mempost.experiments.cli", "report", out]):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0 and "backend " not in done.stdout + done.stderr
    assert (out / "figures").is_dir()
