"""Which evaluators a run has that names none."""

from darkmatter import api
from darkmatter.plugins import host
from darkmatter.runs.chosen import choose_evaluators


def test_a_run_that_names_no_evaluators_has_those_that_are_not_opt_in():
    """All built-in ones but those with ``by_default=False``; naming one of these runs it."""
    usual = [chosen.evaluator.name for chosen in choose_evaluators(host(), None)]
    asked = [chosen.evaluator.name for chosen in choose_evaluators(host(), {"error_saes": {}})]

    assert usual == [name for name, each in host().evaluators().items() if each.by_default]
    assert {"reconstruction", "ce_attribution", "autointerp"} <= set(usual)
    assert asked == ["error_saes"]


def test_nothing_that_trains_or_that_a_tokenizer_can_refuse_runs_unasked():
    """A default run neither trains nor fails because prompts cannot be written for its model."""
    unasked = choose_evaluators(host(), None)
    prompts = [chosen.evaluator.name for chosen in unasked for used in chosen.uses if used.kind == "datasets"]

    assert prompts == []
    assert not [each for each in unasked if api.Requirement.TRAINING in each.evaluator.requires]
