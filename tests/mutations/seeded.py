"""Plausible bugs, each with the tests that must catch it: what ``mutations.py`` seeds into a copy.

The first fifteen are those that evaluators of errors are known to suffer from, in our words where the
papers' own scripts have them too; the others are their relatives in places that have tests of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent


@dataclass(frozen=True)
class Mutation:
    """``old`` stands once in ``file`` and becomes ``new``; at least one of ``tests`` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


STREAM, STATS = "harness/darkmatter/stream", "harness/darkmatter/stats"
EVALUATORS = "plugins/darkmatter_plugins/evaluators"
CLOSED_FORMS, ERROR_MAP = "tests/darkmatter/test_closed_forms.py", "tests/darkmatter/test_error_map.py"


def of_evaluator(name: str, test: str) -> str:
    """A test of an evaluator."""
    return f"tests/darkmatter_plugins/evaluators/test_{name}.py::test_{test}"


def block(text: str, spaces: int) -> str:
    """Lines of code at an indentation."""
    return indent(dedent(text).strip("\n"), " " * spaces)


FIFTEEN = (
    Mutation(
        "sign",
        f"{STREAM}/chunk.py",
        "return self.inputs.target.to(torch.float64) - self.reconstruction.to(torch.float64)",
        "return self.reconstruction.to(torch.float64) - self.inputs.target.to(torch.float64)",
        (of_evaluator("ce_attribution", "c3_quadratic_loss_shares_are_those_of_the_squared_error"),),
    ),
    Mutation(
        "train rows",
        f"{EVALUATORS}/error_decomposition/run.py",
        '        test = _collect(ctx, specs, "test")\n',
        block(
            """
            specs["residuals"] = Residuals(linear, norm, power, centres, one_unit=True)
            test = _collect(ctx, specs, "train")
            """,
            8,
        )
        + "\n",
        (f"{CLOSED_FORMS}::test_a5_small_sample_shows_that_rows_are_held_out",),
    ),
    Mutation(
        "missing intercept",
        f"{STATS}/regression.py",
        "intercept = cross.mean_y - self.mean @ weight if self.bias else torch.zeros_like(cross.mean_y)",
        "intercept = torch.zeros_like(cross.mean_y)",
        (f"{CLOSED_FORMS}::test_a2_mean_sae_has_fvu_one_and_needs_the_intercept",),
    ),
    Mutation(
        "wrong norm power",
        f"{EVALUATORS}/error_decomposition/collect.py",
        "return squares if power == 2 else squares.sqrt()",
        "return squares.sqrt()",
        (f"{CLOSED_FORMS}::test_b1_norm_test_of_sparse_features[constant]",),
    ),
    Mutation(
        "mean over dims for pooled",
        f"{EVALUATORS}/error_decomposition/run.py",
        'pooled_is_primary = self.config.r2_reduction == "pooled"',
        "pooled_is_primary = False",
        (f"{CLOSED_FORMS}::test_f3_per_dimension_mean_and_pooled_r2_differ",),
    ),
    Mutation(
        "un-clamped pursuit",
        f"{STATS}/pursuit.py",
        "weight[:] = torch.relu(weight + size[:, None] * gradient)",
        "weight[:] = weight + size[:, None] * gradient",
        (of_evaluator("gradient_pursuit", "d5_weights_clamp_to_zero"),),
    ),
    Mutation(
        "shifted tokens in CE",
        "harness/darkmatter/models.py",
        "targets = tokens[:, 1:].to(logits.device).flatten()",
        "targets = tokens[:, :-1].to(logits.device).flatten()",
        (of_evaluator("ce_attribution_real", "plain_torch_hooks_give_the_same_numbers"),),
    ),
    Mutation(
        "patched position off by one",
        f"{EVALUATORS}/patching.py",
        "changed[patched.to(own.device)] = rows.to(own)",
        "changed[patched.roll(1, 1).to(own.device)] = rows.to(own)",
        (of_evaluator("ce_attribution", "only_held_out_rows_are_patched_and_only_their_predictions_count"),),
    ),
    Mutation(
        "KL direction",
        f"{EVALUATORS}/patching.py",
        "(p.exp() * (p - q)).sum(dim=1)",
        "(q.exp() * (q - p)).sum(dim=1)",
        (of_evaluator("ce_attribution", "g5_kl_is_from_the_clean_model_to_the_patched_one"),),
    ),
    Mutation(
        "source misaligned by one token",
        f"{STREAM}/passes.py",
        "yield replace(chunk, beside=found)",
        "yield replace(chunk, beside={n: replace(c, made=c.made.roll(1, 0)) for n, c in found.items()})",
        (of_evaluator("cross_layer", "e1_an_invertible_linear_map_of_x_knows_what_x_knows"),),
    ),
    Mutation(
        "Adam-style bad fit",
        f"{EVALUATORS}/width_scaling_law/power_law.py",
        "    m = _refined(u, y, index)\n",
        block(
            """
            import torch

            p = torch.full((len(y), 3), 0.3, dtype=torch.float64, requires_grad=True)
            seen, adam = torch.from_numpy(y), torch.optim.Adam([p], lr=1e-3)
            for _ in range(200):
                fitted = p[:, :1].abs() + p[:, 1:2].abs() * (-p[:, 2:].abs() * torch.from_numpy(u)).exp()
                adam.zero_grad()
                (fitted - seen).square().sum().backward()
                adam.step()
            m = p[:, 2].detach().abs().numpy()
            """,
            4,
        )
        + "\n",
        (of_evaluator("width_scaling_law", "c2_a_family_on_a_law_gives_the_law_back"),),
    ),
    Mutation(
        "0 for undefined",
        "harness/darkmatter/output.py",
        block(
            """
            if not total > floor:
                self.undefined(name, undefined)
            """,
            8,
        ),
        block(
            """
            if not total > floor:
                self.plain(name, 0.0, why_no_interval=undefined)
            """,
            8,
        ),
        (f"{CLOSED_FORMS}::test_a3_identity_sae_has_zero_fvu_and_undefined_r2",),
    ),
    Mutation(
        "probe from all rows",
        f"{EVALUATORS}/error_decomposition/run.py",
        "        linear = api.fit_error_map(ctx.info, moments, bias=self.config.bias)\n",
        block(
            """
            from darkmatter.stats import Gram, GramFactor

            gram, cross = Gram.zero(ctx.info.d_in), CrossMoments.zero(ctx.info.d_in, ctx.info.d_out)
            for side in ("train", "test"):
                for chunk in ctx.chunks(side):
                    gram.merge(Gram.of(chunk.x))
                    cross.merge(CrossMoments.of(chunk.x_centred, chunk.error))
            linear = GramFactor.of(gram, bias=self.config.bias).solve(cross)
            """,
            8,
        )
        + "\n",
        (f"{CLOSED_FORMS}::test_a5_small_sample_shows_that_rows_are_held_out",),
    ),
    Mutation(
        "control not shuffled",
        f"{STREAM}/chunk.py",
        "order = torch.from_numpy(permutation(sum(sizes), seed, purpose))",
        "order = torch.arange(sum(sizes))",
        (of_evaluator("cross_layer", "shuffled_rows_know_nothing"),),
    ),
    Mutation(
        "L0 not matched",
        f"{EVALUATORS}/gradient_pursuit/collect.py",
        "wanted = l0(chunk.codes, drawn) if self.target is None else self.target",
        "wanted = chunk.codes.d_sae if self.target is None else self.target",
        (of_evaluator("gradient_pursuit", "d1_each_row_is_pursued_at_the_l0_of_its_own_codes"),),
    ),
)

