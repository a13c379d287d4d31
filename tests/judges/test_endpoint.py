"""What stands between a judge and its service: waits, redirects, proxies, parameters, keys."""

from __future__ import annotations

import email.utils
import os
import subprocess
import sys
import time
import traceback
import warnings
from types import SimpleNamespace

import pytest
from batch_judging import REPLIES
from judging_services import FakeServices

from introspection_bench.concepts import Concept
from introspection_bench.errors import IntrospectionBenchWarning, JudgeError
from introspection_bench.judges.base import Case
from introspection_bench.judges.models.chat import ChatJudge
from introspection_bench.judges.models.claude import ClaudeJudge
from introspection_bench.judges.models.ledger import Ledger
from introspection_bench.judges.models.service import asked_wait_s

OCEAN = Concept("ocean", word="ocean")
KEYS = ("sk-ant-secret-0123456789", "sk-secret-9876543210")


def a_claude(services, **options) -> ClaudeJudge:
    defaults = {"max_retries": 1, "timeout_s": 1.0, "poll_s": 0.01, "settle_s": 0.0}
    return ClaudeJudge(base_url=services.url, **{**defaults, **options})


def a_batch(services, **options) -> ClaudeJudge:
    return a_claude(services, batch=True, **options)


def a_chat(services, **options) -> ChatJudge:
    defaults = {"base_url": f"{services.url}/v1", "max_retries": 1, "timeout_s": 1.0}
    return ChatJudge(**{"model": "m", **defaults, **options})


JUDGES = {"claude": a_claude, "chat": a_chat}


def judged(judge, replies) -> list:
    found = dict(judge.judge([Case(r, "Do you detect an injected thought?", r, OCEAN) for r in replies]))
    return [found[i] for i in range(len(replies))]


@pytest.fixture
def other():
    """Another host, as far as an address tells."""
    server = FakeServices()
    yield server
    server.close()


# -- waits


def in_a_day() -> str:
    return email.utils.formatdate(time.time() + 86_400, usegmt=True)


@pytest.mark.parametrize("name", [*JUDGES, "batch"])
@pytest.mark.parametrize("wish", ["100000", "1e300", in_a_day()], ids=["seconds", "huge", "date"])
def test_a_wait_that_the_service_asks_for_is_bounded_and_shown(services, name, wish):
    fault = f"wait:429:{wish}"
    if name == "batch":
        services.endpoint_faults["create"].append(fault)
        services.endpoint_faults["retrieve"].append(fault)
        services.endpoint_faults["results"].append(fault)
    else:
        services.fault("SHAKY", fault)
    judge = {**JUDGES, "batch": a_batch}[name](services, max_wait_s=0.05)
    started = time.monotonic()
    with pytest.warns(
        IntrospectionBenchWarning, match=r"HTTP 429: waiting .* try 2 of 2; the service asks for .*0\.05"
    ):
        (verdict,) = judged(judge, ["SHAKY AFFIRM"])
    assert verdict.unscored is None
    assert time.monotonic() - started < 20


WISHES = {
    "3": 3.0,
    "0": 0.0,
    "2.5": 2.5,
    "-5": None,
    "nan": None,
    "inf": None,
    "soon": None,
    "": None,
    "Wed, 21 Oct 2015 07:28:00 GMT": None,
    "Wed, 99 Foo 2015": None,
    "1" * 400: None,
}


class FakeError(Exception):
    """A client's exception, as far as its response's headers go."""

    def __init__(self, header: str) -> None:
        self.response = SimpleNamespace(headers={"retry-after": header})


@pytest.mark.parametrize(("header", "seconds"), WISHES.items())
def test_a_wish_to_wait_is_seconds_or_a_date_to_come_and_anything_else_is_none(header, seconds):
    assert asked_wait_s(FakeError(header)) == seconds


def test_a_date_to_wait_for_is_taken_in_seconds_from_now():
    assert 40 < asked_wait_s(FakeError(email.utils.formatdate(time.time() + 50, usegmt=True))) <= 50


def test_the_standard_longest_wait_is_two_minutes(services):
    assert a_claude(services)._tries.max_wait_s == a_chat(services)._tries.max_wait_s == 120


@pytest.mark.parametrize("name", JUDGES)
def test_a_call_is_never_repeated_behind_the_ledger_s_back(services, name):
    services.fault("SHAKY", *["slow"] * 9)
    judge = JUDGES[name](services, timeout_s=0.2, max_retries=2, max_wait_s=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntrospectionBenchWarning)
        judged(judge, ["SHAKY AFFIRM"])
    assert len(services.bodies) == judge.spent.calls == 3


