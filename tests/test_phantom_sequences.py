"Expression sequences of drawn people: repeatable, complete, and with a displacement by which a movement can be measured."
import numpy as np
import pytest
from mespot.core import MespotError
from mespot.data.phantom import EMOTIONS
from mespot.data.phantom_sequences import amplitudes, apex_field, expression_script, expression_sequences

SET = expression_sequences(3, ("happiness", "anger", "surprise"), length=16, seed=3)


def test_rows_and_frames_belong_together():
    assert SET.frames.shape == (9, 16, 64, 64) and SET.frames.dtype == np.uint8 and SET.strength.shape == (9, 16)
    assert SET.table.person.tolist() == [0]*3 + [1]*3 + [2]*3 and SET.table.emotion.tolist() == ["happiness", "anger", "surprise"]*3
    for r, s in zip(SET.table.itertuples(), SET.strength):
        assert 0 < r.onset < r.apex < r.offset < 15 and s.argmax() == r.apex and .9*r.peak < s.max() <= r.peak <= 4.5
        assert (s[:r.onset] == 0).all() and (s[r.offset + 1:] == 0).all() and (s[r.onset:r.offset + 1] > 0).all()      # a profile begins and ends just above rest


def test_a_longer_set_begins_with_the_shorter_one_and_another_seed_is_another():
    again = expression_sequences(1, ("happiness", "anger", "surprise"), length=16, seed=3)
    assert np.array_equal(again.frames, SET.frames[:3]) and again.table.equals(SET.table[:3])
    assert not np.array_equal(expression_sequences(1, ("happiness",), length=16, seed=4).frames[0], SET.frames[0])
    assert np.array_equal(expression_sequences(1, ("anger",), length=16, seed=3).frames[0], SET.frames[1])        # whatever else the person shows


def test_a_person_is_the_same_in_all_expressions_and_at_rest_at_both_ends():
    rest = SET.frames[:, [0, -1]].astype(float)
    assert np.abs(rest[:, 0] - rest[:, 1]).mean((1, 2)).max() < 3 and np.abs(rest[0, 0] - rest[1, 0]).mean() < 3 < np.abs(rest[0, 0] - rest[3, 0]).mean()


@pytest.mark.parametrize("k", range(9))
def test_the_amplitude_follows_the_intensity(k):
    a = amplitudes(SET.frames[k], SET.frames[k, 0], apex_field(SET, k))
    top = a[SET.table.apex[k]]
    assert top > .3 and abs(a[-1]) < .2*top and np.corrcoef(a, SET.strength[k])[0, 1] > .9


def test_the_amplitude_tells_expressions_and_directions_apart():
    "A smile is no movement along anger's field, and the way back is the way there with the other sign."
    smile, field = SET.frames[0], apex_field(SET, 0)
    apex = SET.table.apex[0]
    own, other = amplitudes(smile[[apex]], smile[0], field)[0], amplitudes(smile[[apex]], smile[0], apex_field(SET, 1))[0]
    back = amplitudes(smile[[0]], smile[apex], field)[0]
    assert abs(other) < .4*own and back < -.5*own and amplitudes(smile[[0]], smile[0], field)[0] == pytest.approx(0, abs=.01)


def test_only_the_action_units_of_the_expression_move():
    from mespot.data.phantom_face import ACTION_UNITS
    for emotion, units in EMOTIONS.items():
        au = expression_script(emotion, np.array([0., 2.]), (1,))["au"].reshape(2, -1, 2)
        assert set(np.flatnonzero(au[1].max(1))) == {ACTION_UNITS.index(u) for u in units} and au[1].max() == 2 and not au[0].any()


@pytest.mark.parametrize("wrong, says", [(dict(emotions=("boredom",)), "no expression 'boredom'"), (dict(length=5), "5 frames"), (dict(size=200), "200 pixels")])
def test_what_cannot_be_drawn(wrong, says):
    with pytest.raises(MespotError, match=says): expression_sequences(**dict(dict(people=1), **wrong))
