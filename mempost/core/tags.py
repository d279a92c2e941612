"""Tags: words for what is true of a plugin, which the runner, validation and the checks follow.

A class declares the tags of its instances,

    tags = frozenset({"exact", "uses_noise_level"})

and where hyper-parameters decide, or the parts of a composite, it amends them:

    def _tags(self) -> frozenset[Tag]:
        return super()._tags() - ({"exact"} if self.smoothing > 0 else set())

``plugin.tags`` is what is true of the instance, ``cls.tags`` what the class declares. A word that
is no tag is refused when the class is made, or, from ``_tags``, when the instance is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from mempost.core.errors import nearest

if TYPE_CHECKING:
    from mempost.core.plugin import Plugin

Tag = Literal[
    "exact",
    "closed_form",
    "uses_noise_level",
    "linear",
    "complex",
    "needs_gradient",
    "interacting",
    "log_density",
    "random",
]

TAGS: Mapping[Tag, str] = {
    "exact": "samples the posterior itself, up to Monte-Carlo error",
    "closed_form": "answers without iteration",
    "uses_noise_level": "its result depends on the observation noise level",
    "linear": "a linear (or affine) operator; or a method for linear operators only",
    "complex": "complex-valued data",
    "needs_gradient": "differentiates the forward operator",
    "interacting": "samples depend on one another (resampling, adaptation)",
    "log_density": "the density is available, without noise and at every noise level",
    "random": "fitting or loading draws random numbers",
}


class DeclaredTags:
    """The class attribute ``tags``: on an instance, the tags of that instance."""

    def __init__(self, where: str, declared: Iterable[Tag]) -> None:
        """Raise TypeError for a word that is no tag; ``where`` names the class."""
        self.declared = _known(where, declared)

    def __get__(self, plugin: Plugin | None, cls: type[Plugin]) -> frozenset[Tag]:
        return self.declared if plugin is None else _known(cls.__name__, plugin._tags())


def refuse_overridden(cls: type, properties: Mapping[str, Tag]) -> None:
    """Raise TypeError if a class has an attribute of its own that only says what a tag says."""
    for name in properties.keys() & vars(cls).keys():
        raise TypeError(
            f"{cls.__name__}.{name}: the tag {properties[name]!r} says this; declare it in tags, "
            "or amend it in _tags where hyper-parameters decide"
        )


def _known(where: str, tags: Iterable[Tag]) -> frozenset[Tag]:
    if isinstance(tags, str | property):
        raise TypeError(f"{where}.tags is a set of words; _tags amends it for an instance")
    found = frozenset(tags)
    for tag in sorted(found - TAGS.keys()):
        raise TypeError(
            f"{where}.tags: unknown tag {tag!r}; allowed are {', '.join(TAGS)}."
            + nearest(tag, TAGS)
        )
    return found
