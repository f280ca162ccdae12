"Outputs of recognisers as classes, traces and verdicts, and their agreement with the truth."
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import pyplot as plt
from mespot.core import MespotError
from mespot.measure.traces import RULES, active_interval, as_printed, classes_of, decision_table, pair_table, plot_fer_traces, trace_agreement, trace_of, true_classes, video_class
from figures import title_of

BUMP = np.interp(np.arange(50), (10, 20, 30, 40), (0, 1, 1, 0))
values = arrays(float, st.integers(1, 40), elements=st.floats(-.5, 1.5))
steps = st.lists(st.sampled_from((0, 1, 2)), min_size=1, max_size=40).map(np.array)


def one_hot(classes): return np.eye(3)[classes]

def other_way(output): return 1 - output if output.ndim == 1 else output[:, ::-1]


@given(values)
def test_the_class_is_the_label_that_is_nearest(v):
    distance = abs(v[:, None] - (0, .5, 1))
    assert np.allclose(distance[np.arange(len(v)), classes_of(v)], distance.min(1))
    assert abs(trace_of(v)).max() <= 1 and (np.sign(trace_of(v, hard=True)) == classes_of(v) - 1).all()

@given(steps)
def test_both_heads_say_the_same_of_certain_outputs(c):
    for output in (one_hot(c), c/2):
        np.testing.assert_array_equal(classes_of(output), c); np.testing.assert_array_equal(trace_of(output), c - 1); np.testing.assert_array_equal(trace_of(output, hard=True), c - 1)
    for rule in ("majority", "movement", "strongest"): assert video_class(one_hot(c), rule) == video_class(c/2, rule)

@given(st.one_of(values, steps.map(one_hot)), st.sampled_from(list(RULES)))
def test_no_rule_prefers_a_sign_but_where_there_is_no_other_way_out(output, rule):
    there, back = video_class(output, rule), video_class(other_way(output), rule)
    tie = rule == "strongest" or rule == "movement" and (classes_of(output) == 0).sum() == (classes_of(output) == 2).sum() or rule == "mean" and output.ndim == 2
    assert there + back == 2 or tie or abs(trace_of(output).mean()) < 1e-9

@given(steps)
def test_rules_do_what_their_names_say(c):
    counts = np.bincount(c, minlength=3)
    assert counts[video_class(one_hot(c), "majority")] == counts.max()
    found = video_class(one_hot(c), "movement")
    assert found == 1 if counts[1] == len(c) else counts[found] == max(counts[0], counts[2])

def test_rules_part_on_a_short_strong_frame():
    output = np.full(20, .5); output[3:9] = .1; output[12] = .99
    assert [video_class(output, r) for r in ("majority", "movement", "strongest", "mean")] == [1, 0, 2, 1]

def test_frames_without_a_face_do_not_count():
    output = np.r_[np.full(5, np.nan), .9, .9, .1]
    assert classes_of(output).tolist() == [-1]*5 + [2, 2, 0] and np.isnan(trace_of(output, hard=True)[:5]).all()
    for rule in RULES: assert video_class(output, rule) == video_class(output[5:], rule)
    probabilities = np.r_[np.full((2, 3), np.nan), one_hot([2, 2])]
    assert video_class(probabilities, "mean") == 2 and trace_agreement(probabilities, np.array([1, 1, 2, 2]))["frame_accuracy"] == 1

@pytest.mark.parametrize("call, says", [(lambda: classes_of(np.zeros((3, 2))), r"shape \(3, 2\)"), (lambda: classes_of([]), "one frame or more"), (lambda: trace_of([[3., -2, 0]]), "not logits"),
    (lambda: video_class([.1], "best"), "no rule 'best'.* majority, movement"), (lambda: video_class([np.nan]*4), "this video of 4"), (lambda: true_classes(9, 2, 5, 9), "onset ≤ offset ≤ 8"),
    (lambda: decision_table(dict(a=[[.1]]), [0, 2]), "a: 1 outputs for 2 videos"), (lambda: decision_table(dict(a=[[.1]]), [3]), "true classes"), (lambda: active_interval(BUMP, share=0), "share of 0"),
    (lambda: trace_agreement(BUMP, BUMP[1:]), "50 frames and the truth 49"), (lambda: trace_agreement(BUMP, 5*BUMP), "signed intensity"), (lambda: plot_fer_traces({}), "no sequence"),
    (lambda: plot_fer_traces(dict(joy=dict(ours=BUMP))), "joy: there is no ours")])
