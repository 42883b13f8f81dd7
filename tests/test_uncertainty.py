import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute import uncertainty as u

INF = math.inf
masses = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=40)
logprobs = st.floats(-20.0, 0.0)
traces = st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60)
answers = st.lists(st.one_of(st.none(), st.sampled_from("abcd")), min_size=2, max_size=30)


@st.composite
def top_k(draw):
    """A true distribution (descending) and its k largest log-probabilities, shuffled."""
    weights = sorted(draw(masses), reverse=True)
    truth = [w / sum(weights) for w in weights]
    k = draw(st.integers(0, len(truth)))
    top = [math.log(p) for p in truth[:k]]
    draw(st.randoms(use_true_random=False)).shuffle(top)
    return truth, top


def entropy_of(truth: list[float]) -> float:
    return -sum(p * math.log(p) for p in truth)


@given(top_k())
def test_true_entropy_lies_between_the_bounds(case):
    truth, top = case
    lower, upper = u.entropy_lower(top), u.entropy_upper(top, len(truth))
    assert 0 <= lower <= entropy_of(truth) + 1e-9
    assert entropy_of(truth) <= upper + 1e-9
    assert upper <= math.log(len(truth))


@given(top_k())
def test_lower_bound_is_no_looser_than_one_bucket_for_the_rest(case):
    _, top = case
    rest = max(0.0, 1 - sum(math.exp(v) for v in top))
    bucket = -sum(math.exp(v) * v for v in top) - (rest * math.log(rest) if rest > 0 else 0.0)
    assert u.entropy_lower(top) >= bucket - 1e-9


def test_lower_bound_is_tighter_when_the_rest_outweighs_the_last_rank():
    top = [math.log(0.3), math.log(0.2)]
    bucket = -0.3 * math.log(0.3) - 0.2 * math.log(0.2) - 0.5 * math.log(0.5)
    assert u.entropy_lower(top) == pytest.approx(bucket + 0.5 * math.log(0.5 / 0.2))


@given(top_k(), st.data())
def test_sampled_token_beyond_the_ranks_does_not_break_the_lower_bound(case, data):
    truth, top = case
    ranked = len(top)
    if not 1 <= ranked < len(truth):
        return
    sampled = data.draw(st.integers(ranked, len(truth) - 1))
    reported = [*top, math.log(truth[sampled])]
    assert u.entropy_lower(reported, ranked=ranked) <= entropy_of(truth) + 1e-9


def test_bounds_survive_what_engines_report():
    assert u.entropy_lower([]) == 0
    assert u.entropy_upper([], 100) == pytest.approx(math.log(100))
    assert u.entropy_lower([0.0, -INF, -9999.0]) == 0
    assert u.entropy_upper([1e-4, -INF], 2) == 0
    assert u.entropy_lower([math.log(0.51), math.log(0.51)]) == pytest.approx(math.log(2))
    assert u.entropy_upper([math.log(0.51), math.log(0.51)], 9) == pytest.approx(math.log(2))
    assert u.entropy_upper([math.log(0.5)], 1) <= 0
    assert u.bits(math.log(8)) == pytest.approx(3)


@pytest.mark.parametrize("bad", [[math.nan], [0.2], [math.log(0.9), math.log(0.8)]])
def test_impossible_logprobs_are_refused(bad):
    with pytest.raises(ValueError, match=r"log-probability|sum to"):
        u.entropy_lower(bad)
    with pytest.raises(ValueError, match=r"log-probability|sum to"):
        u.margin(bad)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="vocabulary"):
        u.entropy_upper([-1.0, -2.0], 1)
    with pytest.raises(ValueError, match="ranked"):
        u.entropy_lower([-1.0], ranked=0)
    with pytest.raises(ValueError, match="window"):
        u.rolling_mean([1.0], 0)
    with pytest.raises(ValueError, match="fraction"):
        u.bottom_mean([1.0], 0.0)
    with pytest.raises(ValueError, match="number of values"):
        u.trace_confidence([])
    with pytest.raises(ValueError, match="number of values"):
        u.mean_logprob([])


@given(top_k())
def test_varentropy_and_margin_stay_in_range(case):
    truth, top = case
    assert u.varentropy(top) >= 0
    assert 0 <= u.margin(top) <= 1
    if len(top) > 1:
        assert u.margin(top) == pytest.approx(truth[0] - truth[1], abs=1e-9)


def test_varentropy_is_zero_only_for_a_certain_or_an_even_token():
    assert u.varentropy([0.0]) == u.varentropy([]) == 0
    assert u.varentropy([math.log(0.25)] * 4) == pytest.approx(0)
    p, q = 0.75, 0.25
    expected = p * q * (math.log(p) - math.log(q)) ** 2
    assert u.varentropy([math.log(p), math.log(q)]) == pytest.approx(expected)


def test_margin_of_one_reported_token_is_the_least_it_can_be():
    assert u.margin([math.log(0.8)]) == pytest.approx(0.6)
    assert u.margin([math.log(0.3)]) == 0
    assert u.margin([]) == 0


def test_token_confidence_grows_with_certainty_and_survives_masks():
    even = [math.log(0.25)] * 4
    sure = [math.log(0.97)] + [math.log(0.01)] * 3
    assert 0 < u.token_confidence(even) < u.token_confidence(sure) < 30
    assert u.token_confidence([0.0, -INF]) == u.token_confidence([0.0, -9999.0]) == 15
    assert u.token_confidence([]) == 0


