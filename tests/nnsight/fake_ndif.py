"""FakeNdif: a server that does to a trace what NDIF does, over nnsight's own protocol, without our package.

    python fake_ndif.py MODEL_FOLDER STATE_FOLDER

It takes jobs at /request, deserialises them with nnsight's own code, runs them on its own copy of the model, and
hands results out at /response/ID and /result/ID. STATE_FOLDER gets ``port`` when it is ready and one ``job-N`` file
for each submission; while it holds a file ``hold``, jobs stay RUNNING.
"""

from __future__ import annotations

import email.parser
import email.policy
import io
import json
import sys
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

# What a server does not have: any import of ours fails there.
sys.modules["introspection_bench"] = None  # type: ignore[assignment]  # None makes the import fail

import torch  # noqa: E402  # behind the ban above, on purpose
import zstandard  # noqa: E402  # behind the ban above, on purpose
from nnsight import TransformersModel  # noqa: E402  # behind the ban above, on purpose
from nnsight.schema.request import RequestModel  # noqa: E402  # behind the ban above, on purpose
from nnsight.tracing import tracer as tracing  # noqa: E402  # behind the ban above, on purpose
from transformers import AutoTokenizer  # noqa: E402  # behind the ban above, on purpose

FOLDER, STATE = sys.argv[1], Path(sys.argv[2])
MODEL = TransformersModel(
    FOLDER, tokenizer=AutoTokenizer.from_pretrained(FOLDER), task="text-generation", dispatch=True
)
JOBS: dict[str, tuple[bytes, bool]] = {}
RESULTS: dict[str, bytes] = {}


def run(blob: bytes, compress: bool) -> bytes:
    restored = RequestModel.deserialize(blob, MODEL._remoteable_persistent_objects(), compress)
    tracing.inc()
    try:
        restored.execute(restored.info.code)
        saves = tracing._saves()
        values = {k: v for k, v in restored.info.frame.f_locals.items() if id(v) in saves}
    finally:
        tracing.dec()
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return zstandard.ZstdCompressor().compress(buffer.getvalue()) if compress else buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        if self.headers.get("ndif-api-key") != "the-key":
            return self._send(401, json.dumps({"detail": "no such key"}).encode())
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields = {
            p.get_param("name", header="content-disposition"): p.get_payload(decode=True) for p in parts.iter_parts()
        }
        job = f"job-{len(JOBS)}"
        JOBS[job] = (fields["blob"], json.loads(fields["data"])["compress"])
        (STATE / job).touch()
        return self._send(200, json.dumps({"id": job, "status": "RECEIVED"}).encode())

    def do_GET(self):
        _, what, job = self.path.split("/")
        if what == "result":
            return self._send(200, RESULTS[job])
        answer = {"id": job, "status": "RUNNING"}
        if not (STATE / "hold").exists():
            try:
                RESULTS[job] = RESULTS.get(job) or run(*JOBS[job])
                answer = {"id": job, "status": "COMPLETED", "data": f"http://{self.headers['Host']}/result/{job}"}
            except Exception:
                answer = {"id": job, "status": "ERROR", "description": traceback.format_exc()}
        return self._send(200, json.dumps(answer).encode())

    def _send(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args) -> None:
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    fresh = STATE / "port.new"
    fresh.write_text(str(server.server_port))
    fresh.rename(STATE / "port")
    server.serve_forever()
