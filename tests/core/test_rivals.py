"""What tells a rival from a friend."""

import pytest

from lvs_nat.core.rivals import Keepalived, Rival, has_virtual_servers, includes, keepalived


@pytest.mark.parametrize(
    "words, told",
    [
        ([], Keepalived()),
        (["-D"], Keepalived()),
        (["-f", "/etc/k.conf"], Keepalived("/etc/k.conf")),
        (["-f/etc/k.conf", "-D"], Keepalived("/etc/k.conf")),
        (["-nlf", "/etc/k.conf"], Keepalived("/etc/k.conf")),
        (["--use-file=/etc/k.conf"], Keepalived("/etc/k.conf")),
        (["--use-file", "/etc/k.conf"], Keepalived("/etc/k.conf")),
        (["-P"], Keepalived(vrrp_alone=True)),
        (["-DP"], Keepalived(vrrp_alone=True)),
        (["--vrrp"], Keepalived(vrrp_alone=True)),
        (["-p", "/run/P.pid"], Keepalived()),
        (["-p/run/P.pid"], Keepalived()),
        (["-f"], Keepalived("")),
        (["--use-file"], Keepalived("")),
    ],
)
def test_what_keepalived_was_told_to_do(words, told):
    assert keepalived(words) == told


@pytest.mark.parametrize(
    "text, found",
    [
        ("virtual_server 10.0.0.1 80 {\n}\n", True),
        ("virtual_server fwmark 3 {\n}\n", True),
        ("global_defs {\n} virtual_server group web {\n}\n", True),
        ("  virtual_server\n10.0.0.1 80 {\n", True),
        ("@main virtual_server 10.0.0.1 80 {\n", True),
        ("vrrp_instance one {\n  virtual_ipaddress {\n    10.0.0.1\n  }\n}\n", False),
        ("virtual_server_group web {\n  10.0.0.1 80\n}\n", False),
        ("# virtual_server 10.0.0.1 80 {\n", False),
        ("! virtual_server 10.0.0.1 80 {\n", False),
        ("lvs_sync_daemon eth0 # virtual_server 10.0.0.1 80\n", False),
        ("", False),
    ],
)
def test_keepalived_is_a_rival_only_with_virtual_servers(text, found):
    assert has_virtual_servers(text) is found


def test_files_that_are_included_are_found():
    text = 'include a/*.conf\n  include "/etc/b.conf" # why\n#include c\nincluder d\nincludes\n'

    assert includes(text) == ["a/*.conf", "/etc/b.conf", "d"]


@pytest.mark.parametrize(
    "rival, systemd, words",
    [
        (
            Rival("keepalived", 812, "/etc/keepalived/keepalived.conf"),
            True,
            "keepalived (pid 812) programs the same table, as /etc/keepalived/keepalived.conf has "
            "virtual_server: take that out of it, or stop it "
            "(`systemctl disable --now keepalived`)",
        ),
        (
            Rival("ldirectord", 7),
            False,
            "ldirectord (pid 7) programs the same table: stop it "
            "(`service ldirectord stop; chkconfig ldirectord off`)",
        ),
        (
            Rival("ipvsadm"),
            True,
            "the service ipvsadm is on, whose stop clears the table, and may write over the rule "
            "file: stop it (`systemctl disable --now ipvsadm`)",
        ),
        (
            Rival("lvs-nat", 9),
            True,
            "another director, lvs-nat (pid 9), programs the table of this network: stop it, or "
            "run this one in a network namespace of its own",
        ),
    ],
)
def test_a_rival_is_named_with_what_to_do(rival, systemd, words):
    assert rival.told(systemd) == words
