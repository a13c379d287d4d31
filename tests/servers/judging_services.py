"""Local stand-ins for the two services that judge models: the Messages API with batches, and chat completions.

They speak HTTP on the loopback as documented, to the real clients, and misbehave by script. The judge model in them is
a lookup: the reply under judgement says in capitals what it is ("AFFIRM", "NAME", ...), so that a test knows what
every verdict must be, and that none was invented.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


#: What is asked by strict4, for an endpoint that was not told the schema.
STRICT4 = {
    "properties": {
        q: {"enum": ["yes", "no", "n/a"]} for q in ("affirmative", "identifies", "immediate", "coherent", "refused")
    }
}


def shown_case(user: str) -> dict[str, Any]:
    """The case as the judge model sees it, read strictly: from between the two marks."""
    lines = user.split("\n")
    word, mark = lines[0].split(" ")
    assert word == "BEGIN"
    assert user.count(mark) == 2
    assert lines[2] == f"END {mark}"
    return json.loads(lines[1])


def grade(case: dict[str, Any], schema: dict[str, Any]) -> str:
    """The judge model's answer: what the capitals in the reply say."""
    said = case["reply"]
    affirm, name = "AFFIRM" in said, "NAME" in said
    truth = {
        "affirmative": affirm,
        "identifies": name,
        "coherent": "GARBLED" not in said,
        "refused": "REFUSE" in said,
        "success": affirm and name and "LATE" not in said,
    }
    answer = {"reason": "by its capitals"}
    for question, rule in schema["properties"].items():
        if question == "immediate":
            answer[question] = "n/a" if not name else "yes" if affirm and "LATE" not in said else "no"
        elif question != "reason":
            answer[question] = "yes" if truth[question] else "no"
        assert question == "reason" or answer[question] in rule["enum"]
    return json.dumps(answer)


