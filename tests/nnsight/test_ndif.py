"""The nnsight injector: it conforms, agrees with the torch injector, and its traces run where our code is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from introspection_bench import open_injector
from introspection_bench.errors import BackendUnavailableError, ModelError, SpecError
from introspection_bench.injection import Span, Unit
from introspection_bench.injectors.hf.unchanged import Unchanged
from introspection_bench.testing import (
    InjectorConformance,
    Subject,
    run_conformance,
    save_tiny_model,
    spoil_logits,
    tiny_model,
)
from tests.spec_on_backends import greedy_replies, require_the_same

pytest.importorskip("nnsight", reason="the extra nnsight is not installed")
HERE = Path(__file__).parent


class NnsightConformance(InjectorConformance):
    architecture: str

    @pytest.fixture(scope="class")
    @classmethod
    def injector(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("nnsight", model, tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("torch", model, tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def half(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("nnsight", model.to(torch.bfloat16), tokenizer=tokenizer) as opened:
            yield opened

    @pytest.fixture(scope="class")
    @classmethod
    def unsound(cls):
        model, tokenizer = tiny_model(cls.architecture)
        with open_injector("nnsight", model, tokenizer=tokenizer) as opened:
            spoil_logits(model)  # only now: such a model is not opened
            opened._unchanged = Unchanged(model)
            yield opened


class TestNnsightOnGemma3(NnsightConformance):
    """Sliding windows, and a norm behind the MLP."""

    architecture = "gemma3"


class TestNnsightOnGpt2(NnsightConformance):
    """Learned positions, and blocks under another name."""

    architecture = "gpt2"


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3", "olmo2", "gpt_neox"])
def test_other_architectures_agree_with_the_torch_injector(architecture):
    (model, tokenizer), (same, _) = tiny_model(architecture), tiny_model(architecture)
    report = run_conformance(
        open_injector("nnsight", model, tokenizer=tokenizer),
        reference=open_injector("torch", same, tokenizer=tokenizer),
        only=["agrees_with_the_reference", "rows_of_a_batch_do_not_leak"],
    )
    assert report.passed, str(report)


def test_a_sampled_reply_is_the_torch_injectors_for_the_same_seed():
    (model, tokenizer), (same, _) = tiny_model("llama"), tiny_model("llama")
    mine, theirs = (
        Subject(open_injector(name, m, tokenizer=tokenizer)) for name, m in (("nnsight", model), ("torch", same))
    )
    requests = [
        mine.request(mine.prompts[n % 3], mine.injection(unit=unit, seed=n), tokens=20, temperature=1.0, seed=1000 + n)
        for n, unit in enumerate([*Unit, *Unit])
    ]
    assert [c.reply for c in mine.run(*requests)] == [c.reply for c in theirs.run(*requests)]


def test_the_callers_model_keeps_its_own_generation_defaults():
    model, tokenizer = tiny_model("llama")
    model.generation_config.repetition_penalty = 5.0
    own = model.generation_config
    subject = Subject(open_injector("nnsight", model, tokenizer=tokenizer))
    plain, tokens = tiny_model("llama")
    theirs = Subject(open_injector("nnsight", plain, tokenizer=tokens))
    request = subject.request(subject.prompt, None, tokens=20)
    assert subject.run(request)[0].reply == theirs.run(request)[0].reply
    assert model.generation_config is own


def test_a_branch_that_is_not_added_as_it_is_can_not_carry_the_unit_update():
    model, tokenizer = tiny_model("llama")
    subject = Subject(open_injector("nnsight", model, tokenizer=tokenizer, update_module="input_layernorm"))
    with pytest.raises(ModelError, match="update"):
        subject.run(subject.request(subject.prompt, subject.injection(unit=Unit.UPDATE)))


def test_wrong_blocks_are_refused_when_the_model_is_opened():
    model, tokenizer = tiny_model("llama")
    with pytest.raises(ModelError, match="blocks"):
        open_injector("nnsight", model, tokenizer=tokenizer, blocks="model.no_such_layers")


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
        open_injector("nnsight", "some/model", **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


def test_traces_survive_nnsights_own_serialising_simulation_of_a_server(folder):
    report = run_conformance(
        open_injector("nnsight", folder, remote="local"),
        reference=open_injector("torch", folder),
        only=[
            "steers_only_its_layer",
            "rows_of_a_batch_do_not_leak",
            "agrees_with_the_reference",
            "capture_reads_the_last_prompt_token",
        ],
    )
    assert report.counts() == {"passed": 4}, str(report)


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
    remote = open_injector("nnsight", folder, remote=server.url, jobs=jobs, poll_seconds=0.05)
    subject, theirs = Subject(remote), Subject(open_injector("torch", folder))
    a, b = subject.prompts[:2]
    requests = [
        subject.request(a, None, temperature=1.0, seed=1, layers=[2]),
        subject.request(a, subject.injection(Span.from_anchor("last")), temperature=1.0, seed=2, layers=[2]),
        subject.request(b, subject.injection(unit=Unit.UPDATE), temperature=1.0, seed=3, layers=[2]),
    ]
    for mine, other in zip(subject.run(*requests), theirs.run(*requests), strict=True):
        assert mine.reply == other.reply
        np.testing.assert_allclose(mine.residuals, other.residuals, rtol=1e-3, atol=1e-3)
        assert mine.receipt.max_ratio == pytest.approx(other.receipt.max_ratio, rel=1e-4)
    assert json.loads(jobs.read_text())["jobs"] == {}
    assert remote.model.n_layers == 4


def test_a_wrong_key_is_an_error_that_repeats_what_the_server_says(server, folder, hub, monkeypatch):
    monkeypatch.setenv("NDIF_API_KEY", "another-key")
    with pytest.raises(Exception, match="no such key"):
        open_injector("nnsight", folder, remote=server.url)


CHILD = """
import sys
from introspection_bench import open_injector
from introspection_bench.testing import Subject
from tests.spec_on_backends import greedy_replies, require_the_same
from nnsight.modeling.huggingface import _ID_CACHE
_ID_CACHE[sys.argv[1]] = sys.argv[1]
subject = Subject(open_injector("nnsight", sys.argv[1], remote=sys.argv[2], jobs=sys.argv[3], poll_seconds=0.05))
requests = [subject.request(p, None, temperature=1.0, seed=7) for p in subject.prompts[:2]]
open(sys.argv[4], "w").close()
while not __import__("os").path.exists(sys.argv[4] + ".go"):
    pass
