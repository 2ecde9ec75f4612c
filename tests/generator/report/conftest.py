"""A classifier in an ONNX file made by hand, and a model trained for two steps with its data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from generator.config import make_config
from generator.diffusion.train import train
from tests.support.generator_classifier import MakeClassifier
from tests.support.generator_data import CLASSES, TINY, draw_classes


@pytest.fixture(scope="session")
def make_classifier(tmp_path_factory: pytest.TempPathFactory) -> MakeClassifier:
    """Writes what `class_by_hand` says as a file of `trainer export --features`."""
    onnx = pytest.importorskip("onnx")

    def made(classes: Sequence[str] = CLASSES, *, with_features: bool = True, **texts: str) -> Path:
        node, values = onnx.helper.make_node, onnx.TensorProto
        nodes = [
            node("Cast", ["images"], ["levels"], to=values.FLOAT),
            node("Div", ["levels", "white"], ["grey3"]),
            node("ReduceMean", ["grey3"], ["rows"], axes=[1, 3], keepdims=0),
            node("ReduceMean", ["grey3"], ["columns"], axes=[1, 2], keepdims=0),
            node("Concat", ["rows", "columns"], ["features"], axis=1),
            node("ReduceMin", ["rows"], ["row"], axes=[1], keepdims=1),
            node("ReduceMin", ["columns"], ["column"], axes=[1], keepdims=1),
            node("Mul", ["row", "zero"], ["nothing"]),
            node("Add", ["nothing", "limit"], ["neither"]),
            node("Concat", ["neither", "row", "column"], ["darkness"], axis=1),
            node("Mul", ["darkness", "steep"], ["logits"]),
            node("Softmax", ["logits"], ["probabilities"], axis=1),
        ]
        constants = {"white": 255.0, "zero": 0.0, "limit": 0.47, "steep": -100.0}
        outputs = [onnx.helper.make_tensor_value_info("probabilities", values.FLOAT, ["N", 3])]
        if with_features:
            outputs.append(onnx.helper.make_tensor_value_info("features", values.FLOAT, ["N", 32]))
        graph = onnx.helper.make_graph(
            nodes,
            "by-hand",
            [onnx.helper.make_tensor_value_info("images", values.UINT8, ["N", 3, 16, 16])],
            outputs,
            [onnx.helper.make_tensor(name, values.FLOAT, [1], [value]) for name, value in constants.items()],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        metadata = {
            "format": "sd-defects exported classifier",
            "format_version": "1",
            "classes": json.dumps(list(classes), ensure_ascii=False),
            "imgsz": "16",
            "model": "by hand",
            "checkpoint_sha256": "abc",
            **({"features": "features: float32 (N, 32)"} if with_features else {}),
            **texts,
        }
        onnx.helper.set_model_props(model, metadata)
        path = tmp_path_factory.mktemp("分类器") / "best.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return made


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and its data set, train/ and val/."""
    root = tmp_path_factory.mktemp("模型")
    draw_classes(root / "data" / "train", {"Normal": 6, "open": 6, "裂纹": 3})
    draw_classes(root / "data" / "val", {"Normal": 12, "open": 12, "裂纹": 9})
    # Files of the same bytes as learned ones are not held out: the first six are.
    train(
        root / "data" / "train",
        root / "model",
        make_config(network=TINY, steps=2, batch_size=4, threads=1, save_every=2, warmup_steps=1, flips=True),
        val=None,
        overwrite=False,
        progress=False,
    )
    return root / "model", root / "data"
