"""Weights that a training starts from."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sdcore.errors import SettingsError
from trainer.data.transforms import MEAN, STD
from trainer.errors import CheckpointError
from trainer.models.checkpoints import find_checkpoint
from trainer.models.initial_weights import freeze_backbone, load_initial_weights
from trainer.models.upstream_weights import is_allowed, read_upstream
from trainer.models.yolov5 import build_classifier

N = "yolov5n-cls"

# Run in a process of its own: the spelling of the released files needs modules under other names.
WRITE_UPSTREAM = """
import argparse, copy, pathlib, sys
import numpy, torch
from sdcore.optional_imports import import_torchvision
import_torchvision()
import yolov5.models.yolo as yolo
from yolov5.utils.augmentations import classify_transforms
torch.set_num_threads(1)
torch.manual_seed(0)
folder = pathlib.Path(sys.argv[1])
build = lambda: yolo.DetectionModel(str(pathlib.Path(yolo.__file__).with_name("yolov5n.yaml")), ch=3, nc=80)
def settle(model):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of what comes: else the signal dies out on its way, and all logits agree
            module.weight.data.uniform_(0.5, 1.5), module.bias.data.normal_(0, 0.2)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 64))
    return model.half().eval()
classifier = settle(yolo.ClassificationModel(model=build(), nc=3, cutoff=10))
classifier.names, classifier.transforms = ["a", "b", "c"], classify_transforms(64)
detector = settle(build())
grey = torch.rand(2, 3, 64, 64)
mean, std = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
whole = copy.deepcopy(classifier).float()
inner = copy.deepcopy(whole)
inner.model[0].conv.padding = (0, 0)
surrounded = torch.nn.functional.pad(grey, (2, 2, 2, 2), value=0.5)
with torch.no_grad():
    expected = {"images": grey, "logits": whole((grey - mean) / std), "inner": inner((surrounded - mean) / std)}
expected["state"] = {name: value.clone() for name, value in classifier.state_dict().items()}
expected["detector"] = {name: value.clone() for name, value in detector.state_dict().items()}
torch.save(expected, folder / "expected.pt")
def content(model, ema=None):
    opt = {"data": pathlib.PurePosixPath("x"), "save_dir": pathlib.Path("runs"), "more": argparse.Namespace(a=1)}
    return {"epoch": 3, "best_fitness": numpy.float64(0.5), "model": model, "ema": ema, "updates": 3,
            "optimizer": None, "opt": opt, "date": "2024-01-01", "curve": numpy.zeros(3)}
torch.save(content(classifier), folder / "package.pt")
torch.save(content(torch.nn.Linear(1, 1), classifier), folder / "ema.pt")
torch.save(content(classifier), folder / "legacy.pt", _use_new_zipfile_serialization=False)
for name in [name for name in sys.modules if name.startswith("yolov5.")]:
    module = sys.modules[name]
    sys.modules[name.removeprefix("yolov5.")] = module
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__.startswith("yolov5."):
            value.__module__ = value.__module__.removeprefix("yolov5.")
