"""One bibliography: a publication stands once, under its key, and plugins name it from there."""

import ast
from collections import Counter
from pathlib import Path

import mempost
from mempost.core.publication import Publication
from mempost.core.registry import KINDS, REGISTRIES
from mempost.experiments.cite import publications_of
from mempost.experiments.plan import make_plan
from mempost.methods import bibliography

PUBLICATIONS = {k: v for k, v in vars(bibliography).items() if isinstance(v, Publication)}


def test_every_publication_stands_once_under_its_key():
    tree = ast.parse(Path(bibliography.__file__).read_text())
    assigned = [n.targets[0].id for n in tree.body if isinstance(n, ast.Assign)]
    assert assigned == sorted(PUBLICATIONS)
    for name, publication in PUBLICATIONS.items():
        assert publication.key == name.replace("_", "").lower()
        assert str(publication.year) == name.split("_")[1]
    for field in ("title", "url"):
        counts = Counter(getattr(p, field).lower() for p in PUBLICATIONS.values())
        assert max(counts.values()) == 1


def test_authors_have_given_names_and_no_markup():
    for publication in PUBLICATIONS.values():
        for author in publication.authors.split(" and "):
            assert " " in author and not set(author) & set("{}\\,"), author


def test_plugins_name_publications_from_the_bibliography():
    root = Path(mempost.__file__).parent
    own = [
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Publication"
    ]
    assert set(own) == {"bibliography.py"}
    cited = {
        p.key for k in KINDS for n in REGISTRIES[k].names for p in REGISTRIES[k].get(n).publications
    }
    assert {p.key for p in PUBLICATIONS.values()} <= cited


def test_a_study_cites_the_plugins_within_its_plugins():
    spec = {
        "title": "Nested",
        "data": {"type": "points", "values": [[0.0], [1.0]]},
        "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
        "operator": {"type": "polynomial", "coefficients": [0, 1]},
        "noise": {"std": 0.3},
        "observation": {"values": [0.0]},
        "samplers": {"wide": {"type": "distorted", "sampler": {"type": "mala"}, "scale": 1.2}},
    }
    found = publications_of(make_plan(spec, "nested"))
    assert bibliography.ROBERTS_1998_SCALING in found
    assert found[0] == bibliography.SIAHKOOHI_2026_MEMORIZATION
    assert len({p.key for p in found}) == len(found)
