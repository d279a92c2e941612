"""What the source of a module imports, read off its syntax tree.

Imports count wherever they stand, in functions too, and so do attributes of what is imported whole
(``import mempost`` and then ``mempost.Prior``). What stands under ``if TYPE_CHECKING:`` does not
run and does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from mempost.core.normal_form import normal_form


@dataclass(frozen=True)
class Imports:
    """What a module imports and passes on.

    Attributes:
        names: what is imported, by absolute dotted name.
        computed: whether something is imported by a name that is not a literal.
        defined: names that the module binds at its top.
        passes_on: of a module with a ``__getattr__``, the dictionaries of text at its top.
    """

    names: frozenset[str] = frozenset()
    computed: bool = False
    defined: frozenset[str] = frozenset()
    passes_on: Mapping[str, str] | None = field(default=None, hash=False)


def imports_of(content: bytes, name: str, is_package: bool) -> tuple[bytes, Imports]:
    """The normal form of a module's source, and its imports.

    Raises:
        SyntaxError: it is not Python.
    """
    tree = ast.parse(content)
    visitor = _Visitor(name if is_package else name.rpartition(".")[0])
    visitor.visit(tree)
    return normal_form(tree).encode(), Imports(
        frozenset(visitor.names | visitor.attributes()),
        visitor.computed,
        _defined(tree),
        _passes_on(tree),
    )


class _Visitor(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.package = package
        self.names: set[str] = set()
        self.computed = False
        self._bound: dict[str, str] = {}
        self._used: set[tuple[str, str]] = set()

    def attributes(self) -> set[str]:
        """Attributes of imported names, in full."""
        return {f"{self._bound[root]}.{rest}" for root, rest in self._used if root in self._bound}

    def visit_If(self, node: ast.If) -> None:
        test, inverted = node.test, False
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, inverted = test.operand, True
        if "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None)):
            for statement in node.body if inverted else node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.names.add(alias.name)
            top = alias.name.partition(".")[0]
            self._bound[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = self._absolute(node.level, node.module or "")
        for alias in node.names:
            full = origin if alias.name == "*" else f"{origin}.{alias.name}"
            self.names.add(full)
            self._bound[alias.asname or alias.name] = full

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._used.add((inner.id, ".".join(reversed(parts))))
        else:
            self.visit(inner)

    def visit_Call(self, node: ast.Call) -> None:
        called = getattr(node.func, "id", getattr(node.func, "attr", None))
        if called in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                level = len(first.value) - len(first.value.lstrip("."))
                self.names.add(self._absolute(level, first.value[level:]))
            else:
                self.computed = True
        self.generic_visit(node)

    def _absolute(self, level: int, module: str) -> str:
        if level == 0:
            return module
        base = self.package.split(".")
        return ".".join([*base[: len(base) - level + 1], *([module] if module else [])])


def _defined(tree: ast.Module) -> frozenset[str]:
    """Names that are bound at the top of a module."""
    names: set[str] = set()
    for node in tree.body:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                names.add(inner.id)
            elif isinstance(inner, ast.alias):
                names.add(inner.asname or inner.name.partition(".")[0])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return frozenset(names)


def _passes_on(tree: ast.Module) -> Mapping[str, str] | None:
    if not any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body):
        return None
    found: dict[str, str] = {}
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Dict):
            for key, entry in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(entry, ast.Constant):
                    found[str(key.value)] = str(entry.value)
    return found
