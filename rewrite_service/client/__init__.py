"""The client of the query-rewrite service: a deadline for each request, and the query itself whatever goes wrong.

    from rewrite_service.client import Client, Outcome

    with Client("127.0.0.1:50051") as client:
        answer = client.rewrite("play ago", "cleo")
        ...                                     # ask the assistant for answer.text
        client.record(answer.turn(Outcome.OK))  # what came of it, so that the service learns

Needs grpcio and protobuf alone. How to use it: docs/client.md.
"""

from retriever.interaction import (
    Channel,
    Context,
    Explicit,
    Feedback,
    Interaction,
    Interpretation,
    Outcome,
    Request,
    TurnFeedback,
)
from retriever.preference import Preference
from rewrite_service.client.aio import AsyncClient
from rewrite_service.client.options import USER_KEY, ClientOptions, user_key
from rewrite_service.client.recorder import Recorder, RecorderFigures
from rewrite_service.client.sync import Client
from rewrite_service.client.values import Answer, ClientError, ForgottenUser, Item, Suggestion, Taught

__all__ = [
    "USER_KEY",
    "Answer",
    "AsyncClient",
    "Channel",
    "Client",
    "ClientError",
    "ClientOptions",
    "Context",
    "Explicit",
    "Feedback",
    "ForgottenUser",
    "Interaction",
    "Interpretation",
    "Item",
    "Outcome",
    "Preference",
    "Recorder",
    "RecorderFigures",
    "Request",
    "Suggestion",
    "Taught",
    "TurnFeedback",
    "user_key",
]
