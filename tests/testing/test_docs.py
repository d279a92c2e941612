"""The list of checks in docs/testing.md is that of the catalogues.

``python tests/testing/test_docs.py`` writes it.
"""

from pathlib import Path

from mempost.testing.conformance import CATALOGUES

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
START, END = "<!-- written by tests/testing/test_docs.py -->\n", "<!-- end -->"


def tables() -> str:
    lines = []
    for catalogue in dict.fromkeys(CATALOGUES.values()):  # some kinds share theirs
        lines += [
            f"### {catalogue.kind.capitalize()}",
            "",
            "| check | made | what a failure means |",
        ]
        lines += ["|---|---|---|"]
        lines += [f"| `{e.name}` | {e.condition} | {_cell(e.meaning)} |" for e in catalogue.entries]
        lines += [""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def parts() -> tuple[str, str, str]:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    inside, _, after = rest.partition(END)
    return before, inside, after


def test_the_page_lists_every_check():
    assert parts()[1] == tables()


def test_the_page_names_every_function_of_the_package():
    import mempost.testing

    text = PAGE.read_text(encoding="utf-8")
    for name in mempost.testing.__all__:
        if name.startswith("check_") and name != "check_plugin":
            assert f"`{name}`" in text, name


if __name__ == "__main__":
    before, _, after = parts()
    PAGE.write_text(before + START + tables() + END + after, encoding="utf-8")
