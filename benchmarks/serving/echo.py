"""How near a remembered decision comes to what gRPC for Python can do at all.

One message over and over, asked by h2load: our server, which answers out of its decision cache, and a bare echo with
the same library and event loop, in turn; each server on one core, the client on the other.

usage: python -m benchmarks.serving.echo BUNDLE LOG
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from benchmarks.quality.tables import keep, percent, show
from benchmarks.serving.servers import bundle_and_log, echoing, h2load, pin_client, serving
from rewrite_service.converters import from_request
from rewrite_service.loadtest import read_requests

ROUNDS = 5


def main() -> None:
    asked = bundle_and_log(__doc__)
    pin_client()
    request = replace(read_requests(asked.log)[-1], timestamp_ms=int(time.time() * 1000))
    message = from_request(request).SerializeToString()
    rates: dict[str, list[float]] = {"remembered decision": [], "with log lines at info": [], "bare echo": []}
    with (
        serving(asked.bundle, port=50120, log_level="warning") as (quiet, _),
        serving(asked.bundle, port=50130) as (logging, _),
        echoing() as echo,
    ):
        for _ in range(ROUNDS):
            for name, address in zip(rates, (quiet, logging, echo), strict=True):
                rates[name].append(h2load(address, message))
    shares = {
        name: statistics.median(a / b for a, b in zip(rate, rates["bare echo"], strict=True))
        for name, rate in rates.items()
    }
    rows = [(name, round(statistics.median(rate)), percent(shares[name])) for name, rate in rates.items()]
    show("one message over and over", ("", "a second", "of the echo's (median of pairs)"), rows)
    keep("echo", {"rates": rates, "median_share": {name: round(share, 3) for name, share in shares.items()}})


if __name__ == "__main__":
    main()