def test_a_caller_that_stops_does_not_wait_for_the_calls_that_wait(services):
    services.fault("SHAKY", *["wait:429:60"] * 9)
    running = a_claude(services, concurrency=2).judge(
        [Case(r, "q", r, OCEAN) for r in ["AFFIRM", "SHAKY 1", "SHAKY 2"]]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntrospectionBenchWarning)
        next(running)
        started = time.monotonic()
        running.close()
    assert time.monotonic() - started < 30


# -- redirects


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_neither_key_nor_prompt_goes_there(services, other, name, status):
    services.fault("SHAKY", f"redirect:{status}:{other.url}")
    with pytest.raises(JudgeError, match=rf"HTTP {status}: redirects are not followed; this one leads to {other.url}"):
        judged(JUDGES[name](services), ["SHAKY AFFIRM"])
    found = judged(JUDGES[name](services), ["AFFIRM", "SHAKY AFFIRM"])
    assert found[0].answer("affirmative") is True
    services.fault("SHAKY", f"redirect:{status}:{other.url}")
    found = judged(JUDGES[name](services), ["AFFIRM", "SHAKY AFFIRM"])
    assert "redirects are not followed" in found[1].unscored
    assert other.headers == other.bodies == []


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1:{port}", "http://localhost:{port}", "//127.0.0.1:9", "/elsewhere"]
)
def test_a_redirect_by_scheme_host_port_or_path_alone_is_refused_too(services, target):
    services.fault("SHAKY", f"redirect:307:{target.format(port=services.port)}")
    with pytest.raises(JudgeError, match="redirects are not followed"):
        judged(a_chat(services), ["SHAKY AFFIRM"])
    assert len(services.bodies) == 1


@pytest.mark.parametrize("endpoint", ["create", "list", "retrieve", "results"])
def test_a_batch_s_requests_follow_no_redirect(services, other, endpoint):
    services.endpoint_faults[endpoint].extend([f"redirect:307:{other.url}"] * 20)
    if endpoint == "list":
        services.endpoint_faults["create"].append("created:cut")
    try:
        problems = [v.unscored for v in judged(a_batch(services), REPLIES[:1])]
    except JudgeError as error:
        problems = [str(error)]
    assert problems[0] is not None
    assert other.headers == []
    assert all("x-forwarded" not in headers for headers in other.headers)


# -- addresses, proxies, certificates


@pytest.mark.parametrize("name", ["claude", "chat"])
@pytest.mark.parametrize(
    "address",
    ["localhost:8000", "ftp://host/v1", "http://", "not an address", "http://u:hidden-word@host/v1", "http://h:99999"],
)
@pytest.mark.usefixtures("services")
def test_an_address_that_is_none_is_an_error_that_shows_no_password(name, address):
    with pytest.raises(JudgeError, match="base_url") as caught:
        ClaudeJudge(base_url=address) if name == "claude" else ChatJudge(model="m", base_url=address)
    assert "hidden-word" not in everything_of(caught.value)


