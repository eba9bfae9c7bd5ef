"""How near a remembered decision comes to what gRPC for Python can do at all.

One message over and over, asked by h2load: our server, which answers out of its decision cache, and a bare echo with
the same library and event loop, in turn; each server on one core, the client on the other.

usage: python -m benchmarks.serving.echo BUNDLE LOG
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from benchmarks.quality.tables import Figures, keep, percent, show
from benchmarks.serving.servers import METHOD, bundle_and_log, echoing, h2load, pin_client, serving
from retriever.interaction import Request
from rewrite_service.client.messages import from_request
from rewrite_service.loadtest import read_requests
from rewrite_service.pb import rewrite_pb2 as pb

ROUNDS = 5
TRIES = 30


def measure(bundle: Path, request: Request) -> dict[str, Any]:
    """Rates by server, and the median over the rounds of what share of the echo's rate each reached."""
    # Under a name of its own: what is told of a turn that is known already is not remembered.
    request = replace(request, interaction_id="echo", timestamp_ms=int(time.time() * 1000))
    message = from_request(request).SerializeToString()
    rates: dict[str, list[float]] = {"remembered decision": [], "with log lines at info": [], "bare echo": []}
    with (
        serving(bundle, log_level="warning") as (quiet, _),
        serving(bundle) as (logging, _),
        echoing() as (echo, _),
    ):
        for address in (quiet, logging):
            _have_it_remembered(address, message)
        for _ in range(ROUNDS):
            for name, address in zip(rates, (quiet, logging, echo), strict=True):
                rates[name].append(h2load(address, message))
    shares = {
        name: statistics.median(a / b for a, b in zip(rate, rates["bare echo"], strict=True))
        for name, rate in rates.items()
    }
    return {"rates": rates, "median_share": {name: round(share, 3) for name, share in shares.items()}}


def _have_it_remembered(address: str, message: bytes) -> None:
    """Asks until the decision is remembered, which nothing is that was decided without the user's layer, as the very
    first may be. Else something else would be measured, and nobody would see it."""
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(METHOD, response_deserializer=pb.RewriteResponse.FromString)
        for _ in range(TRIES):
            if "remembered" in ask(message).stage_us:
                return
            time.sleep(0.1)
    raise SystemExit(f"{address} does not remember what it decides")


def figures(measured: Mapping[str, Any]) -> Figures:
    rates, shares = measured["rates"], measured["median_share"]
    rows = [(name, round(statistics.median(rate)), percent(shares[name])) for name, rate in rates.items()]
    return "one message over and over", ("", "answers a second", "of the echo's (median of pairs)"), rows


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    measured = measure(asked.bundle, read_requests(asked.log)[-1])
    show(*figures(measured))
    keep("echo", measured)


if __name__ == "__main__":
    main()
