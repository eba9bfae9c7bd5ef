"""The console: a web page on which operators see why a user is answered as they are, and say otherwise where they must.

    process.py        starts its process beside those that serve, and starts it anew where it ends
    inside.py         where it asks the serving process
    door.py           the serving process's side of that
    main.py           the process itself: uvicorn, TLS, watching of tokens and certificates
    app.py            routes, and what every reply carries
    guard.py          log-in, sessions, forged posts: who may come in
    sessions.py       who is logged in
    calls.py          the page's calls, one to one those of the contract
    comparing.py      another bundle, in a process of its own, asked the same
    live.py           what the metrics' numbers were, second by second
    static/, *.html   the page

It decides nothing and stores nothing. What it may show and do is what the token may call over gRPC, checked there.
"""
