"""Control vectors of llama.cpp, repeng and EasySteer (GGUF), and directions by layer of any library.

Sources: llama.cpp, ``common/common.cpp`` and ``src/llama-adapter.cpp`` (``direction.N`` is added at the end of block N,
counted from 0); repeng, ``repeng/extract.py``; EasySteer, ``easysteer/extraction/result.py``. Their scale ``s`` adds
``s`` times the direction as it is: the dose ``s raw``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from ..boundaries import checked
from ..digests import canonical_json
from ..errors import BackendUnavailableError, VectorError, VectorFileError, explain
from ..files import replacing
from ..structuring import strict_converter, worded
from ..untrusted import encodable, one_line, parse_json, regular_file
from ..vectors import ConceptVector, Provenance
from .gguf_layout import parse_gguf

#: How a library counts layers: ``blocks``, N is the output of the block N counted from 0 (llama.cpp, repeng,
#: EasySteer, steering-vectors, ours); ``hidden_states``, N is Hugging Face's ``hidden_states[N]``, whose 0 is the
#: embedding, so that N is the output of block N - 1.
Counting = Literal["blocks", "hidden_states"]
ARCHITECTURE = "controlvector"
#: Bytes of a file; one direction for each layer of a model of 405B takes 8 MB.
_MOST = 2**28
_OURS, _FORMAT = "introspection_bench.vectors", 1
_NAME = re.compile(r"direction\.(0|[1-9][0-9]{0,4})")


@checked(VectorError)
def vectors_by_layer(
    directions: Mapping[int, Any], *, concept: str, counting: Counting, made_by: str, model_name: str = ""
) -> tuple[ConceptVector, ...]:
    """Make concept vectors of another library's directions, in the order of their layers.

    Args:
        directions: by layer an array or tensor of shape (hidden_size,): repeng's ``ControlVector.directions``,
            ``layer_activations`` of steering-vectors, or a dict of your own. The values are kept as they are.
        concept: what they are the direction of.
        counting: what the library's numbers count; it is never guessed.
        made_by: the library, which becomes the provenance's recipe.
        model_name: the model, where it is known.

    Returns:
        The vectors. What the other library doesn't tell stays empty in the provenance (prompts 0, digest ""), and a
        step says how the layers were counted. ``raw_norm`` is the norm of the values that came. A multiplier ``s`` of
        the library is the dose ``s raw``.

    Raises:
        VectorError: no direction, a layer that is no block's output (the embedding), or values that
            :class:`~introspection_bench.vectors.ConceptVector` refuses (NaN, all zeros, a wrong shape, several widths).
    """
    if not directions:
        raise VectorError(explain("directions", required="one direction or more", got="none", hint=""))
    embedding = {"blocks": 0, "hidden_states": 1}[counting]
    if min(directions) < embedding:
        raise VectorError(
            explain(
                "directions",
                required=f"layers from {embedding} on, counted as {counting}",
                got=f"layer {min(directions)}",
                hint="hidden_states[0] is the embedding, which no block puts out; negative numbers say no place.",
            )
        )
    made = []
    for n in sorted(directions):
        step = f"layer {n} of {counting}"
        blank = Provenance(made_by, model_name, "", "", 0, -1, 0.0, None, (step,))
        try:
            vector = ConceptVector(_array(directions[n]), concept, n - embedding, blank)
        except VectorError as error:
            raise VectorError(f"{step}: {error}") from error
        made.append(attrs.evolve(vector, provenance=attrs.evolve(blank, raw_norm=vector.norm)))
    _check_widths(made)
    return tuple(made)


@checked(VectorError)
def read_control_vectors(
    path: str | Path, *, concept: str | None = None, counting: Counting | None = None
) -> tuple[ConceptVector, ...]:
    """Read a GGUF file of control vectors; nothing in it is executed, and nothing about it is guessed.

    Args:
        path: a file of llama.cpp's, repeng's, EasySteer's, or of :func:`write_control_vectors`.
        concept: what the directions stand for. Only files of ours say that themselves.
        counting: how the file's maker counted layers, ``blocks`` for the three libraries. Only files of ours say it.

    Returns:
        One vector a layer, in their order; of a file of ours those that were written, provenance included. A scale
        ``s`` of llama.cpp or repeng is the dose ``s raw``.

    Raises:
        VectorFileError: the file is missing, cut off, damaged or not made of control vectors on the residual stream;
            or it doesn't say what the arguments leave open, or says something else than they do.
    """
    with worded(
        VectorFileError,
        str(path),
        root="provenance",
        required="a GGUF file of control vectors: one float32 tensor direction.N a layer",
        hint="It is cut off, damaged, or something else.",
        also=(OSError, ValueError, LookupError, TypeError),
    ):
        fields, tensors = parse_gguf(regular_file(path, _MOST).read_bytes())
        directions = {_layer_of(name): values for name, values in tensors.items()}
        if fields.get("general.architecture") != ARCHITECTURE:
            raise ValueError(f"the architecture {fields.get('general.architecture')!r}")
        _check_component(fields.get("controlvector.easysteer"))
        if _OURS in fields:
            return _ours(parse_json(_text(fields[_OURS])), directions, concept, counting)
        if concept is None or counting is None:
            raise VectorFileError(
                explain(
                    "concept, counting",
                    required="both, since the file says neither",
                    got=f"concept={concept!r}, counting={counting!r}",
                    hint="llama.cpp, repeng and EasySteer count 'blocks'.",
                )
            )
        return vectors_by_layer(
            directions,
            concept=concept,
            counting=counting,
            made_by=f"gguf: {one_line(_text(fields.get('controlvector.method', 'control vector')), 100)}",
            model_name=one_line(_text(fields.get("controlvector.model_hint", "")), 100),
        )


@checked(VectorError)
def write_control_vectors(vectors: Sequence[ConceptVector], path: str | Path, *, model_hint: str) -> Path:
    """Write one concept's vectors as a GGUF file for llama.cpp, repeng and EasySteer; return its path.

    Args:
        vectors: one a layer, of one concept and one width. They are written as they are (float32, not normalised), as
            ``direction.N`` with N their block, so that the scale ``s`` of ``--control-vector-scaled`` is our ``s raw``.
        path: the file, which is whole or not there.
        model_hint: the model's architecture as llama.cpp calls it ("llama", "qwen2"); others compare it.

    Raises:
        VectorError: no vector, several concepts or widths, a layer twice, layer 0, which llama.cpp can't steer, or a
            hint that is no text.
        BackendUnavailableError: the package gguf is missing.
        OutputError: the file can't be written.
    """
    layers = [v.layer for v in vectors]
    if not vectors or len({v.concept for v in vectors}) > 1 or len(set(layers)) < len(layers) or 0 in layers:
        raise VectorError(
            explain(
                "vectors",
                required="vectors of one concept, each of another layer from 1 on",
                got=f"concepts {sorted({v.concept for v in vectors})}, layers {layers}",
                hint="llama.cpp doesn't steer layer 0; write each concept into a file of its own.",
            )
        )
    _check_widths(vectors)
    if not model_hint or encodable(model_hint) != model_hint:
        raise VectorError(
            explain("model_hint", required="the architecture's name", got=repr(model_hint), hint='As in "llama".')
        )
    try:
        import gguf
    except ImportError as error:
        raise BackendUnavailableError(
            explain("gguf", required="the package gguf", got=str(error), hint="pip install 'introspection-bench[gguf]'")
        ) from error
    ordered = sorted(vectors, key=lambda v: v.layer)
    told = {
        "format": _FORMAT,
        "concept": vectors[0].concept,
        "counting": "blocks",
        "unit": "raw",
        "provenance": {str(v.layer): attrs.asdict(v.provenance) for v in ordered},
    }
    with replacing(path) as new:
        writer = gguf.GGUFWriter(new, ARCHITECTURE)
        try:
            writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
            writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(ordered))
            writer.add_string(_OURS, canonical_json(told))
            for vector in ordered:
                writer.add_tensor(f"direction.{vector.layer}", np.array(vector.values))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return Path(path)


def _ours(
    told: Any, directions: Mapping[int, Any], concept: str | None, counting: str | None
) -> tuple[ConceptVector, ...]:
    if (told["format"], told["counting"], told["unit"]) != (_FORMAT, "blocks", "raw"):
        raise ValueError(f"format {told['format']!r}, counting {told['counting']!r}, unit {told['unit']!r}")
    if set(told["provenance"]) != {str(layer) for layer in directions}:
        raise ValueError(f"provenance of layers {sorted(told['provenance'])}, directions of {sorted(directions)}")
    for name, asked, found in (("concept", concept, told["concept"]), ("counting", counting, "blocks")):
        if asked not in (None, found):
            raise ValueError(f"{name} {found!r}, where {asked!r} was asked for")
    structure = strict_converter().structure
    made = tuple(
        ConceptVector(directions[n], told["concept"], n, structure(told["provenance"][str(n)], Provenance))
        for n in sorted(directions)
    )
    _check_widths(made)
    return made


def _array(values: Any) -> Any:
    """Return an array of what may be a tensor on a device, in a type that NumPy lacks (bfloat16)."""
    try:
        array = np.asarray(values.detach().float().cpu() if hasattr(values, "detach") else values)
    except (ValueError, TypeError, AttributeError) as error:  # lists of several lengths, what only looks like a tensor
        raise VectorError(explain("values", required="an array of numbers", got=str(error), hint="")) from error
    if array.dtype.kind not in "fiu":
        raise VectorError(explain("values", required="an array of numbers", got=f"dtype {array.dtype}", hint=""))
    return array


def _check_widths(vectors: Sequence[ConceptVector]) -> None:
    widths = {v.values.size for v in vectors}
    if len(widths) > 1:
        raise VectorError(explain("vectors", required="one width", got=sorted(widths), hint="One model has one width."))


def _layer_of(name: str) -> int:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"the tensor {name!r}")
    return int(found[1])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value


def _check_component(told: Any) -> None:
    """EasySteer writes directions of attention heads and routers in the same layout, and says so here."""
    if told is None:
        return
    component = parse_json(_text(told)).get("component")
    if component not in (None, "hidden_states"):
        raise ValueError(f"directions of {component!r}, not of the residual stream")
