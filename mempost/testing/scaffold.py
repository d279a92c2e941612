"""New plugin packages: a plugin that works, its tests, a spec, ready to be changed.

    name/
      pyproject.toml              with the entry point
      README.md
      example.yaml                a spec that uses the plugin
      src/mempost_name/__init__.py   the plugin
      tests/test_name.py          the public checks

The files come from `templates`, in which ``$name`` and the like are filled in.
"""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from mempost.core.errors import SpecError
from mempost.core.registry import REGISTRIES, kind_named


def new_package(kind: str, name: str, folder: Path | str = ".") -> Path:
    """Write a package with one plugin and return its folder, ``folder / name``.

    Args:
        kind: one of `mempost.core.registry.KINDS`.
        name: the name that specs will use: lower-case letters, digits and underscores.
        folder: where the package's folder is made.

    Raises:
        SpecError: the kind or the name is not acceptable, or the folder exists.
    """
    kind = kind_named(kind)
    _check(kind, name)
    target = Path(folder) / name
    if target.exists():
        raise SpecError(f"{target} exists already; give another name or folder")
    module, class_name = f"mempost_{name}", "".join(map(str.capitalize, name.split("_")))
    words = {
        "kind": kind,
        "group": REGISTRIES[kind].group,
        "name": name,
        "module": module,
        "distribution": module.replace("_", "-"),
        "class_name": class_name,
    }
    if re.search(rf"\b{class_name}\b", _template(f"{kind}.py")):
        raise SpecError(
            f"{name!r} makes a class {class_name}, which the plugin needs itself; "
            f"allowed is, for example, my_{name}"
        )
    layout = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "example.yaml": f"{kind}.yaml",
        f"src/{module}/__init__.py": f"{kind}.py",
        f"tests/test_{name}.py": "test.py",
    }
    for path, template in layout.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        text = Template(_template(template)).substitute(words)
        (target / path).write_text(text, encoding="utf-8")
    return target


def _template(name: str) -> str:
    return (files("mempost.testing") / "templates" / f"{name}.tmpl").read_text(encoding="utf-8")


def _check(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise SpecError(
            f"{name!r} cannot be a plugin's name; allowed are lower-case letters, digits and "
            f"single underscores, such as my_{kind}"
        )
    if name in REGISTRIES[kind].names:
        owner = REGISTRIES[kind].entry(name).distribution
        raise SpecError(f"a {kind} named {name!r} exists already, from {owner}")
