"""Changes PP-OCR's ONNX networks, when they are loaded, so that they cost less and give the same results.

The detector has 255,000 subnormal weights, each below 1.2e-38, with which a processor multiplies a hundred
times more slowly: they are set to 0. The recogniser's last layer has 18,710 classes, nearly all of them
Chinese characters: only the classes in use are kept. After the softmax these have the same ratios to each
other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

from pinactors.analysis.model import Floats

_FLOAT = 1
"""`TensorProto.FLOAT` of ONNX."""

_MESSAGES = {
    "Tensor": (("dims", 1, "int64s"), ("data_type", 2, "int32"), ("raw_data", 9, "bytes")),
    "TensorType": (("shape", 2, "bytes"),),
    "Type": (("tensor_type", 1, "TensorType"),),
    "Value": (("type", 2, "Type"),),
    "Graph": (("initializer", 5, "Tensors"), ("output", 12, "Values")),
    "Model": (("graph", 7, "Graph"),),
}
"""The parts of ONNX's messages that are changed here: name, number and type of each field, with an s at the
end for repeated fields. Parsing keeps all other fields as they are."""

Change = Callable[[Floats], Floats]


def lighten(network: Any, classes: npt.NDArray[np.intp] | None = None) -> None:
    """Replaces the session of a network of `rapidocr` by one whose subnormal weights are 0. With `classes`
    (indices), the last layer gives only these, in this order."""
    session, network.session = network.session, None
    path, options, providers = session._model_path, session.get_session_options(), session.get_providers()
    count = session.get_outputs()[0].shape[-1]
    del session  # its memory is used again
    model = _message("Model")
    model.ParseFromString(Path(path).read_bytes())
    _change(model, _normal)
    if classes is not None:
        _change(model, lambda weights: weights[..., classes] if weights.shape[-1:] == (count,) else weights)
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
    changed = model.SerializeToString()
    del model
    network.session = onnxruntime.InferenceSession(changed, options, providers=providers)
    network.session._model_bytes = None  # kept for a change of providers only, which does not happen


def _change(model: Any, change: Change) -> None:
    """Replaces all float weights that `change` alters."""
    for tensor in model.graph.initializer:
        if tensor.data_type == _FLOAT and tensor.raw_data:
            weights = np.frombuffer(tensor.raw_data, "<f4").reshape(tensor.dims)
            changed = change(weights)
            if changed is not weights:
                tensor.raw_data = np.ascontiguousarray(changed).tobytes()
                tensor.dims[:] = changed.shape


def _normal(weights: Floats) -> Floats:
    subnormal = (np.abs(weights) < np.finfo(np.float32).tiny) & (weights != 0)
    return np.where(subnormal, np.float32(0), weights) if subnormal.any() else weights


@functools.cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="networks.proto", package="networks")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, entries in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for label, number, kind in entries:
            single = kind.removesuffix("s") if kind != "bytes" else kind
            field = message.field.add(name=label, number=number)
            field.label = kinds.LABEL_REPEATED if single != kind else kinds.LABEL_OPTIONAL
            if single in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".networks.{single}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{single.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"networks.{name}"))()
