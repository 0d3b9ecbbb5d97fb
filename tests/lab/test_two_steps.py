"""A failure breaks no open connection where there is doubt; where there is none, it is reset."""

import sys
import time
from subprocess import PIPE

import pytest

from lvs_nat.lab.topology import until
from tests.lab.director import LVS01, LVS02, VIP, Director

pytestmark = pytest.mark.lab

# Opens a transfer, says whose it is, goes on sending, and prints when it was reset.
CLIENT = """
import socket, time
client = socket.create_connection(("172.25.0.10", 80), timeout=20)
client.sendall(b"GET /stream?seconds=30 HTTP/1.1\\r\\n\\r\\n")
print(client.recv(4096).decode("latin-1").split()[-2], flush=True)
try:
    for _ in range(400):
        client.send(b"x")
        time.sleep(0.05)
    print("inf")
except ConnectionResetError:
    print(time.monotonic())
"""


def transfers(director, number, seconds):
    """Open *number* transfers through the director, that many *seconds* long; return their load."""
    url = f"http://{VIP}/stream?seconds={seconds}"
    load = director.lab.load(number, 1, url=url, timeout=seconds + 15)

    def open_():
        return sum(director.server(it)["active_connections"] for it in (LVS01, LVS02)) >= number

    until(open_, 10, f"{number} open transfers")
    return load


def test_the_open_transfers_of_a_server_that_fails_its_question_end_whole():
    with Director(config="check = http\n") as director:
        director.service("start")
        load = transfers(director, 20, 6)
        open_at_lvs01 = director.server(LVS01)["active_connections"]
        director.lab.answer_with_errors("lvs01")
        director.until_table(f"{LVS01} -m -w 0", 3)
        records = load.finished()

        assert open_at_lvs01 >= 5
        assert [record.error for record in records] == [""] * 20
        assert {one.body.split()[0] for one in director.lab.requests(20, 0.5)} == {"lvs02"}


def test_the_client_of_a_server_that_is_removed_is_told_within_a_second():
    with Director() as director:
        director.service("start")
        client = director.lab.popen("client", [sys.executable, "-c", CLIENT], stdout=PIPE)
        name = client.stdout.readline().strip()
        server = {"lvs01": LVS01, "lvs02": LVS02}[name]
        began = time.monotonic()
        director.command("disable", server)
        director.until_table(server, 3, present=False)
        removed = time.monotonic()
        reset = float(client.communicate(timeout=40)[0])

        print(f"reset {reset - removed:.2f} s after it was seen to be removed")
        assert began < reset <= removed + 1.0


def test_a_false_alarm_of_two_seconds_breaks_no_connection():
    with Director() as director:
        director.service("start")
        load = transfers(director, 60, 12)
        # What the director asks is lost, and what clients send arrives.
        for source in ("192.168.122.1", "172.25.0.10"):
            lost = ["-A", "INPUT", "-s", source, "-p", "tcp", "-j", "DROP"]
            director.lab.run("lvs01", ["iptables-legacy", "-w", *lost])
        director.until_table(f"{LVS01} -m -w 0", 4)
        until(lambda: director.server(LVS01)["for"] >= 1, 5, "two seconds of an alarm")
        director.lab.mend("lvs01")
        director.until_table(f"{LVS01} -m -w 5", 5)
        records = load.finished()

        assert [record.error for record in records] == [""] * 60