def test_mistakes_are_named(call, says):
    with pytest.raises(MespotError, match=says): call()


# ---- tables of verdicts

def test_a_table_of_known_verdicts():
    "Seven of ten negative videos and all of ten positive ones: Table 7.1's classification, with its Wilson interval from the textbook's formula."
    videos = [np.full(4, v) for v in [.1]*7 + [.5]*2 + [.9] + [.9]*10]
    table = decision_table(dict(ours=videos), [0]*10 + [2]*10, ["mean"]).set_index("kind")
    assert table.correct.to_dict() == dict(negative=7, positive=10, overall=17) and table.called_neutral.tolist() == [2, 0, 2]
    n, p, z = 20, .85, 1.959964
    middle, half = (p + z*z/2/n)/(1 + z*z/n), z/(1 + z*z/n)*np.sqrt(p*(1 - p)/n + z*z/4/n/n)
    assert np.allclose(table.loc["overall", ["low", "high"]].astype(float), [middle - half, middle + half], atol=1e-6)
    assert as_printed(table.reset_index()).loc["ours, mean"].to_dict() == {"negative accuracy": .7, "positive accuracy": 1., "overall accuracy": .85}
    assert as_printed(table.reset_index(), interval=True).loc["ours, mean", "overall accuracy"] == "0.85 [0.64, 0.95]"

def test_a_class_that_no_video_has_is_left_out():
    assert decision_table(dict(a=[[.9]], b=[[.1]]), [2], ["mean"])[["recogniser", "kind", "correct"]].to_numpy().tolist() == [["a", "positive", 1], ["a", "overall", 1], ["b", "positive", 0], ["b", "overall", 0]]


# ---- when a trace is active

@given(st.integers(0, 20), st.integers(0, 12), st.integers(0, 20), st.sampled_from((-1, 1)), st.floats(.5, 1))
def test_a_block_is_found_exactly(before, more, after, sign, height):
    trace = np.r_[np.zeros(before), np.full(more + 1, sign*height), np.zeros(after)]
    onset, apex, offset = active_interval(trace)
    assert (onset, offset) == (before, before + more) and apex == before + (more + 1)//2
    assert active_interval(trace, least=height + .01) is None
    np.testing.assert_array_equal(active_interval(trace + .3, neutral=.3, least=.4), (onset, apex, offset))

@given(arrays(float, st.integers(1, 40), elements=st.floats(-1, 1)), st.floats(.05, 1))
def test_an_interval_keeps_its_promise(trace, share):
    found = active_interval(trace, share=share, least=.1)
    if found is None: assert abs(trace).max() < .1; return
    onset, apex, offset = found
    piece = np.sign(trace[apex])*trace[onset:offset + 1]
    assert onset <= apex <= offset and (piece >= share*abs(trace).max() - 1e-12).all() and piece.max() == piece[apex - onset]

def test_a_flicker_and_a_gap():
    trace = BUMP.copy(); trace[2], trace[17] = -1, np.nan
    assert active_interval(trace) == (18, 25, 35)                                    # the longer side of the gap, not the strongest frame


# ---- agreement

@given(st.integers(-9, 9))
def test_a_shift_is_the_lag(by):
    for sign in (-1, 1):
        row = trace_agreement(.5 + .5*sign*np.roll(BUMP, by), sign*BUMP)
        assert (row["onset_lag"], row["offset_lag"]) == (by, by)

def test_lags_to_a_coder_and_to_the_half_height_differ_by_half_the_rise():
    row = trace_agreement(.5 + .5*BUMP, BUMP, 10, 40)
    assert (row["onset_lag"], row["offset_lag"], row["correlation"]) == (5, -5, pytest.approx(1))

