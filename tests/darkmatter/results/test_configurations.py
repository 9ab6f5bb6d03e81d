"""Results apart for every configuration."""

from darkmatter.results.configurations import configurations
from darkmatter.testing.results import sample_result


def named(*entries):
    """Results with the names of their SAEs."""
    return [(entry.result.sae.name, entry.result) for entry in entries]


def test_numbers_of_two_configurations_never_meet():
    """Every choice of configurations is one set, with the options in words."""
    entries = named(
        *(sample_result("a", evaluator="ed", config={"bias": bias}) for bias in (True, False)),
        sample_result("a"),
        sample_result("b", evaluator="density"),
    )
    found = list(configurations(entries, ("ed", "reconstruction", "pursuit")))

    assert [each.options for each in found] == ["ed (bias=false)", "ed (bias=true)"]
    for each, bias in zip(found, (False, True), strict=True):
        assert [(r.evaluator.name, r.config) for _, r in each.results] == [
            ("ed", {"bias": bias}),
            ("reconstruction", {}),
        ]


def test_one_configuration_needs_no_words():
    """Without an alternative there are no options to say; without results there is no set."""
    (only,) = configurations(named(sample_result("b"), sample_result("a")), ("reconstruction",))

    assert (only.options, [name for name, _ in only.results]) == ("", ["b", "a"])
    assert list(configurations(named(sample_result()), ("density",))) == []