torch.save(content(classifier), folder / "released.pt")
torch.save(content(detector), folder / "detector.pt")
"""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that the real package wrote, and `expected.pt` with what it computes itself."""
    folder = tmp_path_factory.mktemp("upstream")
    done = subprocess.run(
        [sys.executable, "-c", WRITE_UPSTREAM, str(folder)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true"},
    )
    assert (folder / "detector.pt").is_file(), done.stderr
    return folder


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that no test may bring into being."""
    return tmp_path / "fired"


def write_archive(path: Path, content: bytes, members: dict[str, bytes] | None = None, **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        archive.writestr("archive/data.pkl", content)
        for name, data in (members or {}).items():
            archive.writestr(f"archive/{name}", data)
    return path


@pytest.mark.parametrize(("name", "spelling"), [("package", b"yolov5.models.yolo"), ("released", b"\nClassify\n")])
def test_both_spellings_give_the_originals_values(upstream: Path, name: str, spelling: bytes) -> None:
    with zipfile.ZipFile(upstream / f"{name}.pt") as archive:
        pickled = archive.read(f"{name}/data.pkl")
    assert spelling in pickled
    assert (b"cyolov5.models" in pickled) == (name == "package")
    weights = read_upstream(upstream / f"{name}.pt")
    assert weights is not None
    assert (weights.kind, weights.classes) == ("classifier", ("a", "b", "c"))
    assert weights.mean == pytest.approx((0.485, 0.456, 0.406))
    assert weights.std == pytest.approx((0.229, 0.224, 0.225))
    expected = torch.load(upstream / "expected.pt", weights_only=True)["state"]
    assert weights.state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(weights.state[key], value.float() if value.is_floating_point() else value), key


def test_the_network_computes_upstreams_logits_but_for_the_border(upstream: Path) -> None:
    expected = torch.load(upstream / "expected.pt", weights_only=True)
    network = build_classifier(N, 3)
    started = load_initial_weights(network, upstream / "released.pt", model=N, classes=("a", "b", "c"))
    assert started.missing == started.left == ()
    images = (expected["images"] - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        logits = network.eval()(images)
    torch.testing.assert_close(logits, expected["inner"], atol=1e-4, rtol=0)
    border = (logits - expected["logits"]).abs().max()
    spread = (expected["logits"][0] - expected["logits"][1]).abs().max()
    assert 1e-3 < border < spread, (border, spread)


def test_the_averaged_model_is_preferred(upstream: Path) -> None:
    weights = read_upstream(upstream / "ema.pt")
    assert weights is not None
    assert len(weights.state) > 100


def test_the_head_is_fresh_for_other_classes_and_that_is_reported(upstream: Path) -> None:
    network = build_classifier(N, 7)
    fresh = network.state_dict()["model.9.linear.weight"].clone()
    started = load_initial_weights(network, upstream / "package.pt", model=N, classes=tuple("abcdefg"))
    assert torch.equal(network.state_dict()["model.9.linear.weight"], fresh)
    assert started.missing == started.left == ("model.9.linear.weight", "model.9.linear.bias")
    assert started.model_guess == N
    assert started.line == (
        "took 192 of 194 tensors from a YOLOv5 classifier, 2 of the file left: head fresh for 7 classes; "
        "first layer changed to our normalisation"
    )
    network = build_classifier(N, 3)
    load_initial_weights(network, upstream / "package.pt", model=N, classes=("a", "c", "b"))
    expected = torch.load(upstream / "expected.pt", weights_only=True)["state"]["model.9.linear.weight"].float()
    assert not torch.equal(network.state_dict()["model.9.linear.weight"], expected)


def test_a_detector_gives_its_backbone(upstream: Path) -> None:
    network = build_classifier(N, 2)
    started = load_initial_weights(network, upstream / "detector.pt", model=N, classes=("a", "b"))
    assert started.kind == "detector"
    assert {name.split(".")[1] for name in started.taken} == {str(layer) for layer in range(9)}
    assert all(name.startswith("model.9.") for name in started.missing)
    expected = torch.load(upstream / "expected.pt", weights_only=True)["detector"]
    state = network.state_dict()
    assert all(
        torch.equal(state[name], expected[name].to(state[name].dtype))
        for name in started.taken
        if name not in ("model.0.conv.weight", "model.0.bn.running_mean")
    )
    # A detector is fed images in [0, 1].
    torch.testing.assert_close(state["model.0.conv.weight"], expected["model.0.conv.weight"].float() * 0.25)


def test_another_size_names_the_model_that_fits(upstream: Path) -> None:
    network = build_classifier("yolov5s-cls", 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"weights of yolov5n-cls, asked to train yolov5s-cls; add --model yolov5n"
    ):
        load_initial_weights(network, upstream / "package.pt", model="yolov5s-cls", classes=("a", "b", "c"))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_name_of_a_release_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none is downloaded.*releases/tag/v7\.0"):
        find_checkpoint(Path("yolov5l-cls.pt"))
    with pytest.raises(CheckpointError, match="expected a run that"):
        find_checkpoint(tmp_path / "mine.pt")


def test_the_format_before_zip_is_refused_in_words(upstream: Path) -> None:
    with pytest.raises(CheckpointError, match=r"torch before 1\.6"):
        read_upstream(upstream / "legacy.pt")


@pytest.mark.parametrize("kept", [0, 10, 5000, -200])
def test_an_upstream_file_cut_short_is_damaged(upstream: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "cut.pt").write_bytes((upstream / "package.pt").read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.pt: damaged or no checkpoint"):
        read_upstream(tmp_path / "cut.pt")


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def touch(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def hostile(canary: Path) -> dict[str, bytes]:
    """Pickles that create the canary when they are loaded by Python."""
    code = touch(canary)
    text = code.encode()
    return {
        "os.system": pickle.dumps({"model": Calls(os.system, f'{sys.executable} -c "{code}"')}, 2),
        "builtins.exec": pickle.dumps({"model": Calls(exec, code)}, 4),
        "__builtin__.eval": pickle.dumps({"model": Calls(eval, code)}, 2),
        "__builtin__.getattr": b"\x80\x02c__builtin__\ngetattr\n"
        b"c__builtin__\n__import__\nU\x02os\x85RU\x06system\x86R.",
        "system by its other name": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.",
        "memo": b"\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x94\x93\x940h\x02\x58"
        + len(text).to_bytes(4, "little")
        + text
        + b"\x85R.",
        "in a tensor": pickle.dumps(Calls(torch._utils._rebuild_parameter, Calls(exec, code), True, {}), 2),
        "dotted": b"\x80\x04\x8c\x0emodels.common\x8c\x14Conv.__init__.__class__\x93)R.",
        "extension": b"\x80\x02\x82\x01.",
        "instance": b"\x80\x02(c__builtin__\nexec\nX" + len(text).to_bytes(4, "little") + text + b"o.",
    }


KINDS = sorted(hostile(Path("x")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_pickle_is_refused_and_never_runs(tmp_path: Path, canary: Path, kind: str) -> None:
    content = hostile(canary)[kind]
    path = write_archive(tmp_path / "bad.pt", content)
    with pytest.raises(CheckpointError, match=r"bad\.pt: refused, nothing in it was run") as refusal:
        load_initial_weights(nn.Linear(1, 1), path, model=N, classes=("a",))
    if "." in kind and " " not in kind:
        assert "names" in str(refusal.value)
    assert not canary.exists()


def test_the_canary_would_fire(canary: Path) -> None:
    pickle.loads(hostile(canary)["memo"])
    assert canary.exists()


def test_the_refusal_names_the_class(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "bad.pt", b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.")
    with pytest.raises(CheckpointError, match=r"it names posix\.system"):
        read_upstream(path)


def test_a_state_put_into_an_allowed_class_reaches_nothing(tmp_path: Path) -> None:
    conv = b"cmodels.common\nConv\n"
    for build in (conv + b"}X\x03\x00\x00\x00abcNsb.", conv + b")R}b}b."):
        with pytest.raises(CheckpointError, match="puts a state into what has none"):
            read_upstream(write_archive(tmp_path / "bad.pt", b"\x80\x02" + build))


def storage(kind: str, key: str, count: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A model of one module with one tensor of such a declaration."""

    class Reference:
        pass

    class Writer(pickle.Pickler):
        def persistent_id(self, value: object) -> Any:
            return ("storage", getattr(torch, kind), key, "cpu", count) if isinstance(value, Reference) else None

    tensor = Calls(torch._utils._rebuild_tensor_v2, Reference(), offset, shape, stride, False, {})
    buffer = io.BytesIO()
    Writer(buffer, 2).dump({"_parameters": {"weight": tensor}, "_buffers": {}, "_modules": {}})
    state = buffer.getvalue()[2:-1]
    return b"\x80\x02}X\x05\x00\x00\x00modelcmodels.yolo\nClassificationModel\n)\x81" + state + b"bs."


HUGE = 2**40


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (("FloatStorage", "0", 4, (2, 3), (3, 1)), r"is outside its 4 numbers"),
        (("FloatStorage", "0", 4, (2, 2), (2, 1), 1), r"is outside"),
        (("FloatStorage", "0", 4, (HUGE,), (0,)), r"is outside"),
        (("FloatStorage", "0", 4, (2,), (-1,)), r"an invalid shape"),
        (("FloatStorage", "0", 4, (2, 2), (1,)), r"damaged|none"),
        (("FloatStorage", "0", HUGE, (4,), (1,)), r"holds 4 numbers, 1099511627776 are declared"),
        (("DoubleStorage", "0", 4, (4,), (1,)), r"holds 2 numbers, 4 are declared"),
        (("FloatStorage", "../0", 4, (4,), (1,)), r"under an invalid name"),
        (("FloatStorage", "7", 4, (4,), (1,)), r"data/7 is missing"),
        (("ComplexFloatStorage", "0", 2, (2,), (1,)), r"names torch\.ComplexFloatStorage"),
    ],
)
def test_a_tensor_that_lies_about_its_size_is_refused(tmp_path: Path, declared: tuple[Any, ...], words: str) -> None:
    path = write_archive(tmp_path / "bad.pt", storage(*declared), {"data/0": bytes(16)})
    with pytest.raises(CheckpointError, match=words):
        read_upstream(path)


