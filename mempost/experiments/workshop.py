"""The work of a study, one task at a time: fit, prepare, sample a tile, assemble a run, measure it.

Every task reads what it needs from the plan and the store and leaves its result in the store, so
tasks may run in any process and any order that respects their dependencies, and a killed study
loses the unfinished tasks alone. Built problems and posteriors are remembered within a process.
"""

from __future__ import annotations

import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import threadpoolctl
import torch

from mempost.core.counters import counting
from mempost.core.errors import MempostError, NonFiniteError, PluginError
from mempost.core.keeping import keeping
from mempost.core.prior import FittedPrior, State
from mempost.core.progress import Progress, silent
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.experiments.build import Setup, build, rebuild
from mempost.experiments.drawing import Draws
from mempost.experiments.fitting import fit_prior, load_data
from mempost.experiments.plan import Plan, Point, Run
from mempost.experiments.provenance import provenance_of
from mempost.experiments.records import Records
from mempost.experiments.results import write_result
from mempost.experiments.spec import Spec
from mempost.experiments.store import KeptFolder, Store


class Task(NamedTuple):
    """A step of run ``run``: fit a prior, prepare a part, sample a tile, assemble, measure."""

    kind: Literal["fit", "prepare", "sample", "assemble", "measure"]
    run: int
    tile: int = 0


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """A fixed number of threads: sums keep their order, and workers do not fight over cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpoolctl.threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


class Workshop:
    """Carries out tasks of a plan in a store."""

    def __init__(self, plan: Plan, store: Store, threads: int = 1) -> None:
        self.plan, self.store, self.threads = plan, store, threads
        self.records = Records(store)
        self._memory: OrderedDict[Hashable, Any] = OrderedDict()

    def carry_out(self, task: Task, progress: Progress = silent) -> None:
        """Do one task; its result is in the store afterwards."""
        run = self.plan.runs[task.run]
        owner = self.store.path("runs", run.id)
        if task.kind == "fit":
            owner = self.store.path("priors", self.priors_of(run)[task.tile][0])
        with limited_threads(self.threads), keeping(KeptFolder(self.store, owner)):
            if task.kind == "fit":
                self.prior(*self.priors_of(run)[task.tile], progress)
            elif task.kind == "prepare":
                result = self.result(run)
                result.sampler.prepare(result.problem, task.tile, progress)
            elif task.kind == "sample":
                self._sample(run, task.tile, progress)
            elif task.kind == "assemble":
                self._assemble(run)
            else:
                self._measure(run)

    # -- pieces, remembered -------------------------------------------------------------------

    def _remember(self, key: Hashable, make: Callable[[], Any], most: int = 16) -> Any:
        if key not in self._memory:
            self._memory[key] = make()
            while len(self._memory) > most:
                self._memory.popitem(last=False)
        self._memory.move_to_end(key)
        return self._memory[key]

    def priors_of(self, run: Run) -> list[tuple[str, Spec]]:
        """Ids of the priors that a run needs, its own and the common one, each with its spec."""
        own, common = (run.prior_id, run.spec), (run.point.prior_id, run.point.spec)
        return [own] if own[0] == common[0] else [own, common]

    def prior(self, prior_id: str, spec: Spec, progress: Progress = silent) -> FittedPrior:
        """The fitted prior of a spec: from memory, from the store, or fitted now."""
        return self._remember(("prior", prior_id), lambda: self._prior(prior_id, spec, progress))

    def _prior(self, prior_id: str, spec: Spec, progress: Progress) -> FittedPrior:
        if "closed_form" in spec.prior.tags:  # nothing is learned that is worth keeping
            return fit_prior(spec, self._data(spec), progress)
        path = self.store.path("priors", prior_id, "prior.safetensors")
        kept = self.store.read_or_none(self.store.read_tensors, path)
        if kept is not None:
            return spec.prior.restore(State(*kept)).to(device=spec.device)
        fitted = fit_prior(spec, self._data(spec), progress)
        self.store.write_tensors(path, *fitted.state())
        return fitted

    def _data(self, spec: Spec) -> Any:
        key = json.dumps(
            spec.model_dump(mode="json", include={"seed", "dtype", "device", "data"}),
            sort_keys=True,
        )
        return self._remember(("data", key), lambda: load_data(spec))

    def common_setup(self, point: Point) -> Setup:
        """The inverse problem of a point under its common prior, with its data and truth."""

        def make() -> Setup:
            spec = point.spec
            return build(spec, self._data(spec), self.prior(point.prior_id, spec))

        return self._remember(("setup", point.problem_id), make)

    def setup(self, run: Run) -> Setup:
        """The inverse problem of a run: that of its point, under the run's own prior."""
        common = self.common_setup(run.point)
        if run.prior_id == run.point.prior_id:
            return common

        def make() -> Setup:
            spec = run.spec
            return rebuild(common, spec, self._data(spec), self.prior(run.prior_id, spec))

        return self._remember(("setup", run.point.problem_id, run.prior_id), make)

    def result(self, run: Run) -> Result:
        """The result of a run, its samples read from the store when they are asked for."""

        def make() -> Result:
            setup = self.setup(run)
            spec = run.spec
            return Result(
                key=run.key,
                point=run.point.labels,
                sampler=spec.samplers[run.key],
                problem=setup.problem,
                data=setup.data,
                truth=setup.truth if spec.calibration is None else None,
                seed=spec.seed,
                load_samples=lambda: self.records.samples(run).to(spec.device),
                siblings=_Siblings(self, run),
                metrics=self.records.metrics(run) or {},
            )

        # the same run may stand at two points, beside other siblings
        return self._remember(("result", id(run.point), run.key), make)

    # -- tasks --------------------------------------------------------------------------------

    def draws(self, run: Run) -> Draws:
        """What a run draws."""
        return Draws(run.spec, run.spec.samplers[run.key], run.n)

    def _sample(self, run: Run, tile: int, progress: Progress) -> None:
        common, own = self.common_setup(run.point), self.setup(run)
        start = time.perf_counter()
        try:
            with counting() as counts:
                samples = self.draws(run).draw(tile, common, own, progress)
        except NonFiniteError as error:
            if error.state:
                values = {"error": str(error), "tile": tile}
                self.records.write_failed_state(run, error.state, values)
            raise
        cost = {"counts": dict(counts), "seconds": time.perf_counter() - start}
        self.records.write_tile(run, tile, samples, cost)

    def _assemble(self, run: Run) -> None:
        """Write result.nc and provenance.json from the tiles, and drop these."""
        tiles: list[Samples] = []
        counts: Counter[str] = Counter()
        seconds = 0.0
        draws = self.draws(run)
        for tile in range(draws.tiles):
            samples, cost = self.records.read_tile(run, tile)
            tiles.append(samples)
            seconds += cost["seconds"]
            counts.update(cost["counts"])
        samples = draws.join(tiles)
        setup = self.setup(run)
        attributes = {"title": self.plan.title, "sampler": run.key, "run": run.id}
        self.store.write(
            self.records.path(run, "result.nc"),
            lambda p: write_result(p, samples, setup.problem, setup.truth, attributes),
        )
        provenance = provenance_of(run, self.threads) | {
            "wall_time_s": seconds,
            "counts": dict(counts),
            "noise_std": setup.problem.noise.std,
        }
        self.records.write_provenance(run, provenance)
        self.records.drop_tiles(run)

    def _measure(self, run: Run) -> None:
        """Evaluate the metrics of a run and keep them."""
        result = self.result(run)
        metrics: dict[str, float] = {}
        silent: list[int] = []
        for i, metric in enumerate(run.point.spec.metrics):
            try:
                found = {k: float(v) for k, v in metric.evaluate(result).items()}
            except MempostError as error:
                raise PluginError(f"metrics.{i}: {error}") from error
            if twice := found.keys() & metrics.keys():
                raise PluginError(f"metrics.{i}: an earlier metric has the column {min(twice)!r}")
            metrics |= found
            silent += [] if found else [i]
        result.metrics.update(metrics)
        self.records.write_metrics(run, metrics, silent)


class _Siblings(Mapping[str, Result]):
    """The results of all samplers at the point of a run."""

    def __init__(self, workshop: Workshop, run: Run) -> None:
        self._workshop = workshop
        self._runs = {r.key: r for r in workshop.plan.runs if r.point is run.point}

    def __getitem__(self, key: str) -> Result:
        return self._workshop.result(self._runs[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)
