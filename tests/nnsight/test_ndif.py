"""On a server of NDIF's kind: traces run where our code is not, and jobs are collected by whoever asks again."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from cases import SAMPLING, everything, injections, prompt_of, replay, require_alike, residuals, run

from introspection_bench.errors import BackendUnavailableError, ModelError, SpecError
from introspection_bench.injectors.requests import Request
from introspection_bench.spans import Positions
from introspection_bench.testing.tiny import save_tiny_model, tiny_model

pytest.importorskip("nnsight", reason="the extra nnsight is not installed")

from introspection_bench.injectors.nnsight import NnsightInjector
from introspection_bench.injectors.nnsight.ndif import Jobs, NdifBackend, request_key
from introspection_bench.injectors.torch import TorchInjector

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"remote": True}, BackendUnavailableError),
        ({"remote": "ftp://nowhere"}, ModelError),
        ({"remote": "local", "device_map": "auto"}, ModelError),
    ],
)
def test_a_remote_model_that_can_not_be_opened_as_asked_is_an_error(monkeypatch, options, error):
    monkeypatch.delenv("NDIF_API_KEY", raising=False)
    with pytest.raises(error):
        NnsightInjector.open("some/model", **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


class Server:
    def __init__(self, folder, state):
        self.folder, self.state = folder, state
        self.process = subprocess.Popen([sys.executable, HERE / "fake_ndif.py", folder, state])
        wait_for(state / "port", self.process)
        self.url = f"http://127.0.0.1:{(state / 'port').read_text()}"

    def submissions(self):
        return len(list(self.state.glob("job-*")))


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    running = Server(folder, tmp_path_factory.mktemp("ndif"))
    yield running
    running.process.terminate()
    running.process.wait()


def wait_for(path, process, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f"the process ended before {path.name} appeared"
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.05)


@pytest.fixture
def key(monkeypatch, hub):
    monkeypatch.setenv("NDIF_API_KEY", "the-key")


@pytest.fixture
def hub(monkeypatch, folder):
    """The hub's answer to nnsight's one question: how this model's name is spelled there."""
    from nnsight.modeling import huggingface

    monkeypatch.setitem(huggingface._ID_CACHE, str(folder), str(folder))


def test_jobs_run_on_a_server_that_lacks_our_package_and_agree_with_the_torch_injector(server, folder, key, tmp_path):
    jobs = tmp_path / "jobs.json"
    remote = NnsightInjector.open(folder, remote=server.url, jobs=jobs, poll_seconds=0.05)
    theirs = TorchInjector.open(folder)
    long, short = prompt_of(remote), prompt_of(remote, "Tell me about the trees.")
    steers = injections(remote)
    requests = [
        Request.of(long, (), SAMPLING, 1),
        Request.of(long, steers, SAMPLING, 2, reads=[residuals(long)]),
        Request.of(short, steers[2:4], SAMPLING, 3),
    ]
    sampled = run(remote, *requests)
    require_alike(sampled, run(theirs, *requests))
    replays = [replay(c, r, everything(remote, r.prompt)) for c, r in zip(sampled, requests, strict=True)]
    require_alike(run(remote, *replays), run(theirs, *replays))
    alone = [steer.vector for steer in steers[:2]]
    np.testing.assert_allclose(remote.vector_logits(alone), theirs.vector_logits(alone), atol=1e-4)
    assert json.loads(jobs.read_text())["jobs"] == {}
    assert remote.model.n_layers == 4


def test_a_wrong_key_is_an_error_that_repeats_what_the_server_says(server, folder, hub, monkeypatch):
    monkeypatch.setenv("NDIF_API_KEY", "another-key")
    with pytest.raises(Exception, match="no such key"):
        NnsightInjector.open(folder, remote=server.url)


CHILD = """
import sys
from pathlib import Path
from nnsight.modeling.huggingface import _ID_CACHE
from introspection_bench.injectors.nnsight import NnsightInjector
folder, server, jobs, ready, tests = sys.argv[1:]
sys.path.insert(0, tests)
import test_ndif
_ID_CACHE[folder] = folder
injector = NnsightInjector.open(folder, remote=server, jobs=jobs, poll_seconds=0.05)
requests = test_ndif.sampled_and_replayed(injector)
Path(ready).touch()
while not Path(ready + ".go").exists():
    pass
list(injector.generate(requests))
"""


