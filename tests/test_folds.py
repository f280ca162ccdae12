"Folds as properties: disjoint, complete, each subject tested once, blind to order."
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.train.folds import grouped_kfold, holdout, paired_loso

people = st.lists(st.text("abcdef0123456789", min_size=1, max_size=4), min_size=1, max_size=40)

def disjoint(s): return not (set(s.train) & set(s.val) or set(s.train) & set(s.test) or set(s.val) & set(s.test))

@settings(deadline=None, max_examples=60)
@given(people, st.randoms())
def test_paired_loso(names, random):
    subjects = sorted(set(names))
    if len(subjects) < 3:
        with pytest.raises(MespotError): paired_loso(names)
        return
    folds = paired_loso(names)
    assert len(folds) == -(-len(subjects)//2)
    assert sorted(s.test[0] for f in folds for s in f) == subjects
    for f in folds:
        assert len({s.train for s in f}) == 1 and all(disjoint(s) and s.train and len(s.test) == len(s.val) == 1 for s in f)
        assert all({*s.train, *s.val, *s.test} == set(subjects) for s in f)
        if len(f) == 2: assert f[0].val == f[1].test and f[0].test == f[1].val
    assert sum(len(f) == 1 for f in folds) == len(subjects) % 2
    shuffled = list(names); random.shuffle(shuffled)
    assert paired_loso(shuffled) == folds

@settings(deadline=None, max_examples=60)
@given(people, st.integers(1, 4), st.randoms())
def test_paired_loso_with_further_people_to_validate(names, extra, random):
    subjects = sorted(set(names))
    if len(subjects) < 3 + extra:
        with pytest.raises(MespotError, match="further"): paired_loso(names, extra)
        return
    folds, plain = paired_loso(names, extra), paired_loso(names)
    assert [[s.test for s in f] for f in folds] == [[s.test for s in f] for f in plain]                     # who is tested when stays as it is
    for f, g in zip(folds, plain):
        more = {tuple(x for x in s.val if x not in t.val) for s, t in zip(f, g)}
        assert len(more) == 1 and len(more.copy().pop()) == extra                                           # the same further people in both
        assert len({s.train for s in f}) == 1 and all(disjoint(s) and s.train and {*s.train, *s.val} | set(g[0].test + g[0].val) == set(subjects) for s in f)
        assert all(set(t.val) <= set(s.val) and len(s.val) == 1 + extra for s, t in zip(f, g))
    shuffled = list(names); random.shuffle(shuffled)
    assert paired_loso(shuffled, extra) == folds

def test_the_further_people_follow_the_pair_and_come_round():
    folds = paired_loso("abcdefg", 2)
    assert [f[0].val for f in folds] == [("b", "c", "d"), ("d", "e", "f"), ("f", "g", "a"), ("a", "b", "c")] and folds[2][1].val == ("e", "g", "a")

@pytest.mark.parametrize("n,trainings", [(30, 15), (22, 11), (23, 12), (3, 2), (4, 2)])
def test_number_of_trainings(n, trainings): assert len(paired_loso(map(str, range(n)))) == trainings

def test_the_extra_partner_of_an_odd_number_was_tested_before():
    *rest, last = paired_loso("abcde")
    assert last == ((("b", "c", "d"), ("a",), ("e",)),)
    assert any(s.test == ("a",) for f in rest for s in f)

@settings(deadline=None, max_examples=60)
@given(people, st.integers(3, 6), st.integers(0, 5))
def test_kfold(names, k, seed):
    subjects = sorted(set(names))
    if len(subjects) < k:
        with pytest.raises(MespotError): grouped_kfold(names, k, seed)
        return
    folds = grouped_kfold(names, k, seed)
    assert len(folds) == k and sorted(x for f in folds for x in f.test) == subjects == sorted(x for f in folds for x in f.val)
    assert all(disjoint(f) and {*f.train, *f.val, *f.test} == set(subjects) for f in folds)
    assert max(len(f.test) for f in folds) - min(len(f.test) for f in folds) <= 1
    assert folds == grouped_kfold(names[::-1], k, seed)

@settings(deadline=None, max_examples=60)
@given(people, st.integers(0, 4), st.integers(0, 4), st.integers(0, 5))
def test_holdout(names, n_val, n_test, seed):
    subjects = sorted(set(names))
    if len(subjects) <= n_val + n_test:
        with pytest.raises(MespotError, match="at least"): holdout(names, n_val, n_test, seed)
        return
    s = holdout(names, n_val, n_test, seed)
    assert disjoint(s) and len(s.val) == n_val and len(s.test) == n_test and {*s.train, *s.val, *s.test} == set(subjects)
    assert s == holdout(names[::-1], n_val, n_test, seed)

def test_seeds_differ():
    names = [f"s{i}" for i in range(20)]
    assert len({holdout(names, 3, 3, seed=i).test for i in range(8)}) > 5
    assert grouped_kfold(names, 5, 0) != grouped_kfold(names, 5, 1)

@pytest.mark.parametrize("call", [lambda: holdout("abc", -1, 1), lambda: grouped_kfold("abcdef", 2), lambda: paired_loso([]), lambda: holdout([], 0, 0)])
def test_impossible_requests(call):
    with pytest.raises(MespotError): call()
