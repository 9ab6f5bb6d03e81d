"""The action and the workflow examples: what is unsafe is absent, and their shell steps work."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result, sample_units

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "docs" / "workflows").glob("*.yml"))
WORKFLOWS = [*EXAMPLES, *sorted((ROOT / ".github" / "workflows").glob("*.yml"))]
FILES = [ROOT / "action.yml", *WORKFLOWS]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the steps are written for bash")


def steps(path):
    """Every step of a workflow or of a composite action."""
    content = yaml.safe_load(path.read_text())
    jobs = content["jobs"].values() if "jobs" in content else [content["runs"]]
    return [step for job in jobs for step in job["steps"]]


def script(path, name):
    """The shell script of the step of that name."""
    return next(step["run"] for step in steps(path) if step.get("name") == name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_expression_stands_in_a_script(path):
    """Text from outside reaches shells as variables; inside a script it would be run."""
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path):
    """A tag can be moved to other code; a commit cannot."""
    used = [step["uses"] for step in steps(path) if "uses" in step]

    assert used
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_is_permitted_but_what_a_job_names(path):
    """The token starts with no permission, and only the comment may write."""
    content = yaml.safe_load(path.read_text())
    granted = [job["permissions"] for job in content["jobs"].values()]
    writes = {name for rights in granted for name, right in rights.items() if right == "write"}

    assert content["permissions"] == {}
    assert writes == ({"pull-requests"} if path.name == "leaderboard-comment.yml" else set())


def test_checkouts_keep_no_credentials():
    """No later step finds a token in the checkout."""
    kept = [
        (path.name, step)
        for path in FILES
        for step in steps(path)
        if step.get("uses", "").startswith("actions/checkout@")
        and step["with"].get("persist-credentials") is not False
    ]
    assert kept == []


def test_the_submission_is_only_read():
    """Nothing is installed or run from the pull request, and the comment checks out nothing."""
    submission, comment = (
        ROOT / "docs/workflows/leaderboard-submission.yml",
        ROOT / "docs/workflows/leaderboard-comment.yml",
    )
    lines = [line for step in steps(submission) for line in step.get("run", "").splitlines()]
    naming = [line.strip() for line in lines if "submission" in line]

    assert naming == [
        '"$RUNNER_TEMP/darkmatter/bin/darkmatter" leaderboard check submission/results --base "$BASE" \\'
    ]
    assert not [line for line in lines if line.strip().startswith("cd ")]
    assert [step.get("uses", "").split("@")[0] for step in steps(comment)] == [
        "actions/download-artifact",
        "",
    ]
    assert "pull_request_target" not in submission.read_text() + comment.read_text()


def test_the_manual_lists_the_inputs_and_their_defaults():
    """docs/ci.md names every input of the action, and every default that is short enough for its table."""
    page = (ROOT / "docs" / "ci.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    listed = {name: row[3].strip(" `") for row in rows for name in re.findall(r"`([\w-]+)`", row[1])}
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]

    assert {name: listed.get(name) for name in inputs} == {
        name: "" if name == "pip-args" else entry.get("default", "") for name, entry in inputs.items()
    }


def test_the_lint_reads_every_workflow():
    """`make lint` checks the action, our workflows and the examples."""
    makefile = (ROOT / "Makefile").read_text()

    assert "wildcard .github/workflows/*.yml docs/workflows/*.yml" in makefile
    assert all(f"{tool} " in makefile for tool in ("/zizmor", "/check-jsonschema"))
    assert {path.suffix for path in (ROOT / "docs" / "workflows").iterdir()} == {".yml"}


# -- the steps, run here --------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path):
    """A checkout with two results folders, and a way to run a script as the runner does."""
    for name, fvu in (("baseline", 0.02), ("worse", 0.03)):
        stored = sample_result(units=sample_units({"fvu": fvu}, n_units=100))
        with ResultStore.open(tmp_path / "checkout" / name) as store:
            store.write(stored.result, stored.units())
    return Job(tmp_path)


class Job:
    def __init__(self, folder):
        self.folder, self.temp, self.checkout = folder, folder / "temp", folder / "checkout"
        self.output, self.summary = folder / "output", folder / "summary"
        self.temp.mkdir()

    def tool(self, name, text):
        """A command in the environment that the action makes, or on the path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, text, **variables):
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text]
        return subprocess.run(command, cwd=self.checkout, env=environment, capture_output=True, text=True)


INPUTS = {
    "SUITE": "",
    "RESULTS": "baseline",
    "BASELINE": "baseline",
    "MAX_REGRESSION": "2%",
    "METRICS": "",
    "REQUIRE_ALL": "false",
    "ARTIFACT": "report",
}


