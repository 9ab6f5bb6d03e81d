"""Seed each bug of ``seeded.py`` into a copy of the sources and see that its tests catch it.

    python tests/mutations/mutations.py                        # all: the time and the test that caught it
    python tests/mutations/mutations.py --only "KL direction"  # one

The working tree is never changed: ``harness`` and ``plugins`` are copied, and the copies stand first on
the path of the pytest that is started. A bug counts as caught where a test fails by an assertion; an
import error or an exception on the way says nothing about what tests check, and is an error here.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parent))

from seeded import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
ASSERTIONS = ("assert ", "AssertionError", "Failed: DID NOT RAISE")
CRASH = re.compile(r"\b(?!AssertionError)[A-Z]\w*Error: ")
"""An exception in an evaluator becomes a failed result, which tests meet by asserting its status."""

PYTEST = "-x -q -p no:cacheprovider -p no:randomly -p no:xdist --tb=short"
LIMIT_S = 280


class MutationError(Exception):
    """The mutation or its run is broken, so that nothing can be said about the tests."""


@dataclass(frozen=True)
class Outcome:
    """How many tests passed, and the first failure: the test and its message."""

    passed: int
    failed: str | None
    message: str
    seconds: float


def mutated(mutation: Mutation, root: Path = ROOT) -> str:
    """The text of the file with the bug in it."""
    text = (root / mutation.file).read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        message = (
            f"{mutation.name!r}: its old text stands {text.count(mutation.old)} times in {mutation.file}, "
            "not once: the code moved, so update the mutation in tests/mutations/seeded.py"
        )
        raise MutationError(message)
    return text.replace(mutation.old, mutation.new)


class Copy:
    """A copy of the sources that tests of the working tree can be run against."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("harness", "plugins"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        self._require_that_the_copy_is_imported()

    @contextmanager
    def seeded(self, mutation: Mutation) -> Iterator[None]:
        """The copy with a bug, until the block ends."""
        path = self.folder / mutation.file
        whole, broken = path.read_text(encoding="utf-8"), mutated(mutation, self.folder)
        path.write_text(broken, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(whole, encoding="utf-8")

    def run(self, tests: Sequence[str]) -> Outcome:
        """Run some tests against the copy; what is no failed assertion raises ``MutationError``."""
        report, start = self.folder / "report.xml", time.monotonic()
        report.unlink(missing_ok=True)
        done = self._python("-m", "pytest", *PYTEST.split(), f"--junitxml={report}", *tests)
        seconds = time.monotonic() - start
        if done.returncode not in {0, 1} or not report.exists():
            message = f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            raise MutationError(message)
        cases = list(ET.parse(report).iter("testcase"))
        for case in cases:
            found = case.find("failure")
            text = "" if found is None else found.get("message", "")
            crashed = found is not None and (not text.startswith(ASSERTIONS) or CRASH.search(text))
            if case.find("error") is not None or crashed:
                message = f"{case.get('name')} ended with an error, not with an assertion:\n{done.stdout}"
                raise MutationError(message)
            if found is not None:
                return Outcome(len(cases) - 1, case.get("name"), text, seconds)
        if not cases or done.returncode:
            message = f"no test was run:\n{done.stdout}{done.stderr}"
            raise MutationError(message)
        return Outcome(len(cases), None, "", seconds)

    def _require_that_the_copy_is_imported(self) -> None:
        code = "import darkmatter, darkmatter_plugins as p; print(darkmatter.__file__, p.__file__, sep='\\n')"
        files = self._python("-c", code).stdout.split()
        if len(files) != 2 or not all(Path(file).is_relative_to(self.folder.resolve()) for file in files):
            message = f"tests would not run against the copy but against {files}"
            raise MutationError(message)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        paths = [str(self.folder.resolve() / part) for part in ("harness", "plugins")]
        # Bytecode is told apart by size and second alone: a mutation may change neither.
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env={**kept, **settings, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip


def main() -> int:
    """Run the mutations and print who caught them; 1 where one survives or cannot be run."""
    parser = argparse.ArgumentParser(description="Seed bugs into a copy and see that tests catch them.")
    parser.add_argument("--only", metavar="NAME", help="one of: " + ", ".join(m.name for m in MUTATIONS))
    only = parser.parse_args().only
    chosen = [each for each in MUTATIONS if only in {None, each.name}]
    if not chosen:
        parser.error(f"no mutation is called {only!r}")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        untouched = copy.run(sorted({test for each in chosen for test in each.tests}))
        bad += untouched.failed is not None
        print(f"{'untouched copy':36} {untouched.seconds:5.1f} s  {untouched.failed or 'all pass'}")
        for each in chosen:
            try:
                with copy.seeded(each):
                    outcome = copy.run(each.tests)
            except MutationError as error:
                outcome = Outcome(0, None, str(error), 0.0)
            bad += outcome.failed is None
            shown = outcome.failed or f"SURVIVES {outcome.message}"
            print(f"{each.name:36} {outcome.seconds:5.1f} s  {shown}", flush=True)
            if outcome.failed:
                print(f"{'':46}{outcome.message.splitlines()[0][:120]}", flush=True)
    print(f"{len(chosen)} bugs, {bad} of them not caught" if bad else f"{len(chosen)} bugs, all caught")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
