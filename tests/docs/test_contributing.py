"""CONTRIBUTING.md's worked example of a new format is true: one file, one golden sample, no other edit."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darkmatter.sae.load import load_sae
from darkmatter.testing import check_adapter
from darkmatter_plugins import adapters

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
NAME = "tied_dictionary"
BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILES = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """The folder that the recipe on the page writes, run as the page says."""
    folder = tmp_path_factory.mktemp("golden")
    for name in ("_common.py", "make_golden.py"):
        shutil.copy(GOLDEN / name, folder)
    (folder / f"_{NAME}.py").write_text(FILES[f"tests/golden/_{NAME}.py"], encoding="utf-8")
    command = [sys.executable, "make_golden.py", "--library", NAME, "--out", "samples"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "samples"


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Every built-in adapter by name, with the page's file in their folder."""
    module = f"{adapters.__name__}.{NAME}"
    code = FILES[f"plugins/darkmatter_plugins/adapters/{NAME}.py"]
    (tmp_path / f"{NAME}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    yield {adapter.name: adapter for adapter in adapters._found()}
    sys.modules.pop(module, None)
    vars(adapters).pop(NAME, None)


def test_the_one_file_is_found_and_reads_the_sample(found, samples):
    """Among all adapters the new one alone claims its files, without being named anywhere."""
    sae = load_sae(samples / NAME / "jumprelu" / "sae", adapters=found)
    assert sae.metadata.format == NAME
    assert (sae.d_in, sae.d_sae, sae.hook_in) == (12, 24, "blocks.3.hook_resid_post")


def test_the_example_conforms(found, samples):
    """Codes and reconstructions are those of the sample, and every damage of its files is named."""
    assert check_adapter(found[NAME], [samples / NAME / "jumprelu"]) == ()


def test_the_example_stands_in_the_table(found, samples):
    """The page of formats takes it up from the adapter and the sample."""
    spec = importlib.util.spec_from_file_location("make_formats", ROOT / "docs" / "make_formats.py")
    make_formats = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = make_formats
    spec.loader.exec_module(make_formats)
    page = make_formats.page(list(found.values()), samples)
    assert (
        "| [tied_dictionary](#tied_dictionary)<br>Tied dictionary "
        "| `dictionary.json`<br>`dictionary.safetensors` | jumprelu "
        "| 1 sample written and evaluated by tied-dictionaries 1.0<br>not verified on a published file |"
    ) in page
    assert "- Atoms are not of length 1, and a code is not scaled by their norms.\n" in page
    assert "Overrides that help: `bos`." in page


CONFTEST = """
from pathlib import Path

import darkmatter_plugins
from darkmatter_plugins import adapters

adapters.__path__.append(str(Path(__file__).parent / "new"))
darkmatter_plugins.ADAPTERS = adapters.ADAPTERS = adapters._found()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes long")
"""


def test_the_general_tests_take_it_up(tmp_path, samples):
    """The tests of golden samples and of conformance, as they stand, run over the new adapter and sample."""
    below = Path("darkmatter_plugins", "adapters")
    shutil.copytree(ROOT / "tests" / below, tmp_path / "tests" / below)
    shutil.copytree(samples, tmp_path / "tests" / "golden" / "samples")
    (tmp_path / "new").mkdir()
    code = FILES[f"plugins/darkmatter_plugins/adapters/{NAME}.py"]
    (tmp_path / "new" / f"{NAME}.py").write_text(code, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    tests = [str(Path("tests", below, name)) for name in ("test_golden_files.py", "test_conformance.py")]
    options = ["-k", NAME, "-v", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [sys.executable, "-m", "pytest", *tests, *options]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    passed = re.findall(r"::(\w+)\[\S+\] PASSED", done.stdout)
    assert {
        "test_codes_and_reconstruction_are_those_of_the_library",
        "test_what_the_files_record_is_found",
        "test_built_in_adapters_conform",
    } <= set(passed), done.stdout
    assert done.returncode == 0, done.stdout
