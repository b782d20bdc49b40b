"""An operator's node as its subscribers and its staff use it: purchases at the storefront, jobs for cards over the air.

A purchase is durable for the subscriber when the node shows the item as requested: its signed request is in the log,
under a checkpoint the node has verified. An OTA job is done when the card's proof of receipt is in.
"""

import random
import time
from typing import Any, Final
from uuid import UUID

import httpx

from loadtests.load.node import ENDED, call, has_ended, is_ordered, open_node, wait_for
from loadtests.load.plan import HomeNode, Role
from loadtests.load.session import DURABLE, HTTP, Turn
from loadtests.load.user import LandfallUser

JOB_COMMANDS: Final = [{"do": "list-slots"}]


class NodeUser(LandfallUser):
    """Somebody who uses the plan's node, over HTTP."""

    abstract = True
    _http: httpx.AsyncClient | None = None

    @property
    def node(self) -> HomeNode:
        """The plan's node."""
        assert self.session.plan.node is not None, "a plan with such users has a node"
        return self.session.plan.node

    @property
    def http(self) -> httpx.AsyncClient:
        """One pool of connections for the node's users on a worker."""
        if NodeUser._http is None:
            NodeUser._http = open_node(self.node)
            self.session.http.append(NodeUser._http)
        return NodeUser._http

    async def call(self, turn: Turn, name: str, method: str, path: str, body: Any = None) -> Any:
        """One call, as JSON. Raises NodeError."""
        begun = time.perf_counter()
        answer = await call(self.http, method, path, body)
        turn.add(HTTP, name, begun)
        return answer


class Subscriber(NodeUser):
    """A subscriber at the storefront: looks, buys, waits until it is ordered."""

    role = Role.SUBSCRIBER
    pause_s = 0.5

    async def turn(self, turn: Turn) -> None:
        """Look at what is on sale, buy one package, wait for its request."""
        await self.call(turn, "storefront: packages", "GET", "/packages")
        begun = time.perf_counter()
        body = {
            "subscriber": str(random.choice(self.node.subscribers)),
            "package": str(random.choice(self.node.packages)),
        }
        purchase = UUID((await self.call(turn, "storefront: purchase", "POST", "/purchases", body))["id"])
        self.session.journal.bought(self.node.operator, purchase)
        seen = await wait_for(self.http, f"/purchases/{purchase}", is_ordered)
        failure = f"{seen['state']}: {seen['items'][0]['cause']}" if seen["state"] in ENDED else None
        failure = failure if is_ordered(seen) else "not ordered in time"
        turn.add(DURABLE, "storefront purchase", begun, failure=failure)


class OtaRequester(NodeUser):
    """Staff, or a program of theirs, that sends commands to cards."""

    role = Role.OTA
    pause_s = 0.2

    async def turn(self, turn: Turn) -> None:
        """One job for one card, until its proof is in."""
        begun = time.perf_counter()
        body = {"iccid": random.choice(self.node.cards), "commands": JOB_COMMANDS}
        job = (await self.call(turn, "ota: job", "POST", "/ota/jobs", body))["id"]
        self.session.journal.ordered(self.node.operator, job)
        seen = await wait_for(self.http, f"/ota/jobs/{job}", has_ended)
        failure = None if seen["state"] == "proven" else f"{seen['state']}: {seen['words']}"
        turn.add(DURABLE, "ota job, proof received", begun, failure=failure)