print([c.reply.text for c in subject.run(*requests)])
"""


def test_a_killed_run_collects_its_jobs_instead_of_submitting_them_again(server, folder, key, tmp_path):
    jobs, ready = tmp_path / "jobs.json", tmp_path / "ready"
    command = [sys.executable, "-c", CHILD, folder, server.url, jobs, ready]
    child = subprocess.Popen(command)
    wait_for(ready, child)
    hold = server.state / "hold"
    hold.touch()
    (tmp_path / "ready.go").touch()
    end = time.monotonic() + 60
    while not jobs.exists() or len(json.loads(jobs.read_text())["jobs"]) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    hold.unlink()
    assert "the-key" not in jobs.read_text()
    before = server.submissions()
    again = Subject(open_injector("nnsight", folder, remote=server.url, jobs=jobs, poll_seconds=0.05))
    opening = server.submissions() - before
    replies = [
        c.reply for c in again.run(*[again.request(p, None, temperature=1.0, seed=7) for p in again.prompts[:2]])
    ]
    assert server.submissions() - before == opening
    theirs = Subject(open_injector("torch", folder))
    assert replies == [
        c.reply for c in theirs.run(*[theirs.request(p, None, temperature=1.0, seed=7) for p in theirs.prompts[:2]])
    ]
    assert json.loads(jobs.read_text())["jobs"] == {}


@pytest.mark.parametrize("content", ["", "[]", '{"format": 9, "jobs": {}}', '{"format": 1, "jobs": {"a": [3]}}'])
def test_a_jobs_file_that_is_not_ours_is_an_error_that_names_it(tmp_path, content):
    from introspection_bench.injectors.nnsight.ndif import Jobs

    path = tmp_path / "jobs.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=r"jobs\.json"):
        Jobs(path)
    assert path.read_text() == content


def test_results_of_a_server_can_not_run_code_here():
    import io
    import pickle

    from introspection_bench.injectors.nnsight.ndif import NdifBackend

    class Attack:
        def __reduce__(self):
            return (os.system, ("true",))

    buffer = io.BytesIO()
    torch.save({"tokens": Attack()}, buffer)
    backend = NdifBackend("model", host="http://127.0.0.1:1")
    backend.compress = False
    with pytest.raises(pickle.UnpicklingError):
        backend.finalize(buffer.getvalue())


def test_a_sweep_on_smollm2_has_the_torch_backends_greedy_replies_with_only_the_backend_changed(tmp_path):
    require_the_same(greedy_replies("nnsight", tmp_path), greedy_replies("torch", tmp_path))
