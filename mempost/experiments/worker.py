"""A worker: carries out tasks, with limited threads, a shelf for what is kept, and a memory.

What tasks share (data, fitted priors, built problems) is made when it is first asked for and
remembered within the process (`mempost.core.memory`).
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import threadpoolctl
import torch

from mempost.core.keeping import keeping
from mempost.core.memory import remember
from mempost.core.prior import FittedPrior
from mempost.core.progress import Progress, silent
from mempost.core.result import DataAndPrior, PointResults, Result
from mempost.experiments.build import Setup, build, in_coordinates, rebuild
from mempost.experiments.fitting import fit_prior
from mempost.experiments.loading import data_of
from mempost.experiments.measuring import Measurement, Measurements
from mempost.experiments.plan import Plan, Point, Run
from mempost.experiments.records import Records
from mempost.experiments.spec import Spec
from mempost.experiments.store import KeptFolder, Store
from mempost.experiments.tasks import KINDS, Task

RESULTS = 16
"""Results at hand, those used last; each holds its samples once they were asked for."""


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """A fixed number of threads: sums keep their order, and workers do not fight over cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with _thread_pools(len(sys.modules)).limit(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _thread_pools(modules: int) -> threadpoolctl.ThreadpoolController:
    """The libraries with threads, looked for again (some ms) when ``modules`` came along."""
    return threadpoolctl.ThreadpoolController()


class Worker:
    """Carries out tasks of a plan in a store."""

    def __init__(self, plan: Plan, store: Store, threads: int = 1) -> None:
        self.plan, self.store, self.threads = plan, store, threads
        self.records = Records(store)
        self.measurements = Measurements(plan, store)
        self._results: OrderedDict[tuple[int, str], Result] = OrderedDict()

    def carry_out(self, task: Task, progress: Progress = silent) -> None:
        """Do one task; its result is in the store afterwards."""
        run = self.plan.runs[task.run]
        kind = KINDS[task.kind]
        shelf = KeptFolder(self.store, kind.folder(self, run, task.part))
        with limited_threads(self.threads), keeping(shelf):
            kind.carry_out(self, run, task.part, progress)

    def is_drawn(self, run: Run) -> bool:
        """Whether the samples of a run are there, whole."""
        return self.records.provenance(run) is not None

    def siblings(self, run: Run) -> dict[str, Run]:
        """The runs at the point of a run, itself among them, by the sampler's key."""
        return {r.key: r for r in self.plan.runs if r.point is run.point}

    # -- pieces, remembered -------------------------------------------------------------------

    def priors_of(self, run: Run) -> list[tuple[str, Spec]]:
        """Ids of the priors that a run needs, its own and the common one, each with its spec."""
        own, common = (run.prior_id, run.spec), (run.point.prior_id, run.point.spec)
        return [own] if own[0] == common[0] else [own, common]

    def prior(self, prior_id: str, spec: Spec, progress: Progress = silent) -> FittedPrior:
        """The fitted prior of a spec: from memory, from what is kept, or fitted now."""
        return remember(
            lambda: fit_prior(spec, data_of(spec), progress),
            "fitted",
            prior_id,
            self.store.folder,
        )

    def common_setup(self, point: Point) -> Setup:
        """The inverse problem of a point under its common prior, with its data and truth."""

        def make() -> Setup:
            spec = point.spec
            return build(spec, data_of(spec), self.prior(point.prior_id, spec))

        return remember(make, "setup", point.problem_id, self.store.folder)

    def setup(self, run: Run) -> Setup:
        """The inverse problem of a run: that of its point, under the run's own prior."""
        common = self.common_setup(run.point)
        if run.prior_id == run.point.prior_id:
            return common

        def make() -> Setup:
            spec = run.spec
            return rebuild(common, spec, data_of(spec), self.prior(run.prior_id, spec))

        return remember(make, "setup", run.point.problem_id, run.prior_id, self.store.folder)

    def result(self, run: Run) -> Result:
        """The result of a run, its samples read from the store when they are asked for."""
        key = (id(run.point), run.key)  # a run may stand at two points, beside other siblings
        if key not in self._results:
            self._results[key] = self._result(run)
            while len(self._results) > RESULTS:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return self._results[key]

    def _result(self, run: Run) -> Result:
        setup, spec = self.setup(run), run.spec
        return Result(
            key=run.key,
            point=run.point.labels,
            sampler=run.sampler,
            problem=setup.problem,
            data=setup.data,
            truth=setup.truth if spec.calibration is None else None,
            seed=spec.seed,
            load_samples=lambda: self.records.samples(run).to(spec.device),
            siblings=_Results(self, self.siblings(run)),
            load_measured=lambda: self.measurements.row(run).measured,
        )

    def subject(self, run: Run, one: Measurement) -> Result | PointResults | DataAndPrior:
        """What is handed over to a metric."""
        if one.metric.subject == "run":
            return self.result(run)
        if one.metric.subject == "data":
            spec = run.spec
            prior = self.prior(run.prior_id, spec)
            return DataAndPrior(in_coordinates(data_of(spec), prior), prior, spec.seed)
        common = self.common_setup(run.point)
        siblings = self.siblings(run)
        return PointResults(
            problem=common.problem,
            data=common.data,
            truth=common.truth if run.spec.calibration is None else None,
            seed=run.point.spec.seed,
            results=_Results(self, {key: siblings[key] for key in one.needs}),
        )


class _Results(Mapping[str, Result]):
    """The results of all samplers at the point of a run."""

    def __init__(self, worker: Worker, runs: Mapping[str, Run]) -> None:
        self._worker, self._runs = worker, runs

    def __getitem__(self, key: str) -> Result:
        return self._worker.result(self._runs[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)
