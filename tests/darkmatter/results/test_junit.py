"""JUnit XML of a check."""

from xml.etree import ElementTree as ET

from darkmatter.results.collection import ResultSet
from darkmatter.results.junit import junit_xml
from darkmatter.results.limits import Limit
from darkmatter.results.reading import Problem
from darkmatter.results.regression import check_regression
from darkmatter.results.regression_table import headline
from darkmatter.testing.results import HOSTILE, sample_result, sample_units

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message"},
    "error": {"message"},
    "skipped": {"message"},
    "system-out": set(),
}
"""What the schema of CI servers admits and asks for, as far as it is used."""
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase", "system-out"},
    "testcase": {"failure", "error", "skipped"},
}


def entry(name, fvu):
    return sample_result(name, units=sample_units({"fvu": fvu, "kl": 0.3}, n_units=100))


def made(problems=()):
    before = ResultSet([entry("bad", 0.02), entry("good", 0.02), entry(HOSTILE, 0.02)], problems)
    now = ResultSet([entry("bad", 0.05), entry("good", 0.02), entry("new", 0.02), entry(HOSTILE, 0.05)])
    return check_regression(before, now, Limit(2.0, relative=True))


def test_it_has_the_shape_that_ci_servers_read():
    """Elements and attributes are those of the common schema, and the counts are true."""
    root = ET.fromstring(junit_xml(made()))
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
        assert element.tag != "testcase" or len(element) <= 1
    counts = {kind: len(root.findall(f".//{kind}")) for kind in ("testcase", "failure", "error", "skipped")}
    suite = root[0].attrib
    assert [int(suite[name]) for name in ("tests", "failures", "errors", "skipped")] == [*counts.values()]
    assert counts["failure"] == 2
    assert root[0].find("system-out").text == headline(made())


def test_a_failure_says_what_happened():
    """Baseline, value, interval and limit stand in the text of the failure."""
    root = ET.fromstring(junit_xml(made()))
    case = root.find(".//testcase[@classname='bad'][failure]")

    assert case.get("name") == "reconstruction.fvu at blocks.2.hook_resid_post"
    assert "beyond chance" in case[0].get("message")
    assert all(word in case[0].text for word in ("baseline 0.0", "worse by", "limit 2%", "paired"))


def test_names_from_files_stay_text():
    """Markup is escaped, and what XML cannot hold is left out."""
    data = junit_xml(made())

    assert b"<b>" not in data
    assert not {0x1B, 0x07} & set(data)
    assert any("a|b`c`<b>" in case.get("classname") for case in ET.fromstring(data).iter("testcase"))


def test_equal_checks_give_equal_bytes():
    """There is no clock in it."""
    assert junit_xml(made()) == junit_xml(made())


def test_files_that_could_not_be_used_are_errors():
    """A check that failed because of a file has a test case that says so."""
    root = ET.fromstring(junit_xml(made([Problem("x.json", "is \ufffe empty")])))

    assert [error.get("message") for error in root.iter("error")] == ["x.json is  empty"]


def test_a_check_that_compared_nothing_is_not_green():
    """No metric to check is an error, not an empty success."""
    plain = entry("mine", 0.02)
    metrics = tuple(m.model_copy(update={"higher_is_better": None}) for m in plain.result.metrics)
    before = ResultSet([plain.result.model_copy(update={"metrics": metrics})])
    root = ET.fromstring(junit_xml(check_regression(before, before, Limit(2.0, relative=True))))

    assert root.get("errors") == "1"