def test_an_honest_tensor_is_read_and_a_compressed_one_is_not(tmp_path: Path) -> None:
    numbers = torch.arange(4.0)
    content = storage("FloatStorage", "0", 4, (2, 2), (1, 2))
    weights = read_upstream(write_archive(tmp_path / "good.pt", content, {"data/0": numbers.numpy().tobytes()}))
    assert weights is not None
    assert torch.equal(weights.state["weight"], numbers.view(2, 2).T)
    bomb = write_archive(tmp_path / "bomb.pt", content, {"data/0": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed"):
        read_upstream(bomb)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged|no end|exhausted"),
        (b"\x80\x02N.", "no YOLOv5 model"),
        (b"\x80\x02}.", "no YOLOv5 model"),
        (b"\x80\x02R.", "takes more than was put"),
        (b"\x80\x02(t.", "no YOLOv5 model"),
        (b"\x80\x02}))s.", "key that is no plain value"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02N", "damaged|no end"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.", "damaged"),
    ],
)
def test_a_malformed_pickle_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_upstream(write_archive(tmp_path / "bad.pt", content))


def test_a_module_inside_itself_is_refused(tmp_path: Path) -> None:
    content = (
        b"\x80\x02cmodels.yolo\nClassificationModel\n)\x81q\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb."
    )
    with pytest.raises(CheckpointError, match="malformed"):
        read_upstream(write_archive(tmp_path / "bad.pt", content))