def sampled_and_replayed(injector):
    """Requests of three batches: prompts of two lengths, and a replay."""
    prompts = [prompt_of(injector), prompt_of(injector, "Tell me about the trees.")]
    sampled = [Request.of(prompt, injections(injector)[:2], SAMPLING, 7) for prompt in prompts]
    return [*sampled, Request.of(prompts[0], (), SAMPLING, forced=(5, 6), reads=[residuals(prompts[0])])]


def test_a_killed_run_collects_its_jobs_instead_of_submitting_them_again(server, folder, key, tmp_path):
    jobs, ready = tmp_path / "jobs.json", tmp_path / "ready"
    command = [sys.executable, "-c", CHILD, folder, server.url, jobs, ready, HERE]
    child = subprocess.Popen(command)
    wait_for(ready, child)
    hold = server.state / "hold"
    hold.touch()
    (tmp_path / "ready.go").touch()
    end = time.monotonic() + 60
    while not jobs.exists() or len(json.loads(jobs.read_text())["jobs"]) < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    hold.unlink()
    assert "the-key" not in jobs.read_text()
    before = server.submissions()
    again = NnsightInjector.open(folder, remote=server.url, jobs=jobs, poll_seconds=0.05)
    opening = server.submissions() - before
    requests = sampled_and_replayed(again)
    found = run(again, *requests)
    assert server.submissions() - before == opening
    require_alike(found, run(TorchInjector.open(folder), *requests))
    assert json.loads(jobs.read_text())["jobs"] == {}


def test_a_job_answers_no_request_that_differs_in_steers_forced_tokens_or_reads():
    model, tokenizer = tiny_model("llama")
    injector = TorchInjector.open(model, tokenizer=tokenizer)
    prompt = prompt_of(injector)
    steers, reads = injections(injector), everything(injector, prompt)
    request = Request.of(prompt, steers, SAMPLING, forced=(5, 6, 7), reads=reads)
    lens, cosines = (next(r for r in reads if r.kind == kind) for kind in ("lens", "cosines"))
    before = [r for r in reads if r is not lens]
    others = [
        Request.of(prompt, steers[1:], SAMPLING, forced=(5, 6, 7), reads=reads),
        Request.of(prompt, [attrs.evolve(s, dose=-s.dose) for s in steers], SAMPLING, forced=(5, 6, 7), reads=reads),
        Request.of(prompt, [attrs.evolve(s, span="prompt") for s in steers], SAMPLING, forced=(5, 6, 7), reads=reads),
        attrs.evolve(request, forced=(5, 6, 8)),
        attrs.evolve(request, forced=(), reads=reads[:1]),
        Request.of(prompt, steers, SAMPLING),
        attrs.evolve(request, reads=reads[1:]),
        attrs.evolve(request, reads=[*before, attrs.evolve(lens, layers=(0, 3))]),
        attrs.evolve(request, reads=[*before, attrs.evolve(lens, sets=((5,),))]),
        attrs.evolve(request, reads=[*before, attrs.evolve(lens, positions=Positions(1, 2, len(prompt.token_ids)))]),
        attrs.evolve(request, reads=[attrs.evolve(cosines, vectors=cosines.vectors[::-1])]),
        attrs.evolve(request, reads=[cosines]),
        attrs.evolve(request, seed=1),
    ]
    keys = {request_key(r, ["model", "server"]) for r in (request, *others)} | {
        request_key(request, ["other", "server"])
    }
    assert len(keys) == len(others) + 2
    assert request_key(attrs.evolve(request), ["model", "server"]) in keys


@pytest.mark.parametrize("content", ["", "[]", '{"format": 9, "jobs": {}}', '{"format": 1, "jobs": {"a": [3]}}'])
def test_a_jobs_file_that_is_not_ours_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "jobs.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=r"jobs\.json"):
        Jobs(path)
    assert path.read_text() == content


def test_results_of_a_server_can_not_run_code_here():
    class Attack:
        def __reduce__(self):
            return (os.system, ("true",))

    buffer = io.BytesIO()
    torch.save({"tokens": Attack()}, buffer)
    backend = NdifBackend("model", host="http://127.0.0.1:1")
    backend.compress = False
    with pytest.raises(pickle.UnpicklingError):
        backend.finalize(buffer.getvalue())