def test_good_inputs_are_taken(job):
    """What the manual shows passes the check of the inputs."""
    text = script(ROOT / "action.yml", "Check the inputs")
    done = job.run(text, **INPUTS | {"METRICS": "reconstruction.fvu=5%\nce_attribution.kl=0.01\n"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"SUITE": "suite.yaml"}, "suite and results"),
        ({"RESULTS": ""}, "suite and results"),
        ({"RESULTS": "", "SUITE": "none.yaml"}, "suite names no file"),
        ({"RESULTS": "none"}, "results names no folder"),
        ({"BASELINE": "$(touch hacked)"}, "baseline names no folder"),
        ({"MAX_REGRESSION": "2%; touch hacked"}, "max-regression"),
        ({"METRICS": "a.b=1%\n$(touch hacked)"}, "metrics"),
        ({"REQUIRE_ALL": "yes"}, "require-all"),
        ({"ARTIFACT": "../x"}, "artifact"),
    ],
)
def test_bad_inputs_are_refused_and_never_run(job, wrong, said):
    """Each wrong input is named, and text in one is not executed."""
    done = job.run(script(ROOT / "action.yml", "Check the inputs"), **INPUTS | wrong)

    assert done.returncode == 1
    assert done.stdout.startswith("::error::")
    assert said in done.stdout
    assert not (job.checkout / "hacked").exists()


DARKMATTER = f'#!/bin/sh\nexec "{sys.executable}" -m darkmatter.cli.main "$@"\n'


@pytest.mark.parametrize(("results", "passed"), [("baseline", "true"), ("worse", "false")])
def test_the_check_of_the_action(job, results, passed):
    """The exit status is that of the check; summary, output and report are there either way."""
    job.tool("temp/darkmatter/bin/darkmatter", DARKMATTER)
    metrics = "reconstruction.fvu=3%\n"
    done = job.run(script(ROOT / "action.yml", "Check"), **INPUTS | {"RESULTS": results, "METRICS": metrics})

    assert done.returncode == (0 if passed == "true" else 1), done.stderr
    assert job.output.read_text() == f"passed={passed}\n"
    assert "3%" in job.summary.read_text()
    assert {path.name for path in (job.temp / "darkmatter-check").iterdir()} == {"junit.xml", "summary.md"}


def test_the_action_can_require_all(job):
    """The input reaches the command: what the baseline lacks is red only where that is asked for."""
    job.tool("temp/darkmatter/bin/darkmatter", DARKMATTER)
    added = sample_result("added", units=sample_units({"fvu": 0.02}, n_units=100))
    same = sample_result(units=sample_units({"fvu": 0.02}, n_units=100))
    with ResultStore.open(job.checkout / "more") as store:
        for stored in (same, added):
            store.write(stored.result, stored.units())
    text, given = script(ROOT / "action.yml", "Check"), INPUTS | {"RESULTS": "more"}

    assert job.run(text, **given).returncode == 0
    assert job.run(text, **given | {"REQUIRE_ALL": "true"}).returncode == 1


@pytest.mark.slow
def test_the_action_runs_a_suite(job):
    """With a suite the step evaluates it: the same SAE is green, and its results are in the report."""
    from safetensors.torch import save_file

    from darkmatter import save_sae
    from darkmatter.cli.main import main
    from darkmatter.testing import synthetic_activations, synthetic_saes

    x = synthetic_activations()["x"]
    save_file({"x": x}, job.checkout / "x.safetensors")
    save_sae(synthetic_saes(x)["topk"], job.checkout / "sae")
    suite = {"activations": "x.safetensors", "saes": {"mine": "sae"}, "evaluators": {"reconstruction": {}}}
    (job.checkout / "suite.yaml").write_text(yaml.safe_dump(suite))
    assert main(["run", str(job.checkout / "suite.yaml"), "--out", str(job.checkout / "trusted")]) == 0
    job.tool("temp/darkmatter/bin/darkmatter", DARKMATTER)
    given = INPUTS | {"RESULTS": "", "SUITE": "suite.yaml", "BASELINE": "trusted"}
    assert job.run(script(ROOT / "action.yml", "Check the inputs"), **given).returncode == 0
    done = job.run(script(ROOT / "action.yml", "Check"), **given)

    assert done.returncode == 0, done.stdout + done.stderr
    assert job.output.read_text() == "passed=true\n"
    assert list((job.temp / "darkmatter-check" / "results" / "mine").glob("reconstruction@*.json"))


def test_the_installation_of_the_action(job):
    """Options of pip are words, and what is installed is the action's own commit with its constraints."""
    job.tool(
        "bin/python", '#!/bin/sh\nmkdir -p "$3/bin"; cp "$0" "$3/bin/python"; printf "%s\\n" "$@" > args\n'
    )
    text = script(ROOT / "action.yml", "Install darkmatter")
    done = job.run(text, ACTION="/action", PIP_ARGS="--extra-index-url $(touch hacked)")
    words = (job.checkout / "args").read_text().split("\n")[:-1]

    assert done.returncode == 0, done.stderr
    assert words[:4] == ["-m", "pip", "install", "--quiet"]
    assert words[4:] == [
        "--extra-index-url",
        "$(touch",
        "hacked)",
        "-c",
        "/action/constraints.txt",
        "/action",
    ]
    assert not (job.checkout / "hacked").exists()