PROXIES = {
    "ALL_PROXY": "socks5://user:hidden-word@127.0.0.1:9",
    "HTTPS_PROXY": "ftp://user:hidden-word@127.0.0.1:9",
    "HTTP_PROXY": "http://user:hidden-word@:::",
}


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize(("variable", "value"), PROXIES.items())
def test_proxy_settings_that_can_not_be_used_are_an_error_that_names_them(services, monkeypatch, name, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(JudgeError, match=variable) as caught:
        JUDGES[name](services)
    assert "hidden-word" not in everything_of(caught.value)
    if "socks" in value:
        assert "pip install socksio" in str(caught.value)


@pytest.mark.parametrize("name", JUDGES)
def test_a_certificate_file_that_is_missing_is_an_error(services, monkeypatch, name):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
    with pytest.raises(JudgeError, match="SSL_CERT_FILE"):
        JUDGES[name](services)


# -- parameters


def test_an_endpoint_that_refuses_max_tokens_and_temperature_is_usable_and_says_how(services):
    services.refused = {"max_tokens"}
    with pytest.raises(JudgeError, match="limit_parameter = 'max_completion_tokens'"):
        judged(a_chat(services), ["AFFIRM", "NAME"])
    assert len(services.bodies) == 1
    services.refused = {"max_tokens", "temperature"}
    with pytest.raises(JudgeError, match="temperature = 'none'"):
        judged(a_chat(services, limit_parameter="max_completion_tokens"), ["AFFIRM"])
    judge = a_chat(services, limit_parameter="max_completion_tokens", temperature=None)
    assert judged(judge, ["AFFIRM"])[0].answer("affirmative") is True
    assert services.bodies[-1]["max_completion_tokens"] == 2048


def test_an_endpoint_that_knows_no_schema_is_usable_and_says_how(services):
    services.refused = {"response_format"}
    with pytest.raises(JudgeError, match="answer_format = 'json_object' or 'text'"):
        judged(a_chat(services), ["AFFIRM"])
    assert judged(a_chat(services, answer_format="text"), ["AFFIRM"])[0].answer("affirmative") is True
    services.refused = set()
    judged(a_chat(services, answer_format="json_object"), ["AFFIRM"])
    assert services.bodies[-1]["response_format"] == {"type": "json_object"}


def test_a_request_that_is_refused_for_what_it_holds_is_one_unscored_verdict(services):
    services.fault("LONG", "400")
    found = judged(a_chat(services), ["LONG", "AFFIRM"])
    assert found[0].unscored.startswith("HTTP 400")
    assert found[1].answer("affirmative") is True


# -- keys


def everything_of(error: BaseException) -> str:
    """All that an error shows, its causes and contexts and what they hold included."""
    seen, todo = [], [error]
    while todo:
        one = todo.pop()
        seen.append(repr(one) + str(one) + repr(one.args) + repr(vars(one)) + "".join(traceback.format_exception(one)))
        request = getattr(one, "request", None)
        seen.append("" if request is None else repr(dict(request.headers)))
        todo += [e for e in (one.__cause__, one.__context__) if e is not None]
    return "".join(seen)


@pytest.mark.parametrize("name", [*JUDGES, "batch"])
@pytest.mark.parametrize("fault", ["401", "403", "redirect:307:http://127.0.0.1:9"])
def test_no_error_holds_the_key_nor_does_anything_behind_it(services, name, fault):
    services.fault("SHAKY", fault)
    services.endpoint_faults["create"].append(fault)
    judge = {**JUDGES, "batch": a_batch}[name](services)
    with pytest.raises(JudgeError) as caught:
        judged(judge, ["SHAKY AFFIRM"])
    shown = everything_of(caught.value) + repr(judge) + repr(judge._batches if name == "batch" else judge._purse)
    assert not any(key in shown for key in KEYS)


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"])
@pytest.mark.parametrize("damage", ["{}\n{}", "{} {}", "{}\u2026{}", "{}\0{}"])
def test_a_key_that_can_not_be_sent_is_an_error_that_does_not_show_it(services, monkeypatch, name, damage):
    if "\0" in damage:
        monkeypatch.setattr(os, "environ", {**os.environ, name: damage.format("sk-hidden", "word")})
    else:
        monkeypatch.setenv(name, damage.format("sk-hidden", "word"))
    with pytest.raises(JudgeError, match=name) as caught:
        a_claude(services) if name.startswith("ANTHROPIC") else a_chat(services)
    assert "hidden" not in everything_of(caught.value)


@pytest.mark.parametrize(("name", "key"), [("claude", KEYS[0]), ("batch", KEYS[0]), ("chat", KEYS[1])])
def test_a_faulty_run_writes_no_key_anywhere(services, tmp_path, name, key):
    faults = ["500", "429", "400", "cut", "not-json", "half-json", "empty-object", "padded:200", f"says:{key}"]
    for number, fault in enumerate(faults):
        services.fault(f"F{number:02d}X", *[fault] * 9)
    services.endpoint_faults["retrieve"].extend(["500", "404", "cut"])
    judge = {**JUDGES, "batch": a_batch}[name](services, ledger=Ledger(tmp_path / "run.sqlite"), max_wait_s=0.01)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = judged(judge, ["AFFIRM", *(f"F{n:02d}X" for n in range(len(faults)))])
    shown = [*map(repr, found), *(str(w.message) for w in told)]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert key in str(services.headers)
    assert any("[key]" in text for text in shown)
    assert not any(key[3:] in text for text in shown)


def test_the_judges_import_no_client_until_they_are_opened():
    code = (
        "import introspection_bench.judges.panel, sys; print([m for m in ('openai', 'anthropic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