RELATIVES = (
    Mutation(
        "L0 not matched by the controls",
        "harness/darkmatter/runs/controls.py",
        'wanted.append((name, f"{name}-k{k}", {"k": k}))',
        'wanted.append((name, f"{name}-k{k}", {"k": d}))',
        (
            "tests/darkmatter/runs/test_controls.py::test_a_matched_control_has_the_l0_of_the_sae_that_it_stands_beside",
        ),
    ),
    Mutation(
        "L0 not matched in a family",
        f"{EVALUATORS}/width_scaling_law/members.py",
        "if abs(each.l0 - l0) > tolerance * l0:",
        "if each.l0 <= 0:",
        (of_evaluator("width_scaling_law", "members_at_another_l0_are_left_out_and_named"),),
    ),
    Mutation(
        "wrong norm power between SAEs",
        f"{EVALUATORS}/error_scaling/collect.py",
        "return torch.cat([lengths[0], lengths[2]], dim=1) ** power",
        "return torch.cat([lengths[0], lengths[2]], dim=1)",
        (
            of_evaluator(
                "error_scaling", "c1_nested_saes_predict_each_other_by_the_share_of_features_both_lack"
            ),
        ),
    ),
    Mutation(
        "CE control not shuffled",
        f"{EVALUATORS}/ce_attribution/replacements.py",
        'yield "sae_shuffled", S + nonlinear[order]',
        'yield "sae_shuffled", S + nonlinear',
        (of_evaluator("ce_attribution", "controls_of_equal_norm_add_to_a_quadratic_loss_what_they_must"),),
    ),
    Mutation(
        "parts swapped",
        f"{EVALUATORS}/ce_attribution/replacements.py",
        'yield "sae_linear", S + linear\n    yield "sae_nonlinear", S + nonlinear\n',
        'yield "sae_linear", S + nonlinear\n    yield "sae_nonlinear", S + linear\n',
        (of_evaluator("ce_attribution", "c3_quadratic_loss_shares_are_those_of_the_squared_error"),),
    ),
    Mutation(
        "token means of all rows",
        f"{EVALUATORS}/error_norm_baselines/collect.py",
        "                self.test_tokens.add(chunk.tokens, y)\n",
        block(
            """
            self.test_tokens.add(chunk.tokens, y)
            self.train["token"].add(chunk.tokens, y)
            """,
            16,
        )
        + "\n",
        (of_evaluator("error_norm_baselines", "a_token_seen_once_does_not_predict_itself"),),
    ),
    Mutation(
        "variance for a standard deviation",
        f"{EVALUATORS}/synthetic_noise/run.py",
        "points = [(a * unit, r * unit) for a, r in product(levels, levels)]",
        "points = [((a * unit) ** 0.5, (r * unit) ** 0.5) for a, r in product(levels, levels)]",
        (of_evaluator("synthetic_noise", "a12_isotropic_signal_of_variance_four"),),
    ),
    Mutation(
        "trained on held-out rows",
        f"{EVALUATORS}/error_saes/targets.py",
        'ctx.chunks("train", shuffled=(seed << 32) + epoch)',
        'ctx.chunks("test", shuffled=(seed << 32) + epoch)',
        (of_evaluator("error_saes", "held_out_rows_shape_no_weight"),),
    ),
    Mutation(
        "gap of unpaired resamples",
        f"{EVALUATORS}/error_saes/gaps.py",
        "return self.first.at(weights) - self.second.at(weights)",
        "return self.first.at(weights) - self.second.at(weights[:, ::-1])",
        (of_evaluator("error_saes", "fvu_gap_is_paired"),),
    ),
    Mutation(
        "means forgotten on merging",
        f"{STATS}/moments.py",
        "        self.cxx.addr_(delta, delta, alpha=self.n * other.n / total)\n",
        "",
        (f"{ERROR_MAP}::test_f1_streamed_moments_give_the_numbers_of_whole_arrays[37-True]",),
    ),
    Mutation(
        "one scalar mean",
        f"{EVALUATORS}/reconstruction/run.py",
        "variance = (x - mean.to(x.device)).square().sum(dim=1)",
        "variance = (x - mean.mean().to(x.device)).square().sum(dim=1)",
        (f"{CLOSED_FORMS}::test_f4_one_scalar_mean_inflates_the_fit",),
    ),
    Mutation(
        "simulators scored on what they have seen",
        f"{EVALUATORS}/autointerp/sampling.py",
        "for chunk in ctx.chunks(rows):",
        'for chunk in ctx.chunks("train"):',
        (of_evaluator("autointerp", "simulators_see_training_text_and_are_scored_on_held_out_text"),),
    ),
    Mutation(
        "undefined correlations averaged as 0",
        f"{EVALUATORS}/autointerp/report.py",
        '_mean(out, f"score.{part}", known, nothing)',
        '_mean(out, f"score.{part}", np.nan_to_num(values), nothing)',
        (of_evaluator("autointerp", "what_has_no_correlation_is_counted_and_not_taken_as_zero"),),
    ),
    Mutation(
        "a latent as its own control",
        f"{EVALUATORS}/autointerp/sampling.py",
        "other[circle] = circle.roll(-1)",
        "other[circle] = circle",
        (of_evaluator("autointerp", "the_control_scores_a_simulation_against_another_latent"),),
    ),
    Mutation(
        "latent added instead of taken out",
        f"{EVALUATORS}/feature_effects/removal.py",
        "patched[rows.to(patched.device)] -= added.to(patched)",
        "patched[rows.to(patched.device)] += added.to(patched)",
        (of_evaluator("feature_effects", "taking_a_latent_out_changes_the_prediction_as_by_hand"),),
    ),
)

MUTATIONS = (*FIFTEEN, *RELATIVES)
