"""Trials as a log of Inspect (https://inspect.aisi.org.uk), made of inspect_ai's own classes."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..boundaries import checked
from ..digests import digest
from ..errors import BackendUnavailableError, ResultsFormatError, SpecError, explain
from ..files import replacing
from ..results import JudgeName, Results
from ..scaffolds import BUILTIN
from ..structuring import plain
from ..trials import TrialRecord
from ..untrusted import encodable, one_line
from ..verdicts import Verdict

_TASK = "introspection_bench"
#: How many characters of its condition a sample is called by.
_MOST_NAME = 120
#: How Inspect calls what ended a reply.
_STOPPED = {"stop": "stop", "length": "max_tokens", "unknown": "unknown"}


@checked(ResultsFormatError)
def write_inspect(results: Results, path: str | Path) -> int:
    """Write a log that ``inspect view`` opens; return how many samples.

    A sample is a trial, under its number and condition. Its messages are the scaffold's turns, where the wording is a
    built-in one (others are not in the record: then the sample says which wording it was), and the reply, reasoning set
    apart. Its metadata hold the trial's digest, condition, steers, receipts, sampling and seed. Each verdict is a score
    under its judge's name: ``strict`` and the criteria, each true, false or None for "does not apply". A verdict
    without answers is Inspect's ``Score.unscored`` with the judge's reason, and a trial that wasn't judged has no
    score. The log's results state each criterion by arm, since a mean over injections and controls would say nothing;
    the rate on an arm where it never applied is NaN, and a criterion that never applied at all is left out. When a run
    was made is not known here. Token ids and readings are not in a log: it is not read back.

    Args:
        results: the trials, of one model.
        path: ``*.eval`` or ``*.json``. An existing file is replaced, and only when the new one is complete.

    Raises:
        SpecError: another ending, no trial, or trials of several models, of which an Inspect log has one.
        BackendUnavailableError: inspect_ai is missing.
        OutputError: the file can't be written.
    """
    path = Path(path)
    models = sorted({record.condition.model for record in results})
    if path.suffix not in (".eval", ".json") or len(models) != 1:
        raise SpecError(
            explain(
                "path and results",
                required="a file *.eval or *.json, and trials of one model",
                got=f"{path}, models {models}",
                hint="Export each model's run into a log of its own.",
            )
        )
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise BackendUnavailableError(
            explain(
                "inspect_ai", required="its package", got=str(error), hint="pip install 'introspection-bench[inspect]'"
            )
        ) from error
    log = _log(results, encodable(models[0]) or "unknown")
    with replacing(path) as new:
        write_eval_log(log, str(new), format=path.suffix.removeprefix("."))
    return len(results)


def _log(results: Results, model: str) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    digits = len(str(len(results)))
    samples = [
        _sample(f"{number:0{digits}} {encodable(one_line(str(record.condition), _MOST_NAME))}", record, model)
        for number, record in enumerate(results, 1)
    ]
    name = encodable(results.name)
    identity = digest("inspect_log", 1, [record.key.digest for record in results])[:22]
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=now,
            task=_TASK,
            task_display_name=name,
            task_id=identity,
            run_id=identity,
            eval_id=identity,
            dataset=EvalDataset(name=name, samples=len(samples), sample_ids=[sample.id for sample in samples]),
            model=model,
            config=EvalConfig(),
            packages={"introspection_bench": __version__},
            metadata={"notes": [encodable(note) for note in results.notes], "created": "when it was exported"},
        ),
        results=EvalResults(
            total_samples=len(samples), completed_samples=len(samples), scores=list(_rates(results.records))
        ),
        stats=EvalStats(started_at=now, completed_at=now),
        samples=samples,
    )


def _sample(name: str, record: TrialRecord, model: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ContentReasoning, ContentText, ModelOutput

    reply, condition = record.reply.parted, record.condition
    content = [ContentText(text=encodable(reply.text))]
    if reply.reasoning is not None:
        content = [ContentReasoning(reasoning=encodable(reply.reasoning)), *content]
    output = ModelOutput.from_content(model, content, stop_reason=_STOPPED[reply.finish_reason])
    turns = _turns(record)
    said = f"[scaffold {condition.scaffold}, wording {condition.wording}: its text is not in the record]"
    return EvalSample(
        id=name,
        epoch=1,
        input=turns or encodable(said),
        target=encodable(condition.concept or ""),
        messages=[*turns, output.message],
        output=output,
        scores={_judge(verdict): _score(verdict, output.completion) for verdict in record.verdicts} or None,
        metadata={
            "trial": record.key.digest,
            "condition": _encodable(condition.columns),
            "steers": _encodable(plain(record.key.steers)),
            "receipts": plain(record.receipts),
            "sampling": plain(record.key.sampling),
            # As text: a browser's numbers hold 53 bits of its 63.
            "seed": None if record.seed is None else str(record.seed),
            "backend": encodable(record.key.backend),
            "item": _encodable(record.trial.item),
            "draw": record.trial.draw,
            "part": record.trial.part,
            "repeat_of": record.repeat_of,
        },
    )


def _turns(record: TrialRecord) -> list[Any]:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    found = [s for s in BUILTIN.values() if s.digest == record.condition.wording and not s.slots and not s.prefill]
    if not found:
        return []
    made = {"user": ChatMessageUser, "assistant": ChatMessageAssistant, "system": ChatMessageSystem}
    system = [ChatMessageSystem(content=found[0].system)] if found[0].system else []
    return [*system, *(made[turn.role](content=turn.content) for turn in found[0].turns)]


def _score(verdict: Verdict, reply: str) -> Any:
    from inspect_ai.scorer import Score

    told = {
        "asked_about": encodable(verdict.concept),
        "blinded": verdict.blinded,
        "rubric_digest": verdict.rubric_digest,
    }
    if verdict.unscored is not None:
        return Score.unscored(
            reason="grader_failed", answer=reply, explanation=encodable(verdict.unscored), metadata=told
        )
    value = {"strict": verdict.strict, **verdict.answers}
    return Score(value=value, answer=reply, explanation=encodable(verdict.notes) or None, metadata=told)


def _rates(records: Sequence[TrialRecord]) -> Iterator[Any]:
    """Yield for each judge, arm and criterion how many met it; a draw that is listed twice counts once."""
    from inspect_ai.log import EvalMetric, EvalScore

    counted = [record for record in records if record.repeat_of is None]
    trials = Counter(record.arm for record in counted)
    found: dict[tuple[str, str, str], list[bool]] = {}
    for record in counted:
        for verdict in record.verdicts:
            for name, met in {"strict": verdict.strict, **verdict.answers}.items():
                answers = found.setdefault((_judge(verdict), record.arm, name), [])
                answers += [met] if met is not None else []
    applied = {(judge, name) for (judge, _, name), answers in found.items() if answers}
    several = len({judge for judge, _, _ in found}) > 1
    for (judge, arm, name), answers in found.items():
        if (judge, name) not in applied:
            continue
        # The same metrics for each: Inspect shows those together that have them.
        rate = sum(answers) / len(answers) if answers else math.nan
        counts = {"met": sum(answers), "scored": len(answers), "rate": rate}
        yield EvalScore(
            name=f"{name} on {encodable(arm)}" + (f", {judge}" if several else ""),
            scorer=judge,
            scored_samples=len(answers),
            unscored_samples=trials[arm] - len(answers),
            metrics={metric: EvalMetric(name=metric, value=value) for metric, value in counts.items()},
        )


def _judge(verdict: Verdict) -> str:
    return encodable(str(JudgeName.of(verdict)))


def _encodable(value: Any) -> Any:
    """Return plain values with all their texts in a form that UTF-8 can carry."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {name: _encodable(inner) for name, inner in value.items()}
    return [_encodable(inner) for inner in value] if isinstance(value, list) else value
