"""A check as JUnit XML, which CI systems show: one test case per SAE and metric."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from darkmatter.printable import printable
from darkmatter.results.checked import Check, CheckedMetric
from darkmatter.results.regression_table import headline, worsening

_NOT_XML = re.compile("[^\x09\x0a\x0d\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(check: Check) -> bytes:
    """The XML of a check; equal checks give equal bytes, there is no clock in it."""
    red, errors = check.having("red"), check.having("error")
    # What nothing was compared for must not look green either.
    broken = [*(f"{each.path} {each.reason}" for each in check.problems)]
    if not check.passed and not red and not errors and not broken:
        broken = ["nothing could be compared with the baseline"]
    counts = {
        "tests": str(len(check.metrics) + len(broken)),
        "failures": str(len(red)),
        "errors": str(len(errors) + len(broken)),
    }
    suites = ET.Element("testsuites", {"name": "darkmatter check", **counts})
    skipped = str(len(check.having("left out", "not compared")))
    suite = ET.SubElement(suites, "testsuite", {"name": "darkmatter check", **counts, "skipped": skipped})
    for metric in check.metrics:
        _case(suite, metric)
    for reason in broken:
        case = ET.SubElement(suite, "testcase", {"classname": "results", "name": "files", "time": "0"})
        ET.SubElement(case, "error", {"message": _clean(reason)})
    ET.SubElement(suite, "system-out").text = _clean(headline(check))
    ET.indent(suites)
    data: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _case(suite: ET.Element, metric: CheckedMetric) -> None:
    where = f" at {metric.hook}" if metric.hook else ""
    attributes = {
        "classname": _clean(metric.sae),
        "name": _clean(f"{metric.called or metric.evaluator or 'SAE'}{where}"),
        "time": "0",
    }
    case = ET.SubElement(suite, "testcase", attributes)
    if metric.verdict == "green":
        return
    kind = {"red": "failure", "error": "error"}.get(metric.verdict, "skipped")
    said = ET.SubElement(case, kind, {"message": _clean(metric.reason)})
    if metric.worse is not None:
        said.text = _clean(
            f"baseline {metric.baseline:.6g}, now {metric.current:.6g}, worse by {worsening(metric)}, "
            f"limit {metric.limit} ({metric.ci_method})"
        )


def _clean(text: str) -> str:
    """Text without what XML 1.0 cannot hold; the writer escapes the rest."""
    return _NOT_XML.sub("", printable(text))