class FakeServices:
    """The server, in a thread of its own.

    Faults by reply: the plan maps a word of the reply to what happens, in order, to the requests that show it; after
    that they are answered well. Faults by endpoint: ``create``, ``list``, ``retrieve``, ``results`` each hold a queue
    of names. All messages but the first wait until ``together`` of them were under way at once. ``on_event`` is called
    with each event's name before its effect and may do anything, kill a process, say.
    """

    def __init__(self) -> None:
        self.plan: dict[str, deque[str]] = {}
        self.endpoint_faults: dict[str, deque[str]] = {n: deque() for n in ("create", "list", "retrieve", "results")}
        self.on_event: Callable[[str], None] = lambda event: None
        self.polls_until_ended = 1
        self.grade: Callable[[dict[str, Any], dict[str, Any]], str] = grade
        self.batches: dict[str, dict[str, Any]] = {}
        self.batches_made = 0
        self.billed: Counter[str] = Counter()
        self.replies_asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.together = 1
        self._gathered = asyncio.Event()
        self.tokens = (1000, 100)
        #: The usage that every answer reports, instead of a right one.
        self.usage: Any = ...
        #: Where the service says that results are, if not here.
        self.results_host = ""
        #: Parameters that the chat endpoint refuses, in OpenAI's words.
        self.refused: set[str] = set()
        self.rewrite_results: Callable[[list[str]], list[str]] = lambda lines: lines
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def fault(self, word: str, *names: str) -> None:
        self.plan[word] = deque(names)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/messages", self._message)
        app.router.add_post("/v1/messages/batches", self._create)
        app.router.add_get("/v1/messages/batches", self._list)
        app.router.add_get("/v1/messages/batches/{id}", self._retrieve)
        app.router.add_get("/v1/messages/batches/{id}/results", self._results)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(self._loop)  # answers that were never to come
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    # -- what every endpoint needs

    def _error(self, status: int, request: web.Request, padding: int = 0) -> web.Response:
        key = "".join(request.headers.get(n, "") for n in ("x-api-key", "authorization", "x-gateway"))
        body = {
            "type": "error",
            # Some proxies echo what they were sent: the key must not reach a verdict.
            "error": {
                "type": ERROR_TYPES.get(status, "api_error"),
                "message": f"scripted {status}; you sent {'.' * padding}{key}",
            },
        }
        return web.json_response(body, status=status, headers={"retry-after-ms": "1"})

    async def _misbehave(self, name: str, request: web.Request) -> web.Response:
        """The faults that are the same everywhere; they always end the request."""
        if name.isdigit():
            return self._error(int(name), request)
        if name.startswith("wait:"):  # "wait:429:100000": with this retry-after
            _, status, seconds = name.split(":", 2)
            response = self._error(int(status), request)
            del response.headers["retry-after-ms"]
            response.headers["retry-after"] = seconds
            return response
        if name.startswith("redirect:"):  # "redirect:307:http://other/v1"
            _, status, target = name.split(":", 2)
            return web.Response(status=int(status), headers={"location": target + request.path})
        if name.startswith("padded:"):
            return self._error(500, request, padding=int(name.removeprefix("padded:")))
        if name == "slow":
            await asyncio.sleep(3600)  # longer than any client waits; closing the server ends it
        if name == "not-json":
            return web.Response(text="<html>bad gateway</html>", content_type="text/html")
        if name == "half-json":
            return web.Response(text='{"id": "msg_1", "content": [', content_type="application/json")
        if name == "empty-object":
            return web.json_response({})
        request.transport.close()  # type: ignore[union-attr]  # a cut connection
        return web.Response()

    def _next_fault(self, said: str) -> str | None:
        for word, names in self.plan.items():
            if word in said and names:
                return names.popleft()
        return None

    # -- POST /v1/messages

    async def _message(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        self.bodies.append(body)
        case = shown_case(body["messages"][0]["content"])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.under_way >= self.together:
                self._gathered.set()
            if len(self.bodies) > 1:
                await self._gathered.wait()
            fault = self._next_fault(case["reply"])
            if fault and not fault.startswith("says:"):
                return await self._misbehave(fault, request)
            self.replies_asked[case["reply"]] += 1
            return web.json_response(self._answer(body, case, fault))
        finally:
            self.under_way -= 1

    def _answer(self, body: dict[str, Any], case: dict[str, Any], fault: str | None) -> dict[str, Any]:
        schema = body["output_config"]["format"]["schema"]
        text, stop = self.grade(case, schema), "end_turn"
        if fault == "says:refusal":
            text, stop = "", "refusal"
        elif fault == "says:max_tokens":
            text, stop = text[: len(text) // 2], "max_tokens"
        elif fault:
            text = fault.removeprefix("says:")
        return {
            "id": "msg_local",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": self._usage(
                {"input_tokens": self.tokens[0], "output_tokens": self.tokens[1], "cache_read_input_tokens": 0}
            ),
        }

    def _usage(self, right: dict[str, int]) -> Any:
        return right if self.usage is ... else self.usage

    # -- batches

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        self.on_event("create before")
        fault = self.endpoint_faults["create"].popleft() if self.endpoint_faults["create"] else None
        if fault and not fault.startswith("created:"):
            return await self._misbehave(fault, request)
        ids = [r["custom_id"] for r in body["requests"]]
        assert len(set(ids)) == len(ids), "custom_id must be unique within a batch"
        assert all(0 < len(i) <= 64 and i.replace("_", "").replace("-", "").isalnum() for i in ids)
        self.add_batch(body["requests"])
        self.on_event("create after")
        if fault:
            return await self._misbehave(fault.removeprefix("created:"), request)
        if not self.batches:  # gone at once
            return web.json_response({"id": f"msgbatch_{self.batches_made - 1:04d}"})
        return web.json_response(self._shown(next(reversed(self.batches.values()))))

    def add_batch(self, requests: list[dict[str, Any]]) -> str:
        batch_id = f"msgbatch_{self.batches_made:04d}"
        self.batches_made += 1
        results = []
        for item in requests:
            case = shown_case(item["params"]["messages"][0]["content"])
            fault = self._next_fault(case["reply"])
            if fault in ("errored", "expired", "canceled", "invalid"):
                result: dict[str, Any] = {"type": fault}
                if fault in ("errored", "invalid"):
                    kind = "api_error" if fault == "errored" else "invalid_request_error"
                    error = {"type": kind, "message": "scripted"}
                    result = {"type": "errored", "error": {"type": "error", "error": error}}
            else:
                # Errored, expired and cancelled requests are not billed; all others are.
                self.billed[item["custom_id"]] += 1
                result = {"type": "succeeded", "message": self._answer(item["params"], case, fault)}
            self.replies_asked[case["reply"]] += 1
            results.append({"custom_id": item["custom_id"], "result": result})
        now = datetime.now(UTC)
        polls = self.polls_until_ended
        said = {i["custom_id"]: shown_case(i["params"]["messages"][0]["content"])["reply"] for i in requests}
        self.batches[batch_id] = {"id": batch_id, "created": now, "polls": polls, "results": results, "said": said}
        return batch_id

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = batch["polls"] <= 0
        kinds = Counter(line["result"]["type"] for line in batch["results"])
        counts = {k: kinds[k] if ended else 0 for k in ("canceled", "errored", "expired", "succeeded")}
        return {
            "id": batch["id"],
            "type": "message_batch",
            "archived_at": batch["created"].isoformat() if batch.get("archived") else None,
            "cancel_initiated_at": None,
            "created_at": batch["created"].isoformat(),
            "ended_at": batch["created"].isoformat() if ended else None,
            "expires_at": (batch["created"] + timedelta(days=1)).isoformat(),
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {**counts, "processing": 0 if ended else len(batch["results"])},
            "results_url": None
            if batch.get("archived") or not ended
            else f"{self.results_host or self.url}/v1/messages/batches/{batch['id']}/results",
        }

    async def _list(self, request: web.Request) -> web.Response:
        self.on_event("list")
        if self.endpoint_faults["list"] and self.endpoint_faults["list"][0] == "lagging":
            self.endpoint_faults["list"].popleft()
            return web.json_response({"data": [], "has_more": False, "first_id": None, "last_id": None})
        if self.endpoint_faults["list"]:
            return await self._misbehave(self.endpoint_faults["list"].popleft(), request)
        newest_first = [self._shown(b) for b in reversed(self.batches.values())]
        ids = [b["id"] for b in newest_first]
        after = request.query.get("after_id")
        start = ids.index(after) + 1 if after else 0
        # Pages of two, whatever was asked for: the client must turn them.
        page = newest_first[start : start + 2]
        body = {
            "data": page,
            "has_more": start + 2 < len(ids),
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
        return web.json_response(body)

    async def _retrieve(self, request: web.Request) -> web.Response:
        self.on_event("retrieve")
        if self.endpoint_faults["retrieve"]:
            return await self._misbehave(self.endpoint_faults["retrieve"].popleft(), request)
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return self._error(404, request)
        batch["polls"] -= 1
        return web.json_response(self._shown(batch))

    async def _results(self, request: web.Request) -> web.StreamResponse:
        self.on_event("results before")
        batch = self.batches[request.match_info["id"]]
        fault = self.endpoint_faults["results"].popleft() if self.endpoint_faults["results"] else None
        lines = [json.dumps(line) + "\n" for line in reversed(batch["results"])]
        lines = self.rewrite_results(lines)
        if fault and fault not in ("cut-midway", "short", "garbage"):
            return await self._misbehave(fault, request)
        response = web.StreamResponse(headers={"content-type": "application/x-jsonl"})
        await response.prepare(request)
        for number, line in enumerate(lines):
            if number == 1:
                self.on_event("results midway")
                if fault == "short":
                    break
                if fault == "cut-midway":
                    await response.write(line[:20].encode())
                    request.transport.close()  # type: ignore[union-attr]  # a cut connection
                    return response
                if fault == "garbage":
                    await response.write(b"{{{\n")
            await response.write(line.encode(errors="surrogateescape"))
        await response.write_eof()
        return response

    # -- POST /v1/chat/completions

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        self.bodies.append(body)
        case = shown_case(body["messages"][1]["content"])
        for parameter in self.refused & set(body):
            message = f"Unsupported parameter: '{parameter}' is not supported with this model."
            return web.json_response({"error": {"message": message, "param": parameter}}, status=400)
        fault = self._next_fault(case["reply"])
        if fault and not fault.startswith("says:"):
            return await self._misbehave(fault, request)
        self.replies_asked[case["reply"]] += 1
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", STRICT4)
        message: dict[str, Any] = {"role": "assistant", "content": self.grade(case, schema), "refusal": None}
        finish = "stop"
        if fault == "says:refusal":
            message.update(content=None, refusal="I will not.")
        elif fault == "says:max_tokens":
            message["content"], finish = message["content"][:10], "length"
        elif fault:
            message["content"] = fault.removeprefix("says:")
        answer = {
            "id": "chatcmpl-local",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
            "usage": self._usage({"prompt_tokens": 900, "completion_tokens": 90, "total_tokens": 990}),
        }
        return web.json_response(answer)
