"""The command line in this process, for specs that hold a fault."""

import sys
import warnings

import pytest

from mempost.experiments import cli


@pytest.fixture
def command(capsys, monkeypatch):
    """Call ``mempost ARGUMENTS``: exit code and what it said on standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["mempost", *map(str, arguments)])
        capsys.readouterr()
        try:
            with warnings.catch_warnings():
                cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.err

    return call
