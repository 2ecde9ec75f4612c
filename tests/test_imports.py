"""Which module may import which; read from the source, so that nothing has to be installed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("sdcore", "sdclient", "trainer", "generator")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAY_IMPORT = {
    "sdcore": set(),
    "sdclient": {"sdcore"},
    "trainer": {"sdcore", "sdclient"},  # of sdclient the manifest alone
    "generator": {"sdcore"},
}


LOGIC = [path for path in MODULES if "cli" not in path.relative_to(ROOT).with_suffix("").parts]


def imported_modules(path: Path) -> set[str]:
    """Absolute names of everything a file imports, anywhere in it."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            found.add(stem)
            found.update(f"{stem}.{alias.name}" for alias in node.names)
    return found


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_imports_between_the_packages_run_one_way(path: Path) -> None:
    imported = imported_modules(path)
    package = path.relative_to(ROOT).parts[0]
    foreign = {name.split(".")[0] for name in imported} & (set(PACKAGES) - {package})
    assert foreign <= MAY_IMPORT[package]
    if package == "trainer":
        of_sdclient = {name for name in imported if name.startswith("sdclient.")}
        assert all(name.startswith("sdclient.manifest") for name in of_sdclient)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_shipped(package: str) -> None:
    wheel = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.hatch.build.targets.wheel]")[2]
    assert f'"{package}"' in wheel.partition("]")[0]


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_only_one_file_knows_yolov5(path: Path) -> None:
    if names(path) != "trainer/models/yolov5.py":
        assert not {name for name in imported_modules(path) if name.split(".")[0] == "yolov5"}


@pytest.mark.parametrize(
    "path", [p for p in MODULES if "cli" not in p.relative_to(ROOT).with_suffix("").parts], ids=names
)
def test_logic_never_imports_the_command_line(path: Path) -> None:
    imported = imported_modules(path)
    if path.name != "__main__.py":
        assert not {name for name in imported if name.split(".")[0] == "click" or ".cli." in f"{name}."}


@pytest.mark.parametrize("name", ["errors.py", "manifest.py"])
def test_the_foundations_import_nothing_heavy(name: str) -> None:
    allowed = {
        "errors",
        "__future__",
        "json",
        "sqlite3",
        "collections",
        "contextlib",
        "dataclasses",
        "pathlib",
        "types",
        "typing",
        "sdcore",
    }
    imported = imported_modules(ROOT / "sdclient" / name)
    assert {n.removeprefix("sdclient.").split(".")[0] for n in imported} <= allowed


def test_everything_is_a_known_package() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("path", TESTS, ids=names)
def test_no_test_imports_a_test_or_a_conftest(path: Path) -> None:
    of_tests = {name for name in imported_modules(path) if name.split(".")[0] == "tests"}
    assert {name for name in of_tests if name != "tests.support" and not name.startswith("tests.support.")} == set()
