"""No two tenants can name the same user, whatever ids they think of."""

from __future__ import annotations

import time

import orjson
import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from mining.schema import SchemaError, parse_interaction
from rewrite_service.access.tenants import MAX_TENANT_CHARS, SEPARATOR, enter_tenant, inner_id, outer_id
from rewrite_service.converters import MAX_ID_CHARS, to_record, to_request
from rewrite_service.errors import InvalidRequest
from rewrite_service.pb import rewrite_pb2 as pb

TENANTS = st.sampled_from(["", "a", "acme", "acme.b", "b"])
PARTS = [SEPARATOR, "a", "b", "acme", ".", "x"]
IDS = st.lists(st.sampled_from(PARTS), max_size=8).map("".join) | st.text(max_size=20)


@given(TENANTS, IDS, TENANTS, IDS)
def test_only_the_same_tenant_and_id_are_the_same_person(t1: str, id1: str, t2: str, id2: str) -> None:
    assert (inner_id(t1, id1) == inner_id(t2, id2)) == ((t1, id1) == (t2, id2))
    assert outer_id(inner_id(t1, id1)) == (t1, id1)


def test_the_default_tenant_has_the_ids_of_the_log() -> None:
    assert inner_id("", "bob") == "bob"


@pytest.mark.parametrize("attempt", ["\x1facme\x1fbob", "\x1f\x1fbob", "acme\x1fbob", "acme/bob", "\x1facme", "acme"])
@pytest.mark.parametrize("mine", ["", "beta"])
def test_nobody_can_write_the_id_of_anothers_user(attempt: str, mine: str) -> None:
    assert inner_id(mine, attempt) != inner_id("acme", "bob")
    assert inner_id(mine, attempt) != inner_id("acme", "")


def test_every_user_of_a_message_is_moved() -> None:
    message = pb.RecordRequest(
        interactions=[pb.Interaction(user_id="a"), pb.Interaction(user_id="b")],
        feedback=[pb.FeedbackEvent(user_id="c", interaction_id="d")],
    )
    enter_tenant(message, "acme")
    users = [part.user_id for part in (*message.interactions, *message.feedback)]
    assert [outer_id(user) for user in users] == [("acme", "a"), ("acme", "b"), ("acme", "c")]
    assert message.feedback[0].interaction_id == "d"
    nested = pb.ExplainRequest(request=pb.RewriteRequest(user_id="a"))
    enter_tenant(nested, "acme")
    assert outer_id(nested.request.user_id) == ("acme", "a")
    empty = pb.ExplainRequest()
    enter_tenant(empty, "acme")
    assert not empty.HasField("request")


def test_a_list_that_is_too_long_is_refused_before_it_is_gone_through() -> None:
    """A message of 1 MiB can hold half a million empty turns."""
    message = pb.RecordRequest.FromString(b"\x0a\x00" * 500_000)
    took = []
    for _ in range(5):
        begun = time.monotonic()
        with pytest.raises(InvalidRequest, match="interactions: 500000 entries"):
            enter_tenant(message, "acme")
        took.append(time.monotonic() - begun)
    assert min(took) < 0.1
    assert not message.interactions[0].user_id


def test_wherever_the_contract_names_a_user_the_field_is_called_user_id() -> None:
    """So that none is passed over."""

    def names(kind: Descriptor, seen: set[str]) -> set[str]:
        if kind.full_name in seen:
            return set()
        seen.add(kind.full_name)
        found = {field.name for field in kind.fields}
        for field in kind.fields:
            if field.message_type is not None:
                found |= names(field.message_type, seen)
        return found

    for method in pb.DESCRIPTOR.services_by_name["RewriteService"].methods:
        asked = names(method.input_type, set())
        assert {name for name in asked if "user" in name} <= {"user_id"}, method.name
        assert "user_id" in asked, method.name
        assert not any("user" in name for name in names(method.output_type, set())), (
            f"{method.name}: a reply that names a user must name it as its caller does"
        )


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_the_bounds_are_on_the_id_as_its_caller_says_it(tenant: str) -> None:
    def asked(user_id: str) -> pb.RewriteRequest:
        message = pb.RewriteRequest(interaction_id="i", user_id=user_id, timestamp_ms=1)
        enter_tenant(message, tenant)
        return message

    longest = "x" * MAX_ID_CHARS
    assert outer_id(to_request(asked(longest)).user_id) == (tenant, longest)
    for bad in ("", " ", longest + "x", SEPARATOR + "x" * MAX_ID_CHARS, SEPARATOR + longest + SEPARATOR + "x"):
        with pytest.raises(InvalidRequest, match="user_id") as raised:
            to_request(asked(bad))
        assert "acme" not in str(raised.value)
    late = pb.RecordRequest(feedback=[pb.FeedbackEvent(user_id="", interaction_id="i", feedback=pb.Feedback())])
    enter_tenant(late, tenant)
    with pytest.raises(InvalidRequest, match="user_id"):
        to_record(late)


def test_a_log_may_name_users_of_any_tenant() -> None:
    longest = inner_id("t" * MAX_TENANT_CHARS, "x" * MAX_ID_CHARS)
    record = {"interaction_id": "i", "user_id": longest, "timestamp_ms": 1, "query": "play", "outcome": "ok"}
    assert parse_interaction(orjson.loads(orjson.dumps(record))).request.user_id == longest
    with pytest.raises(SchemaError, match="user_id"):
        parse_interaction(record | {"user_id": longest + "x"})


def test_other_ids_are_not_spared_their_bounds() -> None:
    long = SEPARATOR + "x" * 1000 + SEPARATOR + "x"
    with pytest.raises(InvalidRequest, match="interaction_id"):
        to_request(pb.RewriteRequest(interaction_id=long, user_id="a", timestamp_ms=1))