def test_classes_as_the_truth():
    truth = true_classes(50, 0, 12, 33)
    row = trace_agreement(one_hot(truth), truth)
    assert row == dict(frames=50, frame_accuracy=1, kappa=1, correlation=pytest.approx(1), onset_lag=0, offset_lag=0)
    found = truth.copy(); found[12:23] = 1                                            # 11 of 22 frames missed: kappa by hand
    row = trace_agreement(one_hot(found), truth)
    chance = (22*11 + 28*39)/50**2
    assert row["frame_accuracy"] == pytest.approx(39/50) and row["kappa"] == pytest.approx((39/50 - chance)/(1 - chance)) and (row["onset_lag"], row["offset_lag"]) == (11, 0)

def test_a_recogniser_that_never_moves_or_moves_the_other_way_has_no_lag():
    for output in (np.full(50, .5), .5 - .5*BUMP): assert np.isnan(trace_agreement(output, BUMP)["onset_lag"])
    still = trace_agreement(np.full(50, .5), np.ones(50, int))                        # a neutral face, rightly called
    assert still["frame_accuracy"] == 1 and np.isnan([still[k] for k in ("kappa", "correlation", "onset_lag", "offset_lag")]).all()
    assert trace_agreement(np.full(50, .9), np.ones(50, int))["frame_accuracy"] == 0

def test_steps_follow_an_intensity_less_closely_than_the_trace_they_come_from():
    output = .5 + .5*BUMP
    assert trace_agreement(output, BUMP, hard=True)["correlation"] < .95 < trace_agreement(output, BUMP)["correlation"]

def test_a_value_that_rests_elsewhere_is_measured_from_there():
    output = .5 + .1 + .4*BUMP                                                        # rests at a trace of .2
    assert trace_agreement(output, BUMP, neutral=.2)["onset_lag"] == 0 > trace_agreement(output, BUMP)["onset_lag"]


def test_pairs_are_counted_over_all_sequences_and_only_frames_that_both_have():
    a, b = [np.array([.1, .1, .5]), np.array([.9, np.nan])], [np.array([.1, .5, .5]), np.array([.9, .9])]
    rows = pair_table(dict(a=a, b=b, c=[one_hot(classes_of(a[0])), np.full((2, 3), np.nan)]))
    assert rows[["one", "other", "frames"]].to_numpy().tolist() == [["a", "b", 4], ["a", "c", 3], ["b", "c", 3]]
    assert rows.agree.tolist() == pytest.approx([3/4, 1, 2/3])
    chance = (2*1 + 1*2 + 1*1)/16                                                     # classes 0, 0, 1, 2 and 0, 1, 1, 2
    assert rows.kappa[0] == pytest.approx((3/4 - chance)/(1 - chance)) and rows.correlation[0] == pytest.approx(np.corrcoef([-.8, -.8, 0, .8], [-.8, 0, 0, .8])[0, 1])
    with pytest.raises(MespotError, match="a and b did not see the same: 2 sequences of 5 frames and 1 of 3"): pair_table(dict(a=a, b=b[:1]))


def test_figures_show_classes_values_and_coder():
    c = true_classes(50, 0, 12, 33)
    fig = plot_fer_traces({name: dict(classification=one_hot(c), regression=c/2, truth=-BUMP, coder=c) for name in ("anger", "fear", "sadness", "disgust")})
    left, right = fig.axes[:6], fig.axes[6:]
    assert [title_of(ax) for ax in left] == ["anger", "fear", "sadness", "disgust", "", ""] and len(right) == 4
    lines = {line.get_label(): line.get_ydata() for line in (*left[0].get_lines(), *right[0].get_lines())}
    np.testing.assert_array_equal(lines["regression"], c/2); np.testing.assert_array_equal(lines["coder"], c); np.testing.assert_allclose(lines["true intensity"], .5 - BUMP/2)
    assert np.allclose(left[0].get_ylim(), 2*np.array(right[0].get_ylim())) and left[0].get_ylim()[0] < -.1          # 0, .5, 1 level with 0, 1, 2
    plt.close(fig)
