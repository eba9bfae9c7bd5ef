"""What the service tells of itself to Prometheus: rates, latencies, caches, state. Never a text or an id.

    cells.py      the numbers: counters, gauges, histograms in memory that the processes of one server share
    catalogue.py  every metric there is, with its labels and all the values that these may have
    calls.py      what is counted of a call, in one place
    sampling.py   gauges and totals that are looked at once a second
    endpoint.py   the numbers as Prometheus reads them, over HTTP

To add a metric: name it in catalogue.py with its labels and their values, and call `inc`, `set` or `observe` on it
where the thing happens (`from rewrite_service.metrics.catalogue import STORE_ERRORS; STORE_ERRORS.inc("read")`), from
any thread. What is not an event but a state (an open breaker, bytes held) is set by a function that is looked at each
second: give it to `Sampler`, as server.py does. It then is in the scrape, sums over workers included. Give it a panel
or an alert in deploy/, where it has something to tell.
"""
