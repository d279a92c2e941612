"""The command ``mempost``. Commands import what they need when they are called.

Exit codes: 0 done, 1 another error, 2 a spec or an option is wrong, 3 some runs failed, 130
interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mempost.core.errors import MempostError, PluginError, SpecError, nearest
from mempost.core.registry import KINDS, REGISTRIES, kind_named

if TYPE_CHECKING:
    from mempost.experiments.study import Study

app = typer.Typer(
    help="What becomes of the posterior when a diffusion prior has memorized its training set.",
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A YAML spec.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace what stands at a dotted path."),
]
KindOption = Annotated[
    str | None, typer.Option("--kind", help=f"One of {', '.join(KINDS)}, if a name is ambiguous.")
]


@app.command()
def run(
    spec: SpecPath,
    out: Annotated[
        Path | None, typer.Option(help="Output folder; results/NAME for NAME.yaml if not given.")
    ] = None,
    set_: Assignments = None,
    workers: Annotated[int, typer.Option(min=1, help="Local worker processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of linear algebra a process.")] = 1,
) -> None:
    """Run a spec; finished runs are kept and not run again."""
    from mempost.experiments import run as running
    from mempost.experiments.overrides import parse_assignments
    from mempost.experiments.watching import console_watcher

    try:
        study = running.run(
            spec,
            set=parse_assignments(set_ or []),
            out=out,
            workers=workers,
            threads=threads,
            watcher=console_watcher(),
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; what is finished is kept, the same command goes on", err=True)
        raise typer.Exit(130) from None
    _summarise(study)


@app.command()
def validate(spec: SpecPath, set_: Assignments = None) -> None:
    """Check a spec, and that its pieces fit together, without running it."""
    from mempost.experiments.overrides import parse_assignments
    from mempost.experiments.run import check, load

    plan, _ = load(spec, parse_assignments(set_ or []))
    check(plan, str(spec))
    typer.echo(f"{spec}: fine: {len(plan.points)} point(s), {len(plan.runs)} run(s)")


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}.")] = None,
) -> None:
    """List the plugins that are installed, without importing them."""
    for name in [kind_named(kind)] if kind else KINDS:
        registry = REGISTRIES[name]
        typer.echo(registry.plural)
        width = max((len(n) for n in registry.names), default=0)
        for plugin in registry.names:
            entry = registry.entry(plugin)
            try:
                text = entry.summary()
            except PluginError as error:
                text = f"broken: {error}"
            origin = "" if entry.distribution == "mempost" else f"  [{entry.distribution}]"
            typer.echo(f"  {plugin:{width}}  {text}{origin}")
            if duplicate := registry.duplicates(plugin):
                typer.echo(f"  {'':{width}}  duplicate: {duplicate}")


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="A plugin.")], kind: KindOption = None
) -> None:
    """Show a plugin's documentation, hyper-parameters, tags and publications."""
    from mempost.experiments.describe import description

    for k in _kinds_of(name, kind):
        typer.echo(description(k, name))


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write to a file.")] = None,
) -> None:
    """Print the JSON schema of specs, for editors, with every installed plugin."""
    import json

    from mempost.experiments.spec import spec_schema

    text = json.dumps(spec_schema(), indent=2)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What a run left behind.")],
) -> None:
    """Write table, figures and report again from the finished runs of a folder."""
    from mempost.experiments.claim import claimed
    from mempost.experiments.report import write_report
    from mempost.experiments.study import Study

    study = Study.open(folder)
    with claimed(study.store):
        write_report(study)
    _summarise(study, listed=True)


@app.command()
def prune(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What a run left behind.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
) -> None:
    """Show what no run of the study in a folder uses any more; remove it with --yes."""
    from mempost.core.sizes import readable
    from mempost.experiments.claim import claimed
    from mempost.experiments.leftovers import leftovers, remove
    from mempost.experiments.study import Study

    study = Study.open(folder)
    found = leftovers(study)
    for item in found:
        where = item.path.relative_to(study.store.folder)
        typer.echo(f"{readable(item.size):>10}  {where}  {item.what}")
    if yes:
        with claimed(study.store):
            remove(found)
    total = readable(sum(item.size for item in found))
    end = "removed" if yes else "nothing was removed, --yes removes them"
    typer.echo(f"{len(found)} left over, {total}: {end}" if found else "nothing is left over")


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="A benchmark, such as score.")],
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes.")] = False,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the rows to a file.")] = None,
) -> None:
    """Time a part of mempost against the obvious alternative, both measured in this run."""
    import json

    from mempost.benchmarks import benchmark, show

    rows = benchmark(name)(quick)
    typer.echo(show(rows))
    if json_ is not None:
        json_.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


