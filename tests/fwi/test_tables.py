"""Tables in Markdown and LaTeX: digits by the interval, and nothing that breaks the markup."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mempost.experiments.report.tables import cell, latex, markdown

ROWS = [
    {"N": 50, "sampler": "learned_paper", "rate": 1.0, "rate_low": 1.0, "rate_high": 1.0},
    {"N": 200, "sampler": "exact", "rate": 0.41789, "rate_low": 0.3512, "rate_high": 0.4871},
    {"N": 1000, "sampler": "a|b & 5%", "rate": math.nan, "gap": 31234.5678},
]


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.41789, 0.3512, 0.4871, "0.418 [0.351, 0.487]"),
        (1.0, 1.0, 1.0, "1.00 [1.00, 1.00]"),
        (0.0, 0.0, 0.0, "0.00 [0.00, 0.00]"),
        (1234.56, 1100.0, 1400.0, "1235 [1100, 1400]"),
        (-0.0004, -0.01, 0.01, "0.000 [-0.010, 0.010]"),
        (2.5, 2.0, 3.0, "2.50 [2.00, 3.00]"),
        (0.0325068, 0.0325068 - 1e-12, 0.0325068 + 1e-12, "0.03251 [0.03251, 0.03251]"),
        (1e-9, -0.5, 0.5, "0.00 [-0.50, 0.50]"),
    ],
)
def test_digits_follow_the_interval(value, low, high, shown):
    assert cell({"q": value, "q_low": low, "q_high": high}, "q") == shown


def test_cells_without_an_interval():
    assert [cell(ROWS[2], name) for name in ("N", "rate", "gap", "missing")] == [
        "1000",
        "",
        "3.123e+04",
        "",
    ]


def test_markdown():
    assert markdown(ROWS, ["N", "sampler", "rate"], {"rate": "r < 0.7"}) == (
        "| N | sampler | r < 0.7 |\n"
        "| ---: | --- | ---: |\n"
        "| 50 | learned_paper | 1.00 [1.00, 1.00] |\n"
        "| 200 | exact | 0.418 [0.351, 0.487] |\n"
        "| 1000 | a\\|b & 5% |  |\n"
    )


def test_latex():
    assert latex(ROWS, ["N", "sampler", "rate"], {"N": "$N$"}) == (
        "\\begin{tabular}{rlr}\n"
        "  \\toprule\n"
        "  $N$ & sampler & rate \\\\\n"
        "  \\midrule\n"
        "  50 & learned\\_paper & 1.00 [1.00, 1.00] \\\\\n"
        "  200 & exact & 0.418 [0.351, 0.487] \\\\\n"
        "  1000 & a|b \\& 5\\% &  \\\\\n"
        "  \\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_a_header_that_is_a_column_is_escaped():
    row = {"mean_0": 1.0}
    assert "mean\\_0 &" in latex([row | {"s": "a"}], ["mean_0", "s"], {"mean_0": "mean_0"})
    assert "$m_0$ &" in latex([row | {"s": "a"}], ["mean_0", "s"], {"mean_0": "$m_0$"})


@given(st.text(max_size=20), st.floats(-1e6, 1e6), st.floats(0, 1e4), st.floats(0, 1e4))
def test_every_row_is_one_line_with_all_cells(name, value, below, above):
    row = {"s": name, "q": value, "q_low": value - below, "q_high": value + above}
    lines = markdown([row], ["s", "q"]).rstrip("\n").split("\n")
    assert len(lines) == 3
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2])) == 3
    body = latex([row], ["s", "q"]).split("\\midrule\n")[1].split("  \\bottomrule")[0]
    assert len(re.findall(r"(?<!\\)&", body)) == 1
    low, high = (float(x) for x in cell(row, "q").partition("[")[2].rstrip("]").split(", "))
    assert low <= float(cell(row, "q").partition(" ")[0]) <= high