@given(st.lists(logprobs, min_size=1, max_size=20))
def test_token_confidence_ignores_order(top):
    assert u.token_confidence(top) == u.token_confidence(sorted(top))


@given(traces, st.integers(1, 70))
def test_window_signals_lie_within_the_trace(trace, window):
    low, high = min(trace) - 1e-9, max(trace) + 1e-9
    rolled = u.rolling_mean(trace, window)
    assert len(rolled) == len(trace)
    assert all(low <= v <= high for v in rolled)
    means = u.window_means(trace, window)
    assert len(means) == max(1, len(trace) - window + 1)
    assert u.last_window(trace, window) == means[-1] == rolled[-1]
    least, lowest = u.least_window(trace, window), u.trace_confidence(trace, window)
    assert low <= least <= lowest + 1e-9
    assert lowest <= sum(means) / len(means) + 1e-9


def test_trace_confidence_averages_the_lowest_tenth_of_windows():
    trace = [float(v) for v in range(20)]
    assert u.trace_confidence(trace, window=1) == 0.5
    assert u.bottom_mean(trace, 1.0) == 9.5
    assert u.rolling_mean([1.0, 2.0, 3.0], 2) == [1.0, 1.5, 2.5]


@given(st.lists(st.one_of(logprobs, st.just(-INF)), min_size=1, max_size=50))
def test_bottom_logprob_is_at_most_the_mean(sampled):
    assert -30 <= u.bottom_logprob(sampled) <= u.mean_logprob(sampled) + 1e-9
    assert u.mean_logprob(sampled) <= 0


def test_p_true_adds_variants_and_abstains_without_either_word():
    top = [("True", math.log(0.4)), (" true", math.log(0.2)), ("\u0120False", math.log(0.2))]
    assert u.p_true(top) == pytest.approx(0.75)
    assert u.p_true([("yes", -0.1)]) is None
    assert u.p_true([("True", -INF)]) is None
    assert u.p_true([]) is None
    with pytest.raises(ValueError, match="log-probability"):
        u.p_true([("True", 3.0)])


@given(st.data(), answers)
def test_votes_ignore_order(data, given_answers):
    shuffled = data.draw(st.permutations(given_answers))
    assert u.leading_votes(shuffled) == u.leading_votes(given_answers)
    assert u.answer_entropy(shuffled) == u.answer_entropy(given_answers)


@given(answers)
def test_answer_entropy_and_certaindex_stay_in_range(given_answers):
    assert 0 <= u.answer_entropy(given_answers) <= math.log(len(given_answers)) + 1e-9
    assert 0 <= u.certaindex(given_answers) <= 1


@given(answers)
def test_an_unparsable_answer_counts_as_a_sample_that_agrees_with_nobody(given_answers):
    distinct = [("own", i) if a is None else a for i, a in enumerate(given_answers)]
    assert u.answer_entropy(given_answers) == pytest.approx(u.answer_entropy(distinct))
    assert u.leading_votes(given_answers) == u.leading_votes(
        [a for a in given_answers if a is not None]
    )


def test_certaindex_ends_are_agreement_and_disagreement():
    assert u.certaindex(["a"] * 5) == 1
    assert u.certaindex(["a", "b", "c"]) == pytest.approx(0)
    assert u.certaindex([None, None]) == 0
    assert u.leading_votes([None, None]) == (0, 0)
    with pytest.raises(ValueError, match="fewer than two"):
        u.certaindex(["a"])
    with pytest.raises(ValueError, match="number of answers"):
        u.answer_entropy([])


def test_borda_weights_fall_with_rank():
    assert u.borda_weights([2, 1, 3], 1.0) == [2.0, 3.0, 1.0]
    assert u.borda_weights([1, 2], 0.0) == [1.0, 1.0]
    assert u.borda_weights([1, 2, 3], 2.0) == [9.0, 4.0, 1.0]
    with pytest.raises(ValueError, match="ranks"):
        u.borda_weights([0, 1], 1.0)


def test_beta_rule_reproduces_the_published_table():
    assert [u.votes_needed(v2, 0.95) for v2 in range(4)] == [4, 6, 8, 9]


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.5, 0.999))
def test_beta_rule_is_monotone_in_both_counts(gap, runner_up, level):
    leader = runner_up + gap
    now = u.beta_confidence(leader, runner_up)
    assert 0.5 <= now < 1
    assert u.beta_confidence(leader + 1, runner_up) > now
    if gap:
        assert u.beta_confidence(leader, runner_up + 1) < now
    if u.beta_settled(leader, runner_up, level):
        assert u.beta_settled(leader + 1, runner_up, level)


@given(st.integers(0, 12), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_votes_needed_is_the_exact_boundary(runner_up, level):
    leader = u.votes_needed(runner_up, level)
    assert u.beta_settled(leader, runner_up, level)
    assert not u.beta_settled(leader - 1, runner_up, level)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_lossless_rule_stops_exactly_when_the_winner_cannot_change(gap, runner_up, remaining):
    leader = runner_up + gap
    overtaken_or_tied = runner_up + remaining >= leader
    assert u.lossless_settled(leader, runner_up, remaining) is not overtaken_or_tied


def test_impossible_votes_and_levels_are_refused():
    with pytest.raises(ValueError, match="votes"):
        u.beta_confidence(1, 2)
    with pytest.raises(ValueError, match="votes"):
        u.beta_confidence(1, -1)
    with pytest.raises(ValueError, match="level"):
        u.votes_needed(0, 1.0)