@app.command()
def cite(
    what: Annotated[str, typer.Argument(metavar="SPEC|NAME", help="A spec, or a plugin.")],
) -> None:
    """Print the BibTeX entries behind a spec or a plugin."""
    from mempost.experiments.cite import publications_of
    from mempost.experiments.run import load

    if Path(what).suffix in (".yaml", ".yml"):
        publications = publications_of(load(what)[0])
    else:
        kinds = _kinds_of(what, None)
        publications = [p for k in kinds for p in REGISTRIES[k].get(what).publications]
    typer.echo("\n\n".join(p.bibtex() for p in publications) or f"{what} names no publication")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A plugin that is installed.")],
    kind: KindOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the plugin."),
    ] = None,
) -> None:
    """Hold a plugin to the checks of its kind and tags; exit code 1 if one fails."""
    from mempost.experiments.overrides import parse_assignments
    from mempost.testing import check_plugin

    outcomes = []
    for k in _kinds_of(name, kind):
        outcomes += check_plugin(k, name, parse_assignments(set_ or []))
    for outcome in outcomes:
        typer.echo(str(outcome))
    passed = sum(o.status == "passed" for o in outcomes)
    failed = sum(not o.ok for o in outcomes)
    typer.echo(
        f"{name}: {passed} passed, {failed} failed, {len(outcomes) - passed - failed} skipped"
    )
    if failed:
        raise typer.Exit(1)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as my_prior.")],
    folder: Annotated[Path, typer.Option(help="Where to make the package.")] = Path(),
) -> None:
    """Make a package with a plugin that works, its tests and a spec, to start from."""
    from mempost.testing import new_package

    made = new_package(kind, name, folder)
    typer.echo(f"made {made}; next: pip install -e {made}, then pytest {made}")


def _summarise(study: Study, listed: bool = False) -> None:
    from mempost.experiments.leftovers import leftovers

    statuses = study.statuses
    for sentence in study.verdicts:
        typer.echo(f"- {sentence}")
    for message in study.warnings if listed else ():  # a run has shown them on its way
        typer.echo(f"warning: {message}", err=True)
    for row in study.rows:
        if row["status"] == "failed":
            typer.echo(f"failed: {row['sampler']}, run {row['run']}: {row['reason']}", err=True)
    for message in study.errors:
        typer.echo(f"failed: {message}", err=True)
    ok = sum(s.state == "ok" for s in statuses)
    where = study.store.folder
    shown = where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where
    strangers = [item for item in leftovers(study) if item.path.parent.name == "runs"]
    for item in strangers if listed else ():
        typer.echo(f"left over: {item.path.name}, {item.what}")
    if strangers:
        typer.echo(
            f"{len(strangers)} runs in {shown} are of another spec, other code or other files; "
            f"`mempost prune {shown}` shows what can go"
        )
    typer.echo(f"{ok} of {len(statuses)} runs finished; open {shown}/report.html")
    if not study.ok:
        raise typer.Exit(3)


def _kinds_of(name: str, kind: str | None) -> list[str]:
    kinds = [kind_named(kind)] if kind else [k for k in KINDS if name in REGISTRIES[k].names]
    if not kinds or (kind and name not in REGISTRIES[kinds[0]].names):
        every = sorted({n for k in (kinds or KINDS) for n in REGISTRIES[k].names})
        what = kinds[0] if kinds else "plugin"
        hint = nearest(name, every)
        raise SpecError(f"no {what} is named {name!r}.{hint} Names allowed are {', '.join(every)}.")
    return kinds


def _warn(message: Any, category: Any, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def main() -> None:
    """Entry point: errors become one clear line and an exit code."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    os.environ["MPLBACKEND"] = "agg"  # figures go to files; a notebook's backend may not be here
    try:
        app()
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (MempostError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
