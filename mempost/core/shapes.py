"""Which arrays may stand for which: axes of length one may come and go, nothing else.

Numbers in the wrong order are numbers: an array of shape (3, 2) where (2, 3) is expected has as
many, and read row by row it is another image. A plain list may be given for any shape: it says
nothing about axes, and is read with the last axis fastest.
"""

from __future__ import annotations


def fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether an array of one shape may be read as one of another shape."""
    found, wanted = _long(shape), _long(expected)
    return found == wanted or (len(found) == 1 and found[0] == _product(wanted))


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for n in shape:
        product *= n
    return product
