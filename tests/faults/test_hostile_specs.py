"""Odd and hostile specs: circles, bombs, replaced values, sizes, modules that exit."""

import json
import sys
import time

import pytest
from small_study import SPEC, write

from mempost.core import sizes
from mempost.core.errors import PluginError
from mempost.core.registry import REGISTRIES, Entry

BOMB = "noise:\n  sdt:\n    - &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"    - &a{k} [{','.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)
)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["sweep={title: [a, b]}"], "title: all points of a study share its title"),
        (["sweep={figures.0.type: [a, b]}"], "all points of a study share its figures"),
        (
            ["prior.bandwidth=banana", "sweep={prior.bandwidth: [0.5, 1.0]}"],
            "prior.bandwidth: Input should be a valid number (found 'banana'); a sweep replaces it",
        ),
        (["samples=1000000000000"], "1000000000000 numbers take 8.0 TB; this machine has"),
        (["seed=0x" + "f" * 6000], "seed: Input should be a valid integer"),
        (["samples=" + "9" * 6000], "a number has at most 400 digits"),
        (["sweep={prior.bandwidth: &s [*s]}"], "an alias stands inside of what it names"),
        (["title=!!set [a]"], "the tag !!set does not stand for plain data"),
        (["title=!!timestamp now"], "the tag !!timestamp does not stand for plain data"),
        (
            ["sweep={prior.bandwidth: {from: 1" + "0" * 350 + ", to: 1, n: 3}}"],
            "should be finite numbers",
        ),
    ],
    ids=lambda value: value[0][:40] if isinstance(value, list) else "",
)
def test_one_line(settings, said, command, tmp_path):
    path = write(tmp_path, SPEC)
    code, found = command("validate", path, *(w for s in settings for w in ("--set", s)))
    assert code == 2 and said in found and len(found.splitlines()) == 1


def test_what_a_sweep_replaces_may_be_missing(command, tmp_path):
    spec = {**SPEC, "prior": {"type": "gaussian"}, "samplers": {"exact": "exact_lgm"}}
    spec["sweep"] = {"prior": [{"type": "gaussian", "mean": [0], "covariance": [[1]]}]}
    assert command("validate", write(tmp_path, spec))[0] == 0


def test_a_link_to_itself_is_one_line(command, tmp_path):
    link = tmp_path / "l.yaml"
    link.symlink_to("l.yaml")
    code, found = command("validate", link)
    assert code == 2 and "a link that leads back to itself" in found
    code, found = command("run", write(tmp_path, SPEC), "--out", link)
    assert code in (1, 2) and len(found.splitlines()) == 1


def test_an_alias_bomb_is_refused_at_once(command, tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMB)
    start = time.process_time()
    code, found = command("validate", path)
    assert code == 2 and "aliases stand for more than 100000 values" in found
    assert time.process_time() - start < 5


def test_data_beyond_memory_are_refused_before_they_are_drawn(command, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "memory", lambda: 1_000_000)
    data = {"type": "gaussian", "mean": [0, 0], "covariance": [[1, 0], [0, 1]], "n_train": 10**7}
    spec = {**SPEC, "data": data, "observation": {"values": [0.0, 0.0]}}
    code, found = command("validate", write(tmp_path, spec))
    assert code == 2 and "10000000 samples of 2 numbers take 160.0 MB" in found


def test_a_module_that_exits_or_prints_spoils_no_answer(command, capsys, tmp_path, monkeypatch):
    (tmp_path / "exits_here.py").write_text("import sys; sys.exit(0)\n")
    (tmp_path / "prints_here.py").write_text(
        "print('hello')\nfrom mempost import Metric\nclass Loud(Metric):\n    'A metric.'\n"
        "    def evaluate(self, result): return {}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    metrics = REGISTRIES["metric"]
    extra = {
        name: [Entry("metric", name, target, "p", "1.0")]
        for name, target in (("exits", "exits_here:Op"), ("loud", "prints_here:Loud"))
    }
    monkeypatch.setitem(vars(metrics), "candidates", metrics.candidates | extra)
    with pytest.raises(PluginError, match=r"exits_here:Op, from p.* is broken: SystemExit: 0"):
        metrics.get("exits")
    monkeypatch.delitem(sys.modules, "prints_here", raising=False)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["mempost", "schema"])
    from mempost.experiments import cli

    with pytest.raises(SystemExit) as end:
        cli.main()
    answer = capsys.readouterr()
    assert end.value.code in (0, None)
    assert "hello" not in answer.out and "$defs" in json.loads(answer.out)
    assert "loud" in answer.out
