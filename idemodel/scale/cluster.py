"""A cluster as the commands use it: joined or started, versions compared, work sent, results waited for; in silence.

The one module that knows Dask's client. What goes wrong is one line, an InputError; Dask's own logs are kept from the
terminal as long as the cluster is connected.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import platform
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from idekernels.errors import InputError, in_short
from idekernels.files.processes import usable_cores
from idemodel.scale.answers import Refusal
from idemodel.scale.places import Place

# what decides a picture's bytes, or whether two processes understand each other
PACKAGES = (
    "idesketch",
    "numpy",
    "numba",
    "scipy",
    "scikit-image",
    "pillow",
    "dlib-bin",
    "dlib",
    "torch",
    "distributed",
)
_OF_SCHEDULERS = ("Python", "idesketch", "distributed")

_TIMEOUT = 10.0  # seconds for a scheduler to answer, and for its first worker
_LOOK = 2.0  # seconds between two looks at the workers while a result is waited for
_PATIENCE = 60.0  # seconds without any worker: a nanny needs a few to start one anew
_SETTINGS = {  # of Dask in this process, and in those of local:N
    "distributed.admin.large-graph-warning-threshold": "1 GB",  # photos are sent with the work, see Cluster.submit
    "distributed.admin.tick.interval": "500ms",  # between two looks at how late its loops are
    "distributed.worker.profile.enabled": False,  # it would stop the threads a hundred times a second
}
_ENDED = (asyncio.CancelledError, concurrent.futures.CancelledError)  # what waits for a scheduler that is gone
_ABSENT = "not installed"
_LOGGERS = ("distributed", "tornado", "asyncio", "bokeh")


class KilledError(InputError):
    """A piece of work during which one worker after the other ended."""


class WorkerGoneError(InputError):
    """The worker that was to do a piece of work has left the cluster."""


class Cluster:
    """Workers that answer, all of this machine's versions; made by :func:`connected`."""

    def __init__(self, client: Any, place: Place) -> None:
        self.place = place
        self._client = client
        self._call = uuid.uuid4().hex  # two calls on one scheduler must not share keys
        self._sent = 0
        self._seen: tuple[float, dict[str, int]] = (-_LOOK, {})
        self._alone_since: float | None = None

    @property
    def workers(self) -> dict[str, int]:
        """The addresses of the workers that are there, in order, and the threads of each; as of the last two seconds.

        Raises
        ------
        InputError
            The scheduler is gone.
        """
        when, found = self._seen
        if time.monotonic() - when < _LOOK:
            return found
        try:
            found = dict(sorted(self._client.nthreads().items()))
        except Exception as error:  # whatever way the connection breaks
            raise self._no_scheduler(error) from error
        self._seen = (time.monotonic(), found)
        return found

    def submit(self, name: str, work: Callable[..., Any], *given: Any, worker: str | None = None) -> Any:
        """Have ``work(*given)`` done by any worker, or by one; the future of its result.

        ``name`` is what the dashboard calls it. What is given is kept by the scheduler until the work is done, so that
        a worker that is killed loses nothing; it is never left to the memory of a worker.
        """
        self._sent += 1
        pinned = {} if worker is None else {"workers": [worker], "allow_other_workers": False}
        try:
            return self._client.submit(work, *given, key=f"{name}-{self._call}-{self._sent}", pure=False, **pinned)
        except Exception as error:  # a client that is closed raises a bare Exception
            raise self._no_scheduler(error) from error

    def on_all(self, work: Callable[..., Any], *given: Any) -> dict[str, Any]:
        """What a short function gives on every worker, by address; in its place the exception that it raised."""
        try:
            found: dict[str, Any] = self._client.run(work, *given, on_error="return")
        except Exception as error:
            raise self._no_scheduler(error) from error
        return found

    def result(self, future: Any, worker: str | None = None) -> Any:
        """Wait for a result.

        Raises
        ------
        WorkerGoneError
            ``worker``, the only one that may do the work, is there no more.
        KilledError
            Several workers ended while they did it.
        InputError
            The worker refuses, see :class:`idemodel.scale.answers.Refusal`; what it raised, in one line; the scheduler
            is gone, or has had no worker for a minute.
        """
        found = self._fetched(future, worker)
        if isinstance(found, Refusal):
            raise InputError(found.line)
        return found

    def get_ready(self, work: Callable[[Any], Any], job: Any) -> list[Any]:
        """Have every worker open what a job needs, side by side; what ``work`` gave on each that is still there."""
        pending = [(worker, self.submit("get ready", work, job, worker=worker)) for worker in self.workers]
        found = []
        for worker, future in pending:
            with contextlib.suppress(WorkerGoneError):
                found.append(self.result(future, worker))
        if not found:
            raise InputError(f"{self.place}: every worker ended while it opened the bank; have they enough memory?")
        return found

    def check(self) -> None:
        """Wait for a worker, and compare versions.

        Raises
        ------
        InputError
            No worker comes, or one, or the scheduler, has another version of what decides a picture's bytes.
        """
        try:
            self._client.wait_for_workers(1, timeout=_TIMEOUT)
        except asyncio.TimeoutError:
            raise InputError(
                f"{self.place}: the scheduler has no workers; start some with: dask worker {self.place} --nthreads 1"
            ) from None
        self._compare("Python", platform.python_version, (), lambda text: text.rpartition(".")[0])
        for package in PACKAGES:
            self._compare(package, version, (package,), str)

    def _compare(self, name: str, ask: Callable[..., str], given: tuple[str, ...], form: Callable[[str], str]) -> None:
        """InputError where a version differs; ``ask`` is of Python's own library: there may be nothing else."""
        try:
            mine = form(ask(*given))
        except PackageNotFoundError:
            mine = _ABSENT
        scheduler = {"the scheduler": self._scheduler(ask, given)} if name in _OF_SCHEDULERS else {}
        workers = {f"worker {address}": found for address, found in self.on_all(ask, *given).items()}
        for where, found in {**scheduler, **workers}.items():
            theirs = form(found) if isinstance(found, str) else _ABSENT
            if theirs != mine:
                remedy = f"leave {name} out" if mine == _ABSENT else f"install {name} {mine}"
                raise InputError(
                    f"{where}: {name} is {theirs} there and {mine} here; {remedy} there and start it again"
                )

    def _scheduler(self, ask: Callable[..., str], given: tuple[str, ...]) -> Any:
        try:
            return self._client.run_on_scheduler(ask, *given)
        except PackageNotFoundError as error:
            return error
        except Exception as error:
            raise self._no_scheduler(error) from error

    def _fetched(self, future: Any, worker: str | None) -> Any:
        """What the work gave; looked after every two seconds while it is done, and every minute while it is sent."""
        from distributed import wait

        while True:
            try:
                with self._client.as_current():
                    wait([future], timeout=_LOOK)
                return future.result(timeout=_PATIENCE)
            except asyncio.TimeoutError:  # noqa: PERF203 - that is what is waited for
                self._look(worker)
            except (*_ENDED, OSError) as error:
                raise self._no_scheduler(error) from error
            except Exception as error:  # whatever the work raised
                raise self._failed(error) from error

    def _look(self, worker: str | None) -> None:
        """Whether there is still somebody to wait for."""
        workers = self.workers
        if worker is not None and worker not in workers:
            raise WorkerGoneError(f"worker {worker}: has ended")
        if workers:
            self._alone_since = None
            return
        self._alone_since = self._alone_since or time.monotonic()
        if time.monotonic() - self._alone_since > _PATIENCE:
            raise InputError(
                f"{self.place}: the last worker is gone; start some, and the same command goes on from there"
            )

    def _failed(self, error: Exception) -> InputError:
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            last = getattr(error.last_worker, "address", "unknown")
            return KilledError(f"its batch ended several workers, the last of them {last}; give workers more memory")
        told = f"{type(error).__name__}: {in_short(error)}"
        return InputError(f"{self.place}: a worker failed ({told}); see its output, and --debug")

    def _no_scheduler(self, error: BaseException) -> InputError:
        why = "the connection is lost" if isinstance(error, _ENDED) else in_short(error)
        return InputError(
            f"{self.place}: the scheduler is gone ({why}); start it again, and the same command goes on from there"
        )


