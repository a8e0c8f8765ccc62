"""The addresses: a page per database and per run, what its script asks for, and links to single traces.

/                              the databases; where there is one, its page
/NAME/  /NAME/runs/RUN/        a page: all runs, or one
.../live  .../analysis         news since the last time, as JSON; findings and figures, as HTML
.../traces/ID.json             the tokens and probes of a trace
/NAME/traces/ID                leads to the trace in the page

All are read with GET, only by programs of this machine, and only under its own names: a web page elsewhere that lets
its own name point to this address is refused, since its name is in the Host header.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from localent.errors import LocalentError, UsageError
from localent.report import page
from localent.store import following, open_db, traces
from localent.store.following import snapshot
from localent.view import work
from localent.view.analysis import Analysis
from localent.view.traces import Arrivals, Run, runs_of

HOSTS = ["127.0.0.1", "localhost"]
SEALED = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(slots=True)
class Page:
    """What is kept between requests about a database, or about one run of it."""

    path: Path
    only: str | None  # a run; None: all
    analysis: Analysis
    arrivals: Arrivals = field(default_factory=Arrivals)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def news(self, seen: Seen, base: str) -> dict[str, object]:
        """What has come since a reader saw so much. base: the address of the database."""
        with self.lock, snapshot(self.path) as db:
            runs = runs_of(db, self.only)
            if not self.arrivals.look(db, runs):
                self.arrivals = Arrivals()
                self.arrivals.look(db, runs)
            ids = tuple(run.run_id for run in runs)
            going_on = work.going_on(db, ids, datetime.now(UTC))
        self.analysis.refresh(ids)
        new = self.arrivals
        if seen.boot not in ("", new.boot):
            return {"boot": new.boot}
        return {
            "boot": new.boot,
            "runs": [run.name for run in runs],
            "traces": new.traces[seen.traces :],
            "problems": new.problems[seen.problems :],
            "measures": page.measures(),
            "work": [shown(one, runs, base) for one in going_on],
            "state": work.state_of(going_on),
            "analysis": self.analysis.version,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """How much a reader has: the numbers are places in lists that only grow while boot is the same."""

    boot: str
    traces: int
    problems: int

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Seen:
        """From the query of an address. Raises UsageError for counts that are none."""
        counts = [asked.get(name, "0") for name in ("traces", "problems")]
        if not all(count.isascii() and count.isdigit() and len(count) < 12 for count in counts):
            raise UsageError(f"Expected two counts, got {', '.join(counts)}.")
        return cls(asked.get("boot", ""), *map(int, counts))


def shown(one: work.Work, runs: Sequence[Run], base: str) -> dict[str, object]:
    """A run at work, as the script reads it."""
    run = next(run for run in runs if run.run_id == one.run_id)
    href = f"{base}runs/{one.run_id}/"
    return {
        "name": f"{run.name} on {run.task}",
        "href": href,
        "done": one.n_traces,
        "total": one.n_asked,
        "text": one.sentence(),
    }


class Site:
    """The databases by the names that they have in addresses, and the answers to requests."""

    def __init__(self, databases: Sequence[Path]) -> None:
        self.databases = named(databases)
        self.pages: dict[tuple[str, str | None], Page] = {}
        self.lock = threading.Lock()

    def page(self, request: Request) -> Page:
        """The page that a request is about. Raises UsageError for a database or run that there is not."""
        path, run = self.path(request), request.path_params.get("run")
        if run is not None:
            with open_db(path, readonly=True) as db:
                run = db.run(run).run_id
        with self.lock:
            key = (request.path_params["name"], run)
            return self.pages.setdefault(key, Page(path, run, Analysis(path)))

    def path(self, request: Request) -> Path:
        """The database that a request names."""
        name = request.path_params["name"]
        if name not in self.databases:
            raise UsageError(f"No database '{name}' is served here; there are {', '.join(self.databases)}.")
        return self.databases[name]

    def base(self, request: Request) -> str:
        """The address of the database's page."""
        return f"/{quote(request.path_params['name'])}/"

    def close(self) -> None:
        """End what is being computed."""
        for found in list(self.pages.values()):
            found.analysis.stop()

    # --- answers ----------------------------------------------------------------------------------------------------

    def home(self, request: Request) -> Response:
        """The databases; where there is one, its page."""
        if len(self.databases) == 1:
            return RedirectResponse(f"/{quote(next(iter(self.databases)))}/")
        links = [(f"/{quote(name)}/", path.name, said_of(path)) for name, path in self.databases.items()]
        return HTMLResponse(page.listing("Databases", links))

    def frame(self, request: Request) -> Response:
        """The page without data, which its script asks for."""
        found = self.page(request)
        title = found.path.name if found.only is None else f"{found.path.name}: run {found.only}"
        up = self.base(request) if found.only is not None else "/" if len(self.databases) > 1 else None
        return HTMLResponse(page.frame(title, up))

    def live(self, request: Request) -> Response:
        """News since the last time."""
        return JSONResponse(self.page(request).news(Seen.of(request.query_params), self.base(request)))

    def analysis(self, request: Request) -> Response:
        """The findings and figures that were computed last."""
        return HTMLResponse(self.page(request).analysis.text)

    def trace(self, request: Request) -> Response:
        """The tokens and probes of a trace."""
        with snapshot(self.path(request)) as db:
            trace_id = traces.find_trace(db, request.path_params["trace"])
            return JSONResponse(page.for_page(traces.drawn(db, trace_id)))

    def link(self, request: Request) -> Response:
        """To a trace in the page; the first digits of its id are enough."""
        with snapshot(self.path(request)) as db:
            trace_id = traces.find_trace(db, request.path_params["trace"])
        return RedirectResponse(f"{self.base(request)}#trace={trace_id}")


