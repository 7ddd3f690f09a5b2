"""``idesketch serve``: a page on this machine and an interface for programs, until Ctrl+C."""

from __future__ import annotations

import importlib.util
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from idekernels.errors import InputError

from .builtin import builtin_bank_shown
from .console import err, note, say
from .kernels import let_waiting_threads_sleep
from .options import PATH, Bytes, precision_option

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "fastapi_offline")  # what the extra brings
_EVERYWHERE = ("0.0.0.0", "::")


@click.command()
@click.option(
    "--bank", "banks", metavar="BANK.h5", type=PATH, multiple=True, help="Instead of the built-in; repeat for several."
)
@click.option(
    "--model", metavar="MODEL", type=PATH, help="Instead of the built-in: .safetensors, or the authors' .pth."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option(
    "--token", envvar="IDESKETCH_TOKEN", help="What programs and the page must bring; made where --host needs one. "
    "Rather set IDESKETCH_TOKEN: others on this machine see a command line.",
)  # fmt: skip
@click.option("--name", "names", multiple=True, help="A further name that this server is asked by; may be repeated.")
@click.option(
    "--origin", "origins", multiple=True, help="Another server whose pages may ask: https://intranet.example."
)
@click.option("--upload", type=Bytes(), default="20MiB", show_default=True, help="Largest request.")
@click.option(
    "--places", default=32, show_default=True, type=click.IntRange(1, 10000),
    help="Requests under way at the same time in each process; further ones are told to come again (429).",
)  # fmt: skip
@click.option("--backend", default="auto", show_default=True, help="Of stage 1, see coarse.")
@click.option("--device", default="auto", show_default=True, help="Of stage 2: auto, cpu or cuda.")
@precision_option
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
def serve(workers: int, host: str, port: int, **told: Any) -> None:
    """Serve a page on this machine, and an interface for programs: drop a photo, get a sketch.

    The address is printed; open it in a browser of this machine, and read about the interface at /docs there. Nothing
    is asked of any other server, and photos stay in memory. Beyond this machine (--host) a token is needed: it is part
    of the address that is printed. Ends with Ctrl+C.
    """
    _require_extra()
    let_waiting_threads_sleep()
    with err.status("Loading the model"):  # torch takes its time
        from idemodel.serving.server import listen
        from idemodel.serving.server import serve as serve_it
        from idemodel.serving.settings import Access
    token = told["token"]
    made = "" if token or Access(host, "x" * 8).is_loopback else secrets.token_urlsafe(18)
    plan = _plan(Access(host, token or made or None, told["names"], told["origins"]), told)
    for file in (*plan.banks, *([plan.model] if plan.model else [])):
        if not file.exists():
            raise InputError(f"{file}: no such file or folder")
    _open_bank(plan.banks).close()  # what is wrong with it is told, and the built-in one drawn, before processes begin
    listening = listen(host, port)
    if made:
        note(f"--host {host} is beyond this machine, so a token is needed; this one was made for this run: {made}")
    with suppress(KeyboardInterrupt):  # the way to end it
        serve_it(plan, listening, workers, ready=lambda: _tell(plan.access, listening))


def _plan(access: Any, told: dict[str, Any]) -> Any:
    from idemodel.serving.server import Plan
    from idemodel.serving.settings import Limits

    limits = Limits(upload=told["upload"], places=told["places"])
    banks: tuple[Path, ...] = told["banks"]
    chosen = {name: told[name] for name in ("model", "backend", "device", "precision", "memory")}
    return Plan(banks, access=access, limits=limits, **chosen)


def _open_bank(banks: tuple[Path, ...]) -> Any:
    from idekernels import open_bank

    return open_bank(*banks) if banks else builtin_bank_shown()


def _require_extra() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"serve needs {', '.join(missing)}, not installed here: pip install 'idesketch[serve]'")


def _tell(access: Any, listening: socket.socket) -> None:
    """Print the address; it opens nothing."""
    host = socket.gethostname() if access.host in _EVERYWHERE else access.host
    shown = f"[{host}]" if ":" in host else host
    secret = f"#token={access.token}" if access.token else ""
    say(f"idesketch is at http://{shown}:{listening.getsockname()[1]}/{secret} (Ctrl+C ends it)")
    if not access.is_loopback:
        note("what is sent is not encrypted: beyond a network that you trust, put a server with TLS before it")
