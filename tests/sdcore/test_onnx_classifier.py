from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdcore.errors import ModelFileError, SettingsError
from sdcore.onnx_classifier import OnnxClassifier, first_words, require_finite

onnx = pytest.importorskip("onnx")


def write_classifier(path: Path, **texts: str) -> Path:
    """Two classes: how bright an image is, and how dark."""
    node, values = onnx.helper.make_node, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [
            node("Cast", ["images"], ["levels"], to=values.FLOAT),
            node("Div", ["levels", "white"], ["grey"]),
            node("ReduceMean", ["grey"], ["light"], axes=[1, 2, 3], keepdims=0),
            node("Reshape", ["light", "column"], ["bright"]),
            node("Sub", ["one", "bright"], ["dark"]),
            node("Concat", ["bright", "dark"], ["probabilities"], axis=1),
        ],
        "by-hand",
        [onnx.helper.make_tensor_value_info("images", values.UINT8, ["N", 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("probabilities", values.FLOAT, ["N", 2])],
        [
            onnx.helper.make_tensor("white", values.FLOAT, [1], [255.0]),
            onnx.helper.make_tensor("one", values.FLOAT, [1], [1.0]),
            onnx.helper.make_tensor("column", values.INT64, [2], [-1, 1]),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    own = {
        "format": "sd-defects exported classifier",
        "format_version": "1",
        "classes": '["bright", "暗"]',
        "imgsz": "8",
        "model": "by hand",
        "checkpoint_sha256": "abc",
    }
    onnx.helper.set_model_props(model, {**own, **texts})
    path.write_bytes(model.SerializeToString())
    return path


def test_probabilities_are_those_of_the_file(tmp_path: Path) -> None:
    classifier = OnnxClassifier(write_classifier(tmp_path / "分类器.onnx"))
    assert (classifier.classes, classifier.imgsz) == (("bright", "暗"), 8)
    images = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    images[1] = 255
    answer = classifier.predict(images)
    assert answer.probabilities.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert answer.features is None


def test_the_operating_point_is_kept_as_plain_values(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "a.onnx", operating_point='{"normal": "bright", "cut": 0.5}')
    assert OnnxClassifier(path).metadata.operating_point == {"normal": "bright", "cut": 0.5}
    assert OnnxClassifier(write_classifier(tmp_path / "b.onnx")).metadata.operating_point is None


def test_what_the_file_cannot_do_is_refused_in_words(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "a.onnx")
    with pytest.raises(SettingsError, match="gives probabilities alone"):
        OnnxClassifier(path, with_features=True)
    with pytest.raises(SettingsError, match="run on the CPU"):
        OnnxClassifier(path, device="cuda")
    with pytest.raises(ModelFileError, match="fails on images"):
        OnnxClassifier(path).predict(np.zeros((1, 3, 9, 9), dtype=np.uint8))
    with pytest.raises(ModelFileError, match=r"give no numbers \(nan\)"):
        require_finite(np.array([[np.nan, 1.0]]), path)


def test_a_foreign_error_is_one_line() -> None:
    assert first_words(ValueError("\n  first \nsecond")) == "first"
    assert first_words(ValueError()) == "ValueError"


def test_prediction_loads_no_torch() -> None:
    code = "import sys, sdcore.onnx_classifier; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
