"""What is published: the source distribution builds the wheel, and either carries all that its user needs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import dflow

ROOT = Path(__file__).resolve().parents[1]
VERSION = dflow.__version__

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel that was built from it, not from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


def outside(**more: str) -> dict[str, str]:
    """This environment without what points into the checkout."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return kept | more


def test_both_distributions_bear_the_version(built):
    assert sorted(path.name for path in built.iterdir()) == [
        f"dflow_cad-{VERSION}-py3-none-any.whl",
        f"dflow_cad-{VERSION}.tar.gz",
    ]


def test_the_source_distribution_holds_every_file_that_the_suite_and_the_docs_need(built):
    with tarfile.open(built / f"dflow_cad-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {
        path.relative_to(ROOT).as_posix()
        for folder in ("dflow", "tests", "docs", "cluster", "notebooks")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    }
    tops = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "mkdocs.yml", "pyproject.toml"}
    assert tracked | tops <= names


def test_the_wheel_is_the_package_its_cluster_files_and_its_licence_and_nothing_else(built):
    with zipfile.ZipFile(built / f"dflow_cad-{VERSION}-py3-none-any.whl") as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {"dflow", f"dflow_cad-{VERSION}.dist-info"}
    assert {"dflow/py.typed", "dflow/_cluster/jobqueue.yaml", "dflow/insights/static/part_view.js"} <= names
    assert f"dflow_cad-{VERSION}.dist-info/licenses/LICENSE" in names


def test_the_wheel_runs_the_demo_in_an_environment_of_its_own(built, tmp_path):
    """Only the wheel is installed there; its dependencies are read from where they are installed already."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    wheel = built / f"dflow_cad-{VERSION}-py3-none-any.whl"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home)}))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

    demo = [str(home / "bin" / "dflow"), "demo", "--parts", "12", "--workers", "2"]
    run = subprocess.run(demo, cwd=tmp_path, env=outside(), capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    assert "12 STEP files" in run.stdout
    assert (tmp_path / "demo_output/flows/demo/demo.dataset").is_dir()

    where = subprocess.run(
        [str(python), "-c", "import dflow; print(dflow.__file__)"],
        cwd=tmp_path, env=outside(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(home)
