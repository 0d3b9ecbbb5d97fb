"""The lab's network: what the client sees, whole and broken."""

import pytest

from lvs_nat.lab.topology import URL, Lab, until

pytestmark = pytest.mark.lab

ONE, TWO = "lvs01 host!\n", "lvs02 host!\n"


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.run("director", ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        service = ["-t", "172.25.0.10:80"]
        lab.run("director", ["ipvsadm", "-A", *service, "-s", "rr"])
        for address in lab.servers.values():
            lab.run("director", ["ipvsadm", "-a", *service, "-r", f"{address}:80", "-m"])
        yield lab


@pytest.fixture
def broken(lab):
    yield lab
    lab.mend("lvs01")


def seen(lab, timeout=4.0):
    """Return what 8 requests of the client came to, lvs02's answers first."""
    return sorted(
        (request.body or request.error for request in lab.requests(20, 0.4, timeout=timeout)),
        key=lambda text: (text != TWO, text),
    )


def test_the_client_and_the_director_reach_both_servers_in_turn(lab):
    for host in ("client", "director"):
        answers = [lab.curl(host) for _ in range(4)]

        assert answers in ([ONE, TWO, ONE, TWO], [TWO, ONE, TWO, ONE])


def test_both_ip_versions_lead_to_each_server(lab):
    assert lab.curl("director", "http://192.168.122.10/") == ONE
    assert lab.curl("director", "http://[fd00:122::20]/") == TWO


@pytest.mark.parametrize(
    "act, outcome",
    [
        (Lab.kill_server, "Connection refused"),
        (Lab.drop_packets, "timed out"),
        (Lab.cut_link, "timed out"),
        (Lab.take_away_default_route, "timed out"),
    ],
)
def test_every_second_request_fails_when_a_server_breaks_and_none_once_it_is_mended(
    broken, act, outcome
):
    act(broken, "lvs01")

    assert seen(broken) == [TWO] * 4 + [outcome] * 4

    broken.mend("lvs01")

    assert seen(broken) == [TWO] * 4 + [ONE] * 4


def test_a_server_without_a_gateway_still_answers_the_director(broken):
    broken.take_away_default_route("lvs01")

    assert broken.curl("director", "http://192.168.122.10/") == ONE


def test_a_slow_server_answers_late(broken):
    broken.answer_slowly("lvs01", 1.5)

    requests = broken.requests(20, 0.4, timeout=10)
    took = {one: [it.latency for it in requests if it.body == one] for one in (ONE, TWO)}

    assert all(request.ok for request in requests)
    assert min(took[TWO]) < 1.5 <= min(took[ONE])


def test_fifty_requests_a_second_all_succeed_at_their_times(lab):
    requests = sorted(lab.requests(50, 2), key=lambda request: request.start)

    assert [request.error for request in requests] == [""] * 100
    assert requests[-1].start - requests[0].start >= 1.9


def test_a_transfer_runs_on_and_its_breaking_is_seen(broken):
    whole = broken.load(1, 1, url=f"{URL}stream?seconds=1", timeout=10).finished()

    assert [request.body in (ONE * 10, TWO * 10) for request in whole] == [True]

    cut = broken.load(
        1, 1, host="director", url="http://192.168.122.10/stream?seconds=60", timeout=70
    )
    until(lambda: transferring(broken), 5, "the transfer has begun")
    broken.kill_server("lvs01")

    assert [request.error[:7] for request in cut.finished()] in (["cut off"], ["Connect"])


def transferring(lab):
    return "ESTAB" in lab.run("lvs01", ["ss", "-Htn", "sport", "=", ":80"]).stdout


def test_a_load_can_be_read_while_it_runs_and_stopped(lab):
    load = lab.load(50, 60)

    until(lambda: len(load.records()) >= 10, 5, "ten requests have ended")
    requests = load.stop()

    assert 10 <= len(requests) < 3000
    assert all(request.ok for request in requests)
