"""The kinds of task: fit a prior, prepare a part, sample a tile, assemble a run, measure it.

A kind says which parts of a run are left, which work a part is (what two runs share is done once),
what it needs, how it is carried out, and which runs fail with it. A task reads what it needs from
the plan and the store and leaves its result in the store, so tasks run in any process and in any
order that respects their needs.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from mempost.core.capabilities import IsGaussian, ask
from mempost.core.cautions import collecting
from mempost.core.counters import counting
from mempost.core.errors import NonFiniteError
from mempost.core.identity import plugins_in
from mempost.core.prior import Prior
from mempost.core.progress import Progress
from mempost.core.sampler import Samples
from mempost.experiments.drawing import Draws
from mempost.experiments.measuring import Measurement
from mempost.experiments.plan import Plan, Run
from mempost.experiments.provenance import provenance_of
from mempost.experiments.results import result_bytes

if TYPE_CHECKING:
    from mempost.core.plugin import Plugin
    from mempost.experiments.spec import Spec
    from mempost.experiments.worker import Worker


class Task(NamedTuple):
    """A part of what a kind of task does for run ``run`` of the plan."""

    kind: str
    run: int
    part: int = 0


Work = tuple[Hashable, ...]
"""What tells the work of a task from that of others: its kind first, then whatever it makes."""


class Kind(ABC):
    """A kind of task; it has no state."""

    name: ClassVar[str]

    @abstractmethod
    def left(self, worker: Worker, run: Run) -> Iterable[int]:
        """The parts of a run that are not done."""

    @abstractmethod
    def work(self, worker: Worker, run: Run, part: int) -> Work:
        """The work of a part."""

    @abstractmethod
    def needs(self, worker: Worker, run: Run, part: int) -> Iterable[Work]:
        """Work that comes first, if it is not done."""

    @abstractmethod
    def carry_out(self, worker: Worker, run: Run, part: int, progress: Progress) -> None:
        """Do a part."""

    def folder(self, worker: Worker, run: Run, part: int) -> Path:
        """The folder that what plugins keep on the way belongs to."""
        return worker.store.path("runs", run.id)

    def failing(self, worker: Worker, task: Task) -> list[Run]:
        """The runs that fail with a task."""
        return [worker.plan.runs[task.run]]

    def fail(self, worker: Worker, task: Task, reason: str, trace: str) -> None:
        """Name the reason beside every run that fails with a task."""
        failure = {"reason": reason, "task": task._asdict(), "trace": trace}
        for run in self.failing(worker, task):
            if trace or worker.records.failure(run) is None:
                worker.records.write_failure(run, failure)

    def blocked(self, plan: Plan, task: Task, need: Task, reason: str) -> str | None:
        """Why a task cannot be done when what it needs has failed; None if it can all the same."""
        return reason


class Fit(Kind):
    """Fit one of the priors of a run; those in closed form are fitted where they are used."""

    name = "fit"

    def left(self, worker: Worker, run: Run) -> Iterable[int]:
        if not worker.is_drawn(run):
            for part, (_, spec) in enumerate(worker.priors_of(run)):
                if "closed_form" not in spec.prior.tags:
                    yield part

    def work(self, worker: Worker, run: Run, part: int) -> Work:
        return self.works(worker, run)[part]

    def works(self, worker: Worker, run: Run) -> list[Work]:
        """The work of all parts."""
        return [(self.name, prior_id) for prior_id, _ in worker.priors_of(run)]

    def needs(self, worker: Worker, run: Run, part: int) -> Iterable[Work]:
        """Other fits that train one of the same priors, so that none is trained twice at a time."""
        mine = _trained(worker.priors_of(run)[part][1])
        for other in worker.plan.runs:
            for prior_id, spec in worker.priors_of(other):
                if mine & _trained(spec):
                    yield (self.name, prior_id)

    def blocked(self, plan: Plan, task: Task, need: Task, reason: str) -> str | None:
        return None

    def carry_out(self, worker: Worker, run: Run, part: int, progress: Progress) -> None:
        worker.prior(*worker.priors_of(run)[part], progress)

    def failing(self, worker: Worker, task: Task) -> list[Run]:
        runs = worker.plan.runs
        prior_id, _ = worker.priors_of(runs[task.run])[task.part]
        return [r for r in runs if prior_id in (r.prior_id, r.point.prior_id)]


def _trained(spec: Spec) -> set[Plugin]:
    """The priors that are not in closed form: that of a spec, and those inside of it."""
    priors = (p for p in plugins_in(spec.prior) if isinstance(p, Prior))
    return {prior for prior in priors if "closed_form" not in prior.tags}


class Prepare(Kind):
    """Do a part of the work that comes before sampling.

    The same part of another run may be the same work: such parts are done one by one.
    """

    name = "prepare"

    def left(self, worker: Worker, run: Run) -> Iterable[int]:
        if any(True for _ in SAMPLE.left(worker, run)):
            yield from range(run.sampler.preparations)

    def work(self, worker: Worker, run: Run, part: int) -> Work:
        return (self.name, run.id, part)

    def needs(self, worker: Worker, run: Run, part: int) -> Iterable[Work]:
        yield from FIT.works(worker, run)
        yield from ((self.name, other.id, part) for other in worker.plan.runs)

    def carry_out(self, worker: Worker, run: Run, part: int, progress: Progress) -> None:
        run.sampler.prepare(worker.setup(run).problem, part, progress)

    def blocked(self, plan: Plan, task: Task, need: Task, reason: str) -> str | None:
        return None if need.kind == self.name else reason


def draws_of(run: Run) -> Draws:
    """What a run draws."""
    return Draws(run.spec, run.sampler, run.n)


class Sample(Kind):
    """Draw a tile of the samples of a run."""

    name = "sample"

    def left(self, worker: Worker, run: Run) -> Iterable[int]:
        if not worker.is_drawn(run):
            for tile in range(draws_of(run).tiles):
                if not worker.records.has_tile(run, tile):
                    yield tile

    def work(self, worker: Worker, run: Run, part: int) -> Work:
        return (self.name, run.id, part)

    def needs(self, worker: Worker, run: Run, part: int) -> Iterable[Work]:
        yield from FIT.works(worker, run)
        yield from (PREPARE.work(worker, run, k) for k in range(run.sampler.preparations))

    def carry_out(self, worker: Worker, run: Run, part: int, progress: Progress) -> None:
        try:
            with collecting() as said:
                common, own = worker.common_setup(run.point), worker.setup(run)
                start = time.perf_counter()
                with counting() as counts:
                    samples = draws_of(run).draw(part, common, own, progress)
        except NonFiniteError as error:
            if error.state:
                values = {"error": str(error), "tile": part}
                worker.records.write_failed_state(run, error.state, values)
            raise
        seconds = time.perf_counter() - start
        cost = {"counts": dict(counts), "seconds": seconds, "warnings": list(said)}
        worker.records.write_tile(run, part, samples, cost)


class Assemble(Kind):
    """Write result.nc and provenance.json from the tiles of a run, and drop these."""

    name = "assemble"

    def left(self, worker: Worker, run: Run) -> Iterable[int]:
        return () if worker.is_drawn(run) else (0,)

    def work(self, worker: Worker, run: Run, part: int) -> Work:
        return (self.name, run.id)

    def needs(self, worker: Worker, run: Run, part: int) -> Iterable[Work]:
        return (SAMPLE.work(worker, run, tile) for tile in range(draws_of(run).tiles))

    def carry_out(self, worker: Worker, run: Run, part: int, progress: Progress) -> None:
        draws = draws_of(run)
        tiles: list[Samples] = []
        counts: Counter[str] = Counter()
        seconds, said = 0.0, dict[str, None]()
        for tile in range(draws.tiles):
            samples, cost = worker.records.read_tile(run, tile)
            tiles.append(samples)
            seconds += cost["seconds"]
            counts.update(cost["counts"])
            said |= dict.fromkeys(cost["warnings"])
        samples = draws.join(tiles)
        setup = worker.setup(run)
        attributes = {"title": worker.plan.title, "sampler": run.key, "run": run.id}
        content = result_bytes(samples, setup.problem, setup.truth, attributes)
        worker.store.write(worker.records.path(run, "result.nc"), content)
        question = setup.problem.question
        noise = None if question is None else ask(question.noise, IsGaussian)
        provenance = provenance_of(run, worker.threads) | {
            "wall_time_s": seconds,
            "counts": dict(counts),
            "warnings": list(said),
            **({} if noise is None else {"noise_std": noise.std}),
        }
        worker.records.write_provenance(run, provenance)
        worker.records.drop_tiles(run)


class Measure(Kind):
    """Measure what belongs in the row of a run: a part is a group that waits for the same.

    What is measured of a point, or of data with their prior, is the same work for all its rows.
    """

    name = "measure"

    def left(self, worker: Worker, run: Run) -> Iterable[int]:
        for part, group in enumerate(worker.measurements.groups(run)):
            if any(worker.measurements.read(one) is None for one in group):
                yield part

    def work(self, worker: Worker, run: Run, part: int) -> Work:
        return (self.name, *(one.path for one in self._group(worker, run, part)))

    def needs(self, worker: Worker, run: Run, part: int) -> Iterable[Work]:
        first = self._group(worker, run, part)[0]
        own = (run.key,) if first.metric.subject == "run" else ()
        siblings = worker.siblings(run)
        for name in dict.fromkeys((*own, *first.needs)):
            yield ASSEMBLE.work(worker, siblings[name], 0)
        yield from FIT.works(worker, run)

    def carry_out(self, worker: Worker, run: Run, part: int, progress: Progress) -> None:
        group = self._group(worker, run, part)
        worker.measurements.make(group, lambda one: worker.subject(run, one))

    def fail(self, worker: Worker, task: Task, reason: str, trace: str) -> None:
        group = self._group(worker, worker.plan.runs[task.run], task.part)
        worker.measurements.skip(group, reason, trace)

    def blocked(self, plan: Plan, task: Task, need: Task, reason: str) -> str | None:
        if need.run == task.run or need.kind == FIT.name:
            return reason
        return f"{plan.runs[need.run].key}, which it is compared with, has failed: {reason}"

    def _group(self, worker: Worker, run: Run, part: int) -> list[Measurement]:
        return worker.measurements.groups(run)[part]


FIT, PREPARE, SAMPLE, ASSEMBLE, MEASURE = Fit(), Prepare(), Sample(), Assemble(), Measure()
DRAWING: tuple[Kind, ...] = (FIT, PREPARE, SAMPLE, ASSEMBLE)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (*DRAWING, MEASURE)}
