"""`landfall load …`: load by Locust, on this machine or several, on nodes of its own or elsewhere.

    landfall load run --users 30 --seconds 60 --shape ramp      starts PostgreSQL, a ledger and Locust, and ends them
    landfall load run --ledger https://ledger.example --ledger-key "$VKEY" --issuer     on a test ledger of yours
    landfall load worker plan.json --master 10.0.0.5 --processes 8      elsewhere, while `run --remote-workers 8` waits
    landfall load check build/load                              the journals of a run with --ledger, once more

The exit status is 0 only where nothing was lost, doubled or unproven. loadtests/README.md tells how to verify 10,000
transactions a second.
"""

import asyncio
import shutil
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from landfall.errors import LandfallError
from loadtests.load.check import check_run
from loadtests.load.locust_settings import JOURNALS, LOGS
from loadtests.load.plan import MIXES_FILE, PLAN_FILE, Mixes, Plan, PlanError
from loadtests.load.result import show
from loadtests.load.run import LOOPBACK, clear, run_load, start_workers
from loadtests.load.target import Elsewhere, Target, join_target, start_target
from settlement.ledger.client import Rejected, Unreachable
from settlement.ledger.trust import Untrusted
from simulator.processes import find_free_port

T = TypeVar("T")


FAILED: Final = 2
"""Exit status of a run with faults; 1 is for what a person can put right before it."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=__doc__, add_completion=False)
console = Console()
told = Console(stderr=True)

Folder = Annotated[Path, typer.Option(help="Where load.html, load.json, logs and, after a failure, journals go.")]


@app.command()
def run(
    mix: Annotated[
        str, typer.Option(help="Who the users are: transactions, trade, everything, reading, storefront.")
    ] = "trade",
    shape: Annotated[str, typer.Option(help="How many there are when: steady, ramp, spike, soak.")] = "steady",
    users: Annotated[int, typer.Option(min=1, help="Users when all are there, over all workers.")] = 24,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the run.")] = 60,
    workers: Annotated[
        int, typer.Option(min=0, help="Locust's worker processes here; about one a core that is free.")
    ] = 2,
    sequence: Annotated[
        int,
        typer.Option(min=1, max=10_000, help="Signed entries a call: some hundreds for throughput, 1 for the worst."),
    ] = 100,
    operators: Annotated[int, typer.Option(help="Operators that trade, admitted for the run.")] = 100,
    api_workers: Annotated[int, typer.Option(min=1, help="API processes of the ledger that is started here.")] = 2,
    open_requests: Annotated[
        int, typer.Option(min=0, help="Requests that are open already when the run begins, on a ledger started here.")
    ] = 0,
    mixes: Annotated[
        Path, typer.Option(exists=True, show_default=False, help="File with mixes and shapes of your own.")
    ] = MIXES_FILE,
    ledger: Annotated[
        str, typer.Option(help="A ledger that runs already: its URL. Without, one is started here.")
    ] = "",
    ledger_key: Annotated[
        str, typer.Option(envvar="LANDFALL_LEDGER_KEY", help="Its verifier key, had from elsewhere than the ledger.")
    ] = "",
    issuer: Annotated[
        bool, typer.Option("--issuer", help="Admit operators as the issuer of LANDFALL_DATA_DIR and LANDFALL_KEK.")
    ] = False,
    operator_key: Annotated[
        list[str],
        typer.Option(
            help="Trade as this operator: id=FILE, the file with 32 octets in hex or base64url. Twice or more."
        ),
    ] = [],  # noqa: B006 - typer's own form
    auditor_key: Annotated[
        str, typer.Option(help="Audit as this auditor: id=FILE. With --issuer one is admitted.")
    ] = "",
    node: Annotated[str, typer.Option(help="A home operator's node, for subscribers and OTA: its URL.")] = "",
    node_token: Annotated[Path | None, typer.Option(exists=True, help="File with its staff token.")] = None,
    bind: Annotated[str, typer.Option(help="Where Locust's master listens: * for workers elsewhere.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="Its port.")] = 5557,
    remote_workers: Annotated[int, typer.Option(min=0, help="So many workers come from other machines.")] = 0,
    folder: Folder = Path("build/load"),
    as_json: Annotated[bool, typer.Option("--json", help="Print load.json.")] = False,
) -> None:
    """Put load on a ledger, and on a node, and check every transaction.

    Users sign with keys of their own, through the SDK. Rows marked durable are from the first signature to the verified
    answer under a checkpoint that continues the log: what a sender waits for. At the end all that was acknowledged is
    looked for in the log, and proven.

    On a ledger elsewhere a run leaves operators, offers and requests behind: take a test ledger.

    Example: landfall load run --mix transactions --users 24 --sequence 250 --workers 2 --seconds 60
    """
    if find_spec("locust") is None:
        raise PlanError("Locust is not installed: pip install 'landfall[load]'")
    found = Mixes.read(mixes)
    if workers + remote_workers < 1:
        raise PlanError("no workers at all: give --workers or --remote-workers")
    chosen, stages = found.mix(mix), found.shape(shape)
    if users < len(chosen) and len(chosen) > 1:
        raise PlanError(f"--users {users}: the mix {mix} has {len(chosen)} roles, give at least one user each")

    if ledger and open_requests:
        raise PlanError("--open-requests is for a ledger started here: --ledger has the requests that it has")

    folder = folder.resolve()
    clear(folder)

    async def play() -> bool:
        async with AsyncExitStack() as stack:
            if ledger:
                there = Elsewhere(
                    url=ledger,
                    key=ledger_key,
                    issuer=issuer,
                    operators=operators,
                    operator_keys=operator_key,
                    auditor_key=auditor_key,
                    node_url=node,
                    node_token=node_token.read_text().strip() if node_token else "",
                )
                target = await join_target(there, chosen)
            else:
                starting = start_target(
                    *(folder, chosen),
                    operators=operators,
                    workers=api_workers,
                    opened=open_requests,
                    tell=told.print,
                )
                target = await stack.enter_async_context(starting)
                stack.callback((folder / PLAN_FILE).unlink, missing_ok=True)  # its keys are of no use any more
            plan = Plan(
                **{name: getattr(target, name) for name in Target.__struct_fields__},
                mix_name=mix,
                mix=chosen,
                shape_name=shape,
                stages=stages,
                users=users,
                seconds=seconds,
                workers=workers + remote_workers,
                sequence=sequence,
            )
            if remote_workers:
                told.print(
                    f"copy {folder / PLAN_FILE} to the other machines; there: landfall load worker plan.json --master …"
                )
            told.print(f"{users} users, {workers + remote_workers} workers, {seconds:.0f} s …")
            result = await run_load(
                plan, folder, tell=told.print, host=bind, port=port or find_free_port(), remote=remote_workers
            )
        result.write(folder / "load.json")
        if result.passed:
            shutil.rmtree(folder / JOURNALS)
        if ledger and result.passed:
            (folder / PLAN_FILE).unlink()
        if as_json:
            typer.echo((folder / "load.json").read_text())
        else:
            show(result, console)
            console.print(f"{folder / 'load.html'} has Locust's charts, {folder / 'load.json'} all of it for programs.")
        return result.passed

    if not _run(play()):
        raise typer.Exit(FAILED)


@app.command()
def worker(
    plan: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The plan, copied from the master's folder.")
    ],
    master: Annotated[str, typer.Option(help="Where `landfall load run --bind '*'` waits.")],
    port: Annotated[int, typer.Option(help="Its port.")] = 5557,
    processes: Annotated[int, typer.Option(min=1, help="Workers on this machine; about one a core.")] = 1,
) -> None:
    """Lend this machine to a run whose master is elsewhere.

    The plan has private keys of the run's operators: copy it as you copy keys.

    Example: landfall load worker plan.json --master 10.0.0.5 --processes 8
    """

    async def lend() -> bool:
        Plan.read(plan)
        folder = plan.resolve().parent
        if plan.name != PLAN_FILE:
            raise PlanError(f"the file is called {plan.name}: call it {PLAN_FILE}, in a folder of its own")
        async with start_workers(folder, processes, master, port) as started:
            states = await asyncio.gather(*(process.wait() for process in started))
        if any(states):
            told.print(f"workers ended with {states}: see {folder / LOGS}")
        return not any(states)

    if not _run(lend()):
        raise typer.Exit(FAILED)


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="A run's folder, with plan.json and journals/.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the journals of a run against the log once more, as `run` does at its end.

    Needs the ledger, and what a failed run left in its folder: that is for runs with --ledger, whose ledger and plan
    stay. What a run starts itself ends with it.
    """
    plan = Plan.read(folder / PLAN_FILE)
    finding = _run(check_run(plan, folder / JOURNALS, plan.workers))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(finding)))
    for one in finding.unchecked:
        told.print(one, style="yellow", markup=False)
    for fault in finding.faults:
        told.print(f"[bold red]fault[/]: {escape(fault)}")
    if finding.faults:
        raise typer.Exit(FAILED)
    told.print(f"{finding.acknowledged:,} acknowledged transactions are in the log, each once, each proven.")


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (Rejected, Unreachable, Untrusted) as error:
        raise LandfallError(f"{type(error).__name__}: {error}") from None
