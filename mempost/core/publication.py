"""A publication that a plugin comes from."""

from __future__ import annotations

from typing import NamedTuple


class Publication(NamedTuple):
    """BibTeX key, authors ("A and B"), title, year and link."""

    key: str
    authors: str
    title: str
    year: int
    url: str

    def bibtex(self) -> str:
        fields = {"author": self.authors, "title": self.title, "year": self.year, "url": self.url}
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{self.key},\n{body}\n}}"
