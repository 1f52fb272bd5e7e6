"""Requests of every API and version that end too early, too late, or carry what the reader does not know."""

from __future__ import annotations

from tests.wire.client import Closed, Connection, framed, request_bytes
from tests.wire.differential import CASES, CLOSED, Case, Talk
from tests.wire.requests import EVERY_VERSION, REQUESTS, SERVED

UNKNOWN_TAG = b"\x01\xc8\x01\x03abc"  # one tagged field: number 200, three bytes


def bend(api: str, flexible: bool) -> Case:
    """The conversation for one API."""

    def malformed(talk: Talk, version: int) -> None:
        """Every cut closes or is answered as Kafka does; bytes behind the body and unknown tags change nothing."""
        if api == "init_producer_id":
            talk.wait_for_producer_ids()
        whole = request_bytes(api, version, 1, "cut", REQUESTS[api])
        outcomes = []
        connection: Connection | None = None
        for size in range(8, len(whole)):
            connection = connection or Connection(talk.broker.host, talk.broker.port)
            connection.send(framed(whole[:size]))
            try:
                connection.receive()
                outcomes.append("answered")
            except Closed:
                connection.socket.close()
                connection = None
                outcomes.append(CLOSED)
        if connection is not None:
            connection.socket.close()
        talk.note("cut behind each byte", outcomes)
        talk.ask_raw("whole", whole, api, version)
        talk.ask_raw("a byte too many", whole + b"\0", api, version)
        talk.ask_raw("many bytes too many", whole + b"\xff" * 20, api, version)
        if flexible:
            talk.ask_raw("an unknown tag", whole[:-1] + UNKNOWN_TAG, api, version)
        if api == "list_groups":  # those of all tests that ran before
            for _, answer in talk.transcript:
                if isinstance(answer, dict):
                    answer["groups"] = "any"

    return malformed


for each_api, each_version in EVERY_VERSION:
    is_flexible = each_version >= SERVED[each_api][2]
    CASES[f"malformed-{each_api}-v{each_version}"] = (bend(each_api, is_flexible), each_version)
