"""A pytest decorator that makes one test of each check; the module that needs pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from mempost.testing.check import Check
from mempost.testing.conformance import checks_for, plugin_named

F = TypeVar("F", bound=Callable[..., Any])

Expected = Mapping[str, str] | Callable[[object], Mapping[str, str]]


def parametrize_with_checks(
    plugins: Iterable[object], *, expected_failed_checks: Expected | None = None
) -> Callable[[F], F]:
    """Parametrise a test over the checks of plugins, one test a check.

        @parametrize_with_checks([MyOperator(), "sampler:dps"])
        def test_conformance(check):
            check()

    A check that is expected to fail and passes fails its test (a strict ``xfail``).

    Args:
        plugins: instances; registered names; or checks, for inputs of one's own, as in
            ``parametrize_with_checks(operator_checks(MyOperator(), shape=(8, 8)))``.
        expected_failed_checks: names of checks that are known to fail and why, for all plugins, or
            a function of the plugin.
    """
    import pytest

    parameters = []
    for item in plugins:
        for check in _expand(item, expected_failed_checks):
            marks = []
            if check.expected_failure is not None:
                marks.append(pytest.mark.xfail(reason=check.expected_failure, strict=True))
            label = f"{type(check.plugin).__name__}-{check.name}"
            parameters.append(pytest.param(check, id=label, marks=marks))
    return pytest.mark.parametrize("check", parameters)


def _expand(item: object, expected: Expected | None) -> Iterator[Check]:
    if isinstance(item, Check):
        yield item
        return
    plugin = plugin_named(item) if isinstance(item, str) else item
    yield from checks_for(plugin, expected(plugin) if callable(expected) else expected)
