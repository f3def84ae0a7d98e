"""The corpus of messages: each one's outcome as a datagram and on a stream, and the response owed."""

from __future__ import annotations

import pytest
from tests.corpus.index import ACCEPTED, CORPUS, DROPPED, INCOMPLETE, Entry

from switchroom.sip.errors import LimitExceeded, RemoteProtocolError
from switchroom.sip.framing import CrlfKeepAlive, StreamFramer
from switchroom.sip.headers import FIELDS, canonical_key
from switchroom.sip.limits import DEFAULT_LIMITS
from switchroom.sip.message import Request, Response, parse, validate

CASES = [pytest.param(entry, id=f"{entry.name} [{entry.section}]") for entry in CORPUS]


def owed(error: RemoteProtocolError) -> str | int:
    """The status to answer with; there is one exactly if there is a request to answer."""
    assert (error.request is None) == (error.status_hint is None)
    return error.status_hint or DROPPED


def judge(data: bytes, entry: Entry) -> tuple[str | int, Request | Response | RemoteProtocolError]:
    """What becomes of a message whose values are all looked at."""
    try:
        message = parse(data)
        validate(message)
    except RemoteProtocolError as error:
        return owed(error), error
    try:
        for name, _ in entry.values:
            message.headers.all(FIELDS[canonical_key(name)])
    except RemoteProtocolError as error:
        return error.status_hint or DROPPED, error
    return ACCEPTED, message


def judge_stream(data: bytes, entry: Entry) -> tuple[str | int, Request | Response | RemoteProtocolError | None]:
    """The same for a message that comes on a stream, byte by byte."""
    framer = StreamFramer()
    for index in range(len(data)):
        framer.feed(data[index : index + 1])
        try:
            item = framer.next()
        except RemoteProtocolError as error:
            return owed(error), error
        if item is not None and not isinstance(item, CrlfKeepAlive):
            return judge(item, entry)
    return INCOMPLETE, None


@pytest.mark.parametrize("entry", CASES)
def test_datagram(entry: Entry) -> None:
    outcome, result = judge(entry.data, entry)
    assert outcome == entry.outcome, result
    if entry.limit is not None and outcome != ACCEPTED:
        assert isinstance(result, LimitExceeded)
        assert result.limit_name == entry.limit
    if isinstance(result, (Request, Response)):
        assert entry.data.lstrip(b"\r\n").startswith(result.encode())
        for name, values in entry.values:
            assert tuple(map(str, result.headers.all(FIELDS[canonical_key(name)]))) == values
        if entry.body is not None:
            assert result.body == entry.body
        if entry.uri is not None:
            assert isinstance(result, Request)
            assert str(result.uri) == entry.uri
        if entry.reason is not None:
            assert isinstance(result, Response)
            assert result.reason == entry.reason


@pytest.mark.parametrize("entry", CASES)
def test_stream(entry: Entry) -> None:
    outcome, result = judge_stream(entry.data, entry)
    assert outcome == (entry.outcome if entry.stream is None else entry.stream), result


@pytest.mark.parametrize("entry", [case for case in CASES if isinstance(case.values[0].outcome, int)])
def test_the_owed_response_is_well_formed(entry: Entry) -> None:
    outcome, error = judge(entry.data, entry)
    assert isinstance(error, RemoteProtocolError)
    assert isinstance(outcome, int)
    if error.request is None:
        request = parse(entry.data)  # it is one value that is malformed, not the message
        assert isinstance(request, Request)
    else:
        request = error.request
    answer = request.create_response(outcome, to_tag="t1")
    response = parse(answer.encode(), limits=DEFAULT_LIMITS._replace(vias=1000))
    assert isinstance(response, Response)
    assert response.status == outcome
    assert response.via == request.via


def test_the_corpus_is_large_and_names_are_unique_by_section() -> None:
    assert len({(entry.name, entry.section) for entry in CORPUS}) == len(CORPUS) > 200
