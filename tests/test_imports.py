"""Which module may import which; read from the source, so that nothing has to be installed.

Counted is every import of a file: at its top, inside functions and under `TYPE_CHECKING`.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "sdcore": (
        "errors",
        "files messages optional_imports",
        "progress images torch_runtime",
        "annotations cli diffusion_model onnx_classifier pages web",
    ),
    "sdclient": (
        "errors",
        "infotext manifest",
        "models sources",
        "loras plan masks",
        "client serve output export",
        "curate",
        "batch review testing",
        "probe cluster compose",
        "contact_sheets",
        "cli",
    ),
    "trainer": (
        "errors",
        "config words_reports words_findings",
        "run_files processes",
        "data",
        "models",
        "messages",
        "evaluation tasks",
        "training",
        "experiment",
        "report",
        "cli",
    ),
    "generator": ("errors", "config user_images", "diffusion lora", "report", "cli"),
}
"""The rooms of each package, from the lowest floor up: a room imports from floors below its own, or from itself."""
BELOW = {
    "sdcore": set(),
    "sdclient": {"sdcore"},
    "trainer": {"sdcore", "sdclient"},  # of sdclient the manifest alone
    "generator": {"sdcore"},
}
FILES = sorted(path for package in FLOORS for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def module_of(path: Path) -> str:
    """Dotted name of a file; a package's is that of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Absolute dotted names of everything a file imports: modules, and what is taken out of them."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            found.update(f"{stem}.{alias.name}" for alias in node.names)
    return frozenset(found)


def imported_modules(path: Path) -> set[str]:
    """The modules of ours that a file imports; a name out of a module counts as the module."""
    named = {name if name in MODULES else name.rpartition(".")[0] for name in imported_names(path)}
    return (named & MODULES.keys()) - {module_of(path)}


def room_of(module: str) -> str:
    """The file or folder directly below the package that a module is in; "" for the package itself."""
    return ".".join(module.split(".")[1:2])


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=names)
def test_imports_between_the_packages_run_one_way(path: Path) -> None:
    package = module_of(path).split(".")[0]
    foreign = {name.split(".")[0] for name in imported_names(path)} & (FLOORS.keys() - {package})
    assert foreign <= BELOW[package]
    if package == "trainer":
        assert {room_of(name) for name in imported_names(path) if name.split(".")[0] == "sdclient"} <= {"manifest"}


@pytest.mark.parametrize("path", FILES, ids=names)
def test_imports_within_a_package_run_downwards(path: Path) -> None:
    module = module_of(path)
    package, room = module.split(".")[0], room_of(module)
    if room in ("", "__main__"):
        return  # the package's face, and what `python -m` starts
    floor_of = {name: floor for floor, names in enumerate(FLOORS[package]) for name in names.split()}
    for other in imported_modules(path):
        if other.split(".")[0] == package and room_of(other) not in (room, ""):
            assert floor_of[room_of(other)] < floor_of[room], f"{module} imports {other}"


def test_no_imports_go_in_a_circle() -> None:
    graph = {module: imported_modules(path) for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    rooms = {room_of(module) for module in MODULES if module.split(".")[0] == package} - {"", "__main__"}
    assert rooms == {room for floor in FLOORS[package] for room in floor.split()}


@pytest.mark.parametrize("package", FLOORS)
def test_every_package_is_shipped(package: str) -> None:
    wheel = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.hatch.build.targets.wheel]")[2]
    assert f'"{package}"' in wheel.partition("]")[0]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=names)
def test_no_folder_has_more_than_15_modules(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 15


@pytest.mark.parametrize(
    ("library", "door"),
    [
        ("yolov5", {"trainer.models.yolov5"}),
        ("diffusers", {"sdcore.optional_imports", "sdclient.serve.denoiser"}),
        ("torchvision", {"sdcore.optional_imports", "trainer.models.yolov5"}),
        ("requests", {"sdclient.client.transport"}),
    ],
)
def test_one_file_knows_a_library(library: str, door: set[str]) -> None:
    known = {m for m, path in MODULES.items() if library in {name.split(".")[0] for name in imported_names(path)}}
    assert known <= door


def test_what_runs_on_a_node_knows_no_ray() -> None:
    assert "ray" not in {name.split(".")[0] for name in imported_names(MODULES["sdclient.cluster.worker"])}


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name != "cli"], ids=names)
def test_logic_never_imports_the_command_line(path: Path) -> None:
    if names(path) not in ("sdcore/cli.py",) and path.name != "__main__.py":
        assert not {name for name in imported_names(path) if name.split(".")[0] == "click" or ".cli." in f"{name}."}


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "manifest"], ids=names)
def test_the_manifest_needs_the_standard_library_and_files_alone(path: Path) -> None:
    ours = {name for name in imported_modules(path) if not name.startswith("sdclient.manifest")}
    assert ours <= {"sdclient.errors", "sdcore.files", "sdcore.errors"}


@pytest.mark.parametrize("path", TESTS, ids=names)
def test_no_test_imports_a_test_or_a_conftest(path: Path) -> None:
    of_tests = {name for name in imported_names(path) if name.split(".")[0] == "tests"}
    assert {name for name in of_tests if not name.startswith("tests.support.")} <= {"tests.support"}
