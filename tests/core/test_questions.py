import pytest

from lvs_nat.core.questions import Connect, Dns, Http, Tcp, Udp, short


@pytest.mark.parametrize(
    "question, brief",
    [
        (Tcp(), True),
        (Connect(), True),
        (Http(), False),
        (Dns(), False),
        (Udp(), True),
        (Udp(reply=True), False),
    ],
)
def test_only_what_waits_for_a_servers_work_is_not_short(question, brief):
    assert short(question) is brief
