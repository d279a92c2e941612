"""The spec's ``table``: chosen columns as Markdown, LaTeX and first in the report."""

import mempost

SPEC = {
    "title": "short",
    "data": {"type": "points", "values": [[-1.0], [2.0]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
    "operator": {"type": "identity"},
    "noise": {"std": 0.5},
    "observation": {"values": [0.0]},
    "samplers": {"exact": {"type": "exact_lgm"}},
    "samples": 50,
    "metrics": [{"type": "moments"}, {"type": "nearest_neighbour"}],
}


def test_chosen_columns_are_written_with_their_intervals(tmp_path):
    table = {"sampler": "method", "mean_0": "mean", "nn_ratio_mean": "$r$"}
    study = mempost.run({**SPEC, "table": table}, out=tmp_path)
    assert study.ok
    row = study.rows[0]
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "| method | mean | $r$ |" and len(lines) == 3
    assert f"{row['mean_0']:.4g}" in lines[2] and "[" in lines[2].split("|")[3]
    assert r"method & mean & $r$ \\" in (tmp_path / "table.tex").read_text()
    assert "<code>table.tex</code>" in (tmp_path / "report.html").read_text()


def test_a_column_that_is_not_there_is_named_with_its_nearest(tmp_path):
    study = mempost.run({**SPEC, "table": ["sampler", "mean_O"]}, out=tmp_path)
    assert study.errors == ["table: there is no column 'mean_O'. Did you mean 'mean_0'?"]
    assert not study.ok
    assert (tmp_path / "table.md").read_text().startswith("| sampler |\n")


def test_without_a_choice_there_are_no_short_tables(tmp_path):
    mempost.run(SPEC, out=tmp_path)
    assert (tmp_path / "table.csv").exists() and not (tmp_path / "table.md").exists()
