"""Running studies: what is left behind, workers, kills, failures, third-party plugins."""

import csv
import json
import signal
import time

import numpy as np
import xarray as xr


def table(folder):
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


def samples(folder):
    found = {}
    for path in sorted((folder / "runs").glob("*/result.nc")):
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            found[path.parent.name] = np.array(tree["posterior"]["x"].values)
    return found


def assert_same_bits(a, b):
    assert (a / "table.csv").read_bytes() == (b / "table.csv").read_bytes()
    x, y = samples(a), samples(b)
    assert x.keys() == y.keys() and x
    for name in x:
        assert x[name].tobytes() == y[name].tobytes()


def test_what_a_run_leaves_behind(finished):
    rows = table(finished)
    assert [r["noise.std"] for r in rows] == ["0.3", "0.1"]
    assert {r["sampler"] for r in rows} == {"rejection"}
    # sin(x) * 2 = 0.5 near x = 0.25 and pi - 0.25: the prior N(0.44, 1.5^2) puts mass on both
    assert all(0.25 < float(r["mean_0"]) < 2.9 for r in rows)
    for row in rows:
        folder = finished / "runs" / row["run"]
        provenance = json.loads((folder / "provenance.json").read_text())
        assert provenance["resolved"]["noise"]["std"] == float(row["noise.std"])
        assert provenance["versions"]["mempost-example"] == "1.2.3"
        assert {"wall_time_s", "counts", "hardware", "seeds", "files"} <= provenance.keys()
        with xr.open_datatree(folder / "result.nc", engine="h5netcdf") as tree:
            assert tree["posterior"]["x"].dims == ("chain", "draw", "x_dim")
            assert tree["posterior"]["x"].shape == (1, 100, 1)
            assert float(tree["observed_data"]["y"][0]) == 0.5
        assert not (folder / "tiles").exists()
    page = (finished / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "rejection" in page


def test_finished_runs_are_not_run_again_and_metrics_alone_are_measured(mempost, spec, out):
    results = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.nc")}
    assert len(results) == 2
    again = mempost("run", spec, "--out", out, "--set", "metrics=[{type: truth_error}]")
    assert again.returncode == 0, again.stderr
    assert "2 of 2 runs are finished" not in again.stderr  # the new metric is still to be measured
    assert results == {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.nc")}
    assert "mean_0" not in table(out)[0]
    third = mempost("run", spec, "--out", out)
    assert "0 tasks to do" in third.stderr
    assert "mean_0" in table(out)[0]


def test_one_and_two_workers_give_the_same_bits(mempost, spec, finished, tmp_path):
    assert mempost("run", spec, "--out", tmp_path / "two", "--workers", 2).returncode == 0
    assert_same_bits(finished, tmp_path / "two")


def test_a_killed_study_resumes_to_the_same_bits(mempost, shell, spec, tmp_path):
    many = ("--set", "samples=1600")
    straight = mempost("run", spec, "--out", tmp_path / "straight", *many)
    assert straight.returncode == 0, straight.stderr
    killed = shell("run", spec, "--out", tmp_path / "killed", *many, popen=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("killed/runs/*/tiles/0*"))) < 5:
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "table.csv").exists()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("killed/runs/*/tiles/0*")}
    assert len(kept) >= 5
    resumed = mempost("run", spec, "--out", tmp_path / "killed", *many)
    assert resumed.returncode == 0, resumed.stderr
    tasks = int(resumed.stderr.split(" tasks to do")[0].split()[-1])
    assert tasks <= 2 * (50 + 2) + 1 - len(kept)
    assert_same_bits(tmp_path / "straight", tmp_path / "killed")


def test_an_interrupted_study_leaves_its_finished_runs_usable(shell, spec, tmp_path):
    slow = ("sweep={noise.std: [0.3, 0.01]}", "samplers.rejection.rounds=100000", "samples=5000")
    many = [word for setting in slow for word in ("--set", setting)]  # the second run takes long
    going = shell("run", spec, "--out", tmp_path / "out", *many, popen=True)
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("out/runs/*/metrics/*.safetensors"))) < 1:
        assert time.monotonic() < deadline and going.poll() is None
        time.sleep(0.01)
    going.send_signal(signal.SIGINT)
    _, stderr = going.communicate(timeout=60)
    assert going.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert [r["status"] for r in table(tmp_path / "out")] == ["ok", "pending"]


def test_a_corrupt_result_is_named_and_not_used(mempost, spec, out):
    before = samples(out)
    victim = next(out.glob("runs/*/result.nc"))
    victim.write_bytes(victim.read_bytes()[:-100])
    prior = next(out.glob("kept/prior-*.safetensors"))
    prior.write_bytes(b"garbage")
    again = mempost("run", spec, "--out", out)
    assert again.returncode == 0
    assert str(victim) in again.stderr and str(prior) in again.stderr
    after = samples(out)
    assert all(before[k].tobytes() == after[k].tobytes() for k in before)


def test_a_failing_run_is_a_row_and_the_others_go_on(mempost, spec, tmp_path):
    few = "sweep={samplers.rejection.rounds: [1, 1000]}"
    done = mempost("run", spec, "--out", tmp_path / "out", "--set", few)
    assert done.returncode == 3
    rows = table(tmp_path / "out")
    assert [r["status"] for r in rows] == ["failed", "ok"]
    assert "NonFiniteError: x is not finite at sample" in rows[0]["reason"]
    assert rows[0]["reason"] in done.stderr
    assert "Not everything worked" in (tmp_path / "out" / "report.html").read_text()


def test_report_is_written_again_from_the_folder(mempost, out, tmp_path):
    kept = (out / "table.csv").read_bytes()
    (out / "table.csv").unlink()
    (out / "report.html").unlink()
    assert mempost("report", out).returncode == 0
    assert (out / "table.csv").read_bytes() == kept
    assert (out / "report.html").exists()
    nothing = mempost("report", tmp_path)
    assert nothing.returncode == 2
    assert "no study" in nothing.stderr


def test_plugins_of_somebody_else(mempost, spec):
    listed = mempost("list").stdout
    assert "normal_fit" in listed and "mempost-example" in listed
    assert "An elementwise sine." in listed and "rejection" in listed
    assert "shattered" in listed and "a_package_that_does_not_exist" in listed
    assert "duplicate" in listed and "mempost_example.normal_fit:NormalFit" in listed
    assert "rounds: integer >= 1, default 1000" in mempost("describe", "rejection").stdout
    assert mempost("validate", spec).returncode == 0
    named = mempost("validate", spec, "--set", "prior.type=shattered")
    assert named.returncode == 2
    assert "shattered" in named.stderr and "mempost-example" in named.stderr
    own = mempost("validate", spec, "--set", "prior={type: gaussian}")
    assert own.returncode == 0
    assert "offered more than once" in own.stderr


def test_without_the_package_the_name_is_unknown(mempost, spec):
    unknown = mempost("validate", spec, package=None)
    assert unknown.returncode == 2
    assert "prior.type: No prior has this name" in unknown.stderr
