"""A normal form of Python source, in which what does not run does not count.

The syntax tree is written out node by node, without positions: comments and formatting are gone.
Strings that stand as statements (docstrings) and ``pass`` do nothing and are left out. Fields that
are None or empty are left out, too, so that a field which a later Python adds (``type_params``)
changes nothing, and the pieces of an f-string are joined, since parsers cut them differently: the
form of a file is the same under Python 3.11, 3.12 and 3.13, which `ast.dump` does not give.
"""

from __future__ import annotations

import ast

_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that follow from where a node stands, or from how it was written."""


def normal_form(source: str | bytes | ast.AST) -> str:
    """The normal form of a file's content, or of a syntax tree.

    Raises:
        SyntaxError: the content is not Python.
    """
    written: list[str] = []
    _write(source if isinstance(source, ast.AST) else ast.parse(source), written)
    return "".join(written)


def _write(value: object, to: list[str]) -> None:
    if isinstance(value, ast.AST):
        to.append(type(value).__name__ + "(")
        for name in value._fields:
            field = getattr(value, name, None)
            if isinstance(field, list):
                field = _joined(field) if isinstance(value, ast.JoinedStr) else _that_act(field)
            if name not in _IGNORED and not _is_empty(field):
                to.append(name + "=")
                _write(field, to)
        to.append(")")
    elif isinstance(value, list):
        to.append("[")
        for item in value:  # a None holds a place: that of ``**`` in a dictionary
            _write(item, to)
        to.append("]")
    else:
        to.append(ascii(value) + ",")  # `repr` would follow a table of printable characters


def _is_empty(field: object) -> bool:
    """Whether a field says nothing; so does a format that is empty, as in ``f"{x:}"``."""
    if isinstance(field, ast.JoinedStr):
        return not _joined(field.values)
    return field is None or field == []


def _that_act(nodes: list[ast.AST]) -> list[ast.AST]:
    """The nodes without statements that do nothing."""
    return [
        node
        for node in nodes
        if not isinstance(node, ast.Pass)
        and not (isinstance(node, ast.Expr) and _text(node.value) is not None)
    ]


def _joined(pieces: list[ast.expr]) -> list[ast.expr]:
    """The pieces of an f-string with neighbouring text in one."""
    joined: list[ast.expr] = []
    for piece in pieces:
        text = _text(piece)
        before = _text(joined[-1]) if joined else None
        if text is None:
            joined.append(piece)
        elif before is not None:
            joined[-1] = ast.Constant(before + text)
        elif text:
            joined.append(piece)
    return joined


def _text(node: ast.AST) -> str | None:
    """The string that a node is, if it is one."""
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if constant else None  # type: ignore[attr-defined]