def said_of(path: Path) -> str:
    """Runs and traces of a database, or why it cannot be read."""
    try:
        with open_db(path, readonly=True) as db:
            row = following.counts(db)
    except (LocalentError, UsageError) as error:
        return str(error)
    return f"{row['traces']:,} traces of {row['runs']:,} {'run' if row['runs'] == 1 else 'runs'}"


def named(databases: Sequence[Path]) -> dict[str, Path]:
    """Names for addresses: "runs" for runs.db, "runs-2" for another one."""
    found: dict[str, Path] = {}
    for path in dict.fromkeys(Path(os.path.realpath(one)) for one in databases):
        name = stem = path.stem or path.name
        n = 1
        while name in found:
            n += 1
            name = f"{stem}-{n}"
        found[name] = path
    return found


def application(site: Site) -> Starlette:
    """The whole site, as an ASGI application."""
    of_page = [get("/", site.frame), get("/live", site.live), get("/analysis", site.analysis)]
    of_page += [get("/traces/{trace}.json", site.trace)]
    of_database = [*of_page, get("/traces/{trace}", site.link), Mount("/runs/{run}", routes=of_page)]
    return Starlette(
        routes=[get("/", site.home), Mount("/{name}", routes=of_database)],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(GZipMiddleware),
            Middleware(Sealing),
        ],
        exception_handlers={UsageError: missing, LocalentError: failed},
    )


def get(path: str, answer: Callable[[Request], Response]) -> Route:
    """A route that is only read."""
    return Route(path, answer, methods=["GET"])


async def missing(request: Request, error: Exception) -> Response:
    """Something was asked for that there is not."""
    return PlainTextResponse(f"{error}\n", 404)


async def failed(request: Request, error: Exception) -> Response:
    """A database cannot be read."""
    return PlainTextResponse(f"{error}\n", 503)


class Sealing:
    """Adds the headers that keep other pages from embedding or reading an answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                pairs = [(name.lower().encode(), value.encode()) for name, value in SEALED.items()]
                message["headers"] = [*message.get("headers", []), *pairs]
            await send(message)

        await self.app(scope, receive, sealed)
