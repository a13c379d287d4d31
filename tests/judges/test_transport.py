"""What a judge's endpoint may send, and which address it may be: read within bounds, nothing secret kept of it."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from introspection_bench.concepts import Concept
from introspection_bench.errors import JudgeError, StoreError
from introspection_bench.judges.base import Case
from introspection_bench.judges.models import service as _service
from introspection_bench.judges.models.chat import ChatJudge
from introspection_bench.judges.models.claude import ClaudeJudge
from introspection_bench.judges.models.costs import Price
from introspection_bench.judges.models.ledger import Ledger

OCEAN = Concept("ocean", word="ocean")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@contextmanager
def answering(answer):
    """An endpoint that answers every request by a function of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.recv(2**20)
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def a_chat(url, **options):
    defaults = {"max_retries": 0, "timeout_s": 0.3, "price": Price(input=3.0, output=15.0), "max_tokens": 200}
    return ChatJudge(model="m", base_url=f"{url}/v1", **{**defaults, **options})


def a_claude(url, **options):
    defaults = {"max_retries": 0, "timeout_s": 0.3, "poll_s": 0.01, "settle_s": 0.0, "max_tokens": 200}
    return ClaudeJudge(base_url=url, **{**defaults, **options})


JUDGES = {"claude": a_claude, "chat": a_chat}


def judged(judge, reply="AFFIRM 00"):
    ((_, verdict),) = judge.judge([Case(reply, "Do you detect an injected thought?", reply, OCEAN)])
    return verdict


def dripping(connection) -> None:
    connection.sendall(HEAD + b"content-length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.1)


def endless(connection) -> None:
    connection.sendall(HEAD + b"\r\n")
    while True:
        connection.sendall(b"0" * 2**16)


def packed(connection) -> None:
    body = gzip.compress(b"0" * 2**22)
    connection.sendall(HEAD + f"content-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize(
    ("answer", "reason"), [(dripping, "TimeoutError"), (endless, "more than 1,0"), (packed, "more than 1,0")]
)
def test_an_answer_that_drips_never_ends_or_unpacks_to_any_size_is_one_failed_call(
    services, monkeypatch, name, answer, reason
):
    monkeypatch.setattr(_service, "MOST_TEXT", 2**20)
    with answering(answer) as url:
        begun = time.monotonic()
        verdict = judged(JUDGES[name](url))
    assert reason in verdict.unscored
    assert time.monotonic() - begun < 5


def test_an_answer_that_came_too_slowly_is_asked_for_again_one_that_is_too_large_is_not(services, monkeypatch):
    monkeypatch.setattr(_service, "MOST_TEXT", 2**20)
    for answer, tries in ((dripping, 2), (packed, 1)):
        with answering(answer) as url:
            judge = a_chat(url, max_retries=1)
            judged(judge)
        assert judge.spent.calls == tries


@pytest.mark.parametrize(
    "address",
    ["{}/v1?api_key=hidden", "{}/v1#hidden", "{}/v1\\@hidden", "http://a b/v1", "http://" + "a" * 70 + "/v1"],
)
def test_an_address_that_would_be_sent_in_another_form_is_refused_at_opening_and_not_shown(services, address):
    for judge in (lambda url: ChatJudge(model="m", base_url=url), lambda url: ClaudeJudge(base_url=url)):
        with pytest.raises(JudgeError, match="base_url: required an address") as caught:
            judge(address.format(services.url))
        assert "api_key" not in str(caught.value)


@pytest.mark.parametrize("address", [" {}/v1\n", "{}/v1/", "{}/v1/../v1"])
def test_an_address_with_white_space_around_it_or_a_slash_after_it_is_the_same_address(services, address):
    judge = ChatJudge(model="m", base_url=address.format(services.url))
    assert judged(judge).answer("affirmative") is True


@pytest.mark.parametrize("host", ["b\u00fccher.invalid", "[::1]"])
def test_an_address_that_the_client_writes_in_another_form_is_not_taken_for_a_foreign_one(services, host):
    verdict = judged(ChatJudge(model="m", base_url=f"http://{host}:9/v1", max_retries=0))
    assert "ConnectError" in verdict.unscored


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("status", ["400", "401", "500"])
def test_what_a_gateway_is_sent_in_headers_of_its_own_is_kept_out_of_every_text(services, monkeypatch, name, status):
    for variable in ("ANTHROPIC_CUSTOM_HEADERS", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.setenv(variable, "X-Short: 1\nX-Gateway: gateway-token-123")
    services.fault("AFFIRM", status)
    judge = JUDGES[name](services.url)
    try:
        told = judged(judge).unscored
    except JudgeError as error:
        told = str(error)
    assert services.headers[0]["x-gateway"] == "gateway-token-123"
    assert "gateway-token" not in told
    assert status in told


def test_a_key_that_a_service_puts_into_its_results_is_not_in_the_warning_about_them(services):
    key = os.environ["ANTHROPIC_API_KEY"]
    line = f'{{"custom_id": "{key}", "result": {{"type": "expired"}}}}\n'
    services.rewrite_results = lambda lines: [line, *lines]
    with pytest.warns(UserWarning, match="1 for requests that were not in it") as caught:
        assert judged(a_claude(services.url, batch=True, timeout_s=5.0)).answer("affirmative") is True
    assert not any("secret" in str(w.message) for w in caught)


def test_no_part_of_a_proxy_s_password_is_in_an_error(services, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://user:hid/den@127.0.0.1:9")
    with pytest.raises(JudgeError, match="HTTP_PROXY") as caught:
        a_chat(services.url)
    assert "hid" not in str(caught.value)


def test_a_batch_is_found_again_where_the_clock_here_is_hours_ahead_of_the_service_s(services, monkeypatch):
    services.endpoint_faults["create"].append("created:cut")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 5 * 3600)
    assert judged(a_claude(services.url, batch=True, timeout_s=5.0)).answer("affirmative") is True
    assert services.batches_made == 1


@pytest.mark.parametrize("cost", [-1000.0, "free", b"", -1e-9, 1e300])
@pytest.mark.parametrize("column", ["cost", "reserved"])
def test_a_limit_does_not_hold_by_a_ledger_with_amounts_that_no_call_costs(services, tmp_path, cost, column):
    ledger = Ledger(tmp_path / "store.sqlite")
    ledger.settle("entry", "m", 1.0)
    with ledger._writing() as connection:
        connection.execute(f"UPDATE judge_costs SET {column} = ?", (cost,))
    judge = a_chat(services.url, ledger=ledger, max_cost_usd=1.0)
    with pytest.raises(StoreError, match="ledger: required costs in US dollars, >= 0; got 1 entries"):
        judged(judge)
    assert not services.bodies