def test_paths_of_other_systems_are_allowed_and_functions_are_not() -> None:
    assert is_allowed("pathlib", "PosixPath")
    assert is_allowed("pathlib", "WindowsPath")
    assert is_allowed("yolov5.models.common", "Conv")
    assert not is_allowed("models.common", "os")
    assert not is_allowed("yolov5.yolov5.models.common", "system")
    assert not is_allowed("builtins", "getattr")


def test_weights_that_are_no_numbers_are_refused(upstream: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(upstream / "package.pt") as old, zipfile.ZipFile(tmp_path / "nan.pt", "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, b"\xff" * len(data) if info.filename.endswith("/data/0") else data)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        load_initial_weights(build_classifier(N, 2), tmp_path / "nan.pt", model=N, classes=("a", "b"))


def test_a_former_run_is_a_start_as_file_and_as_folder(trained_run: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained_run[0] / "best.pt", run / "best.pt")
    for path in (run, run / "best.pt"):
        started = load_initial_weights(build_classifier(N, 2), path, model=N, classes=("Normal", "划痕"))
        assert started.line == "took 194 of 194 tensors from a former run: head kept, the classes are the same"
    assert load_initial_weights(build_classifier(N, 2), run, model=N, classes=("划痕", "Normal")).note == (
        "head fresh for 2 classes"
    )


def test_frozen_layers_keep_their_weights_and_statistics_while_the_others_learn() -> None:
    torch.manual_seed(0)
    network = build_classifier(N, 2)
    freeze_backbone(network, 9)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learn = [one for one in network.parameters() if one.requires_grad]
    optimizer = torch.optim.SGD(learn, lr=0.1)
    network.train()
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert changed
    assert all(name.startswith("model.9.") for name in changed)
    assert "model.9.conv.bn.running_mean" in changed


def test_no_layer_frozen_leaves_all_to_learn_and_too_many_are_refused() -> None:
    network = build_classifier(N, 2)
    freeze_backbone(network, 0)
    assert all(one.requires_grad for one in network.parameters())
    for layers in (-1, 10):
        with pytest.raises(SettingsError, match=rf"freeze: {layers} layers; expected 0 to 9"):
            freeze_backbone(network, layers)