@contextlib.contextmanager
def connected(place: Place, dashboard: int | None = None) -> Iterator[Cluster]:
    """Join a cluster, or start one of this machine, for the time of a ``with`` block.

    Parameters
    ----------
    place : Place
    dashboard : int, optional
        Port, on the loopback, of Dask's dashboard of a cluster of this machine; none is served if not given. One that
        runs already has what its scheduler was started with.

    Raises
    ------
    InputError
        Dask is not installed, no scheduler answers within 10 seconds, there are no workers, or versions differ.
    """
    _require_extra()
    with _quiet(), contextlib.ExitStack() as until_the_end:
        if place.processes:
            client = until_the_end.enter_context(_started(place, dashboard))
        elif dashboard is None:
            client = until_the_end.enter_context(_joined(place))
        else:
            raise InputError(f"{place}: the dashboard of a cluster that runs is its scheduler's; leave --dashboard out")
        cluster = Cluster(client, place)
        cluster.check()
        yield cluster


@contextlib.contextmanager
def _joined(place: Place) -> Iterator[Any]:
    from distributed import Client

    security = _certificates(place)
    try:
        client = Client(place.address, timeout=_TIMEOUT, set_as_default=False, security=security)
    except Exception as error:  # a port that speaks something else can raise anything
        raise InputError(
            f"{place}: no scheduler answers ({in_short(error)}); start one with: dask scheduler, or correct the address"
        ) from error
    with _closing(client):
        yield client


