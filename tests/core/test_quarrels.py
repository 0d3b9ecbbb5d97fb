from lvs_nat.core.quarrels import EDITS, WINDOW, Edit, Quarrels

ROW, HEAD = Edit("the row", "-e ...", "kept"), Edit("the service", "-E ...", "kept")


def quarrelled(times, every=1.0, edit=ROW, quarrels=Quarrels()):  # noqa: B008
    """Return what is known when *edit* was done *times* times, first at 0."""
    for number in range(times):
        quarrels = quarrels.after([edit], number * every)
    return quarrels


def test_a_few_edits_are_no_quarrel_and_one_more_is():
    assert quarrelled(EDITS).all == ()
    assert [it.times for it in quarrelled(EDITS + 1).all] == [EDITS + 1]


def test_what_is_edited_now_and_then_is_never_one():
    assert quarrelled(100, every=WINDOW / EDITS).all == ()


def test_a_quarrel_is_due_once_in_a_window():
    quarrels, told = Quarrels(), []
    for now in range(200):
        quarrels = quarrels.after([ROW], now)
        due = quarrels.due(now)
        told += [(now, it.times) for it in due]
        quarrels = quarrels.telling(due, now)

    assert told == [(3, 4), (63, 60), (123, 60), (183, 60)]


def test_each_part_of_the_table_is_counted_for_itself():
    quarrels = quarrelled(10, edit=HEAD, quarrels=quarrelled(2))

    assert [(it.subject, it.latest) for it in quarrels.all] == [("the service", "-E ...")]
    assert (quarrels.over("the service"), quarrels.over("the row")) == (True, False)


def test_nothing_is_kept_of_what_is_long_past():
    quarrels = quarrelled(10).telling(quarrelled(10).all, 9.0)

    assert quarrels.after((), 9 + WINDOW) == Quarrels()