def test_a_submission_is_checked_with_the_installed_tool(job):
    """The report holds what the tool printed and its exit status, which is the step's."""
    job.tool("temp/darkmatter/bin/darkmatter", '#!/bin/sh\necho "$@"; echo "a.json: reason" >&2; exit 1\n')
    path = ROOT / "docs/workflows/leaderboard-submission.yml"
    done = job.run(script(path, "Check the submission"), BASE="abc", AUTHOR="$(touch hacked)")
    report = (job.checkout / "report/report.txt").read_text().splitlines()

    assert done.returncode == 1
    assert report == [
        "leaderboard check submission/results --base abc --author $(touch hacked)",
        "a.json: reason",
        "exit status 1",
    ]
    assert not (job.checkout / "hacked").exists()


COMMENT = ROOT / "docs/workflows/leaderboard-comment.yml"
GH = """#!/bin/bash
# Answers from files as GitHub does, through the step's own filters.
echo "$@" >> calls
case "$1 $*" in
  api*/files*) from=files.json;;
  api*pulls/7*) from=pull.json;;
  api*) from=pulls.json;;
  pr*) cp "$7" posted; exit;;
esac
while [ "$1" != --jq ]; do shift; done
jq -r "$2" "$from"
"""


@pytest.fixture
def pull(job):
    """A pull request, the report of its check, and a way to let the step comment on it."""
    if shutil.which("jq") is None:
        pytest.skip("jq, which the runner has, is not installed")
    job.tool("bin/gh", GH)
    report = job.temp / "report" / "report.txt"
    report.parent.mkdir()
    report.write_text("results: 3 rows, nothing is wrong.\n")

    def comment(files, *, conclusion="success", head="abc", then="abc", changed=None, open_=True):
        count = len(files) if changed is None else changed
        answers = {
            "pulls": [{"number": 7, "head": {"sha": head}}] if open_ else [],
            "files": files,
            "pull": {"head": {"sha": then}, "changed_files": count},
        }
        for name, answer in answers.items():
            (job.checkout / f"{name}.json").write_text(json.dumps(answer))
        who = {"REPOSITORY": "o/r", "RUN_URL": "https://x", "CONCLUSION": conclusion}
        whose = {"HEAD_OWNER": "m", "HEAD_BRANCH": "$(touch hacked)", "HEAD_SHA": "abc", "GH_TOKEN": "t"}
        done = job.run(script(COMMENT, "Comment"), **who, **whose)
        assert done.returncode == 0, done.stderr
        posted = job.checkout / "posted"
        return posted.read_bytes().decode() if posted.exists() else None

    return comment


ROWS = [{"filename": "results/a__b/model_card.yaml"}, {"filename": "results/README.md"}]


def test_the_comment_shows_a_strangers_report_as_text(job, pull):
    """Every line of it is indented code: no mention, link, image or terminal code gets out."""
    report = job.temp / "report" / "report.txt"
    report.write_bytes(b"ok\n```\n@everyone ![x](http://evil)\r\n\x1b[31m" + b"x" * 60000)
    posted = pull(ROWS, conclusion="failure")
    first, empty, *lines = posted.splitlines()

    assert first.startswith("`darkmatter leaderboard check`: **failure**")
    assert (empty, all(line.startswith("    ") for line in lines)) == ("", True)
    assert not {"\x1b", "\r"} & set(posted)
    assert len(posted) < 65536
    assert "head=m:$(touch hacked)" in (job.checkout / "calls").read_text()
    assert not (job.checkout / "hacked").exists()


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({"filename": ".github/workflows/leaderboard-submission.yml"}, None),
        ({"filename": "results.py"}, None),
        ({"filename": "results/x.json", "previous_filename": "requirements.txt"}, None),
        ({"filename": "results/x.json"}, 3001),
    ],
)
def test_what_could_have_changed_the_check_gets_no_verdict(pull, more, changed):
    """A pull request that rewrites its own check is green; the comment does not repeat it."""
    posted = pull([*ROWS, more], changed=changed)

    assert posted.startswith("No verdict: this pull request changes files outside `results/`")
    assert "success" not in posted
    assert "nothing is wrong" not in posted


@pytest.mark.parametrize(
    "state", [{"open_": False}, {"head": "newer"}, {"then": "newer"}], ids=lambda state: next(iter(state))
)
def test_a_closed_or_changed_pull_request_gets_no_comment(pull, state):
    """The verdict is on one commit; where another is on top by now, it is old."""
    assert pull(ROWS, **state) is None