@contextlib.contextmanager
def _started(place: Place, dashboard: int | None) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if dashboard is not None:
        _require_bokeh()
    share = str(max(1, usable_cores() // place.processes))
    try:
        started = LocalCluster(
            n_workers=place.processes, threads_per_worker=1, host="127.0.0.1", security=_security(),
            memory_limit=0, silence_logs=logging.CRITICAL, env=_environment(share),
            scheduler_kwargs={"dashboard": dashboard is not None, "dashboard_address": f"127.0.0.1:{dashboard or 0}"},
            worker_dashboard_address="127.0.0.1:0", preload=["idemodel.scale.interrupts"],
        )  # fmt: skip
    except Exception as error:
        raise InputError(f"{place}: the processes cannot be started ({in_short(error)}); try fewer") from error
    with _closing(started):
        client = Client(started, timeout=_TIMEOUT, set_as_default=False)
        with _closing(client):
            yield client


@contextlib.contextmanager
def _closing(thing: Any) -> Iterator[None]:
    """Close it at the end, whatever state it is in: what went wrong before is what is to be told."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            thing.close()


def _certificates(place: Place) -> Any:
    """What Dask's configuration says of encryption; InputError where a tls:// address finds no certificate there."""
    from distributed.security import Security

    try:
        security = Security()
        known = security.get_connection_args("client").get("ssl_context") is not None
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise InputError(f"{place}: the certificates cannot be read ({in_short(error)}); see docs/SCALE.md") from error
    if place.address.startswith("tls") and not known:
        raise InputError(f"{place}: no certificate is set, in DASK_DISTRIBUTED__COMM__TLS__CA_FILE; see docs/SCALE.md")
    return security


def _security() -> Any:
    """Certificates for this call alone: without, any user of the machine could have our processes run code."""
    from distributed.security import Security

    return Security.temporary()


def _environment(threads: str) -> dict[str, str]:
    """Of a worker of this machine: its share of the cores, and no logs."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, threads), "DASK_LOGGING__DISTRIBUTED": "critical"}


def _require_extra() -> None:
    try:
        import cryptography  # noqa: F401
        import distributed  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--cluster needs {error.name}, which is not installed: pip install 'idesketch[scale]'"
        ) from None


def _require_bokeh() -> None:
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise InputError("--dashboard needs bokeh, which is not installed: pip install bokeh") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's logs and warnings from the terminal; what they were set to is set again at the end."""
    import dask

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LOGGERS]
    loggers = [logging.getLogger(name) for name in {*names, *_LOGGERS}]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), dask.config.set(_SETTINGS):
            warnings.filterwarnings("ignore", module=r"(distributed|dask|tornado|asyncio)(\..*)?$")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
