"""What must stand in the systemd unit, whoever edits it."""

from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent.parent / "packaging" / "lvs-nat.service"
SECTIONS = {}
for line in UNIT.read_text().splitlines():
    if line.startswith("["):
        section = SECTIONS.setdefault(line.strip("[]"), {})
    elif line and not line.startswith("#"):
        key, _, value = line.partition("=")
        section.setdefault(key, []).append(value)


@pytest.mark.parametrize(
    "section, key, values",
    [
        ("Unit", "Conflicts", ["ipvsadm.service"]),
        ("Unit", "Wants", ["network-online.target"]),
        ("Unit", "StartLimitIntervalSec", ["0"]),
        ("Service", "Type", ["notify"]),
        ("Service", "ExecStart", ["/usr/sbin/lvs-nat run $OPTIONS"]),
        ("Service", "ExecReload", ["/usr/sbin/lvs-nat reload $OPTIONS"]),
        ("Service", "ExecStop", ["/usr/sbin/lvs-nat stop --if-stop-job $OPTIONS"]),
        ("Service", "EnvironmentFile", ["-/etc/sysconfig/lvs-nat"]),
        ("Service", "Environment", ["LVS_NAT_OPTIONS=all"]),
        ("Service", "Restart", ["on-failure"]),
        ("Service", "RestartPreventExitStatus", ["2 4 5 6"]),
        ("Service", "RuntimeDirectory", ["lvs-nat"]),
        ("Service", "RuntimeDirectoryPreserve", ["yes"]),
        ("Service", "ReadWritePaths", ["/proc/sys/net"]),
        (
            "Service",
            "CapabilityBoundingSet",
            ["CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_SETUID CAP_SETGID CAP_SETPCAP"],
        ),
        ("Install", "WantedBy", ["multi-user.target"]),
    ],
)
def test_the_unit_says(section, key, values):
    assert SECTIONS[section][key] == values


def test_the_unit_waits_for_the_network_and_for_the_service_it_replaces():
    after = SECTIONS["Unit"]["After"][0].split()

    assert {"network-online.target", "ipvsadm.service"} <= set(after)


@pytest.mark.parametrize(
    "key",
    [
        "NoNewPrivileges",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "PrivateDevices",
        "MemoryDenyWriteExecute",
        "RestrictNamespaces",
    ],
)
def test_the_unit_is_hardened_by(key):
    assert SECTIONS["Service"][key] == ["yes"]


def test_a_start_that_fails_is_tried_again_soon_and_not_in_a_busy_loop():
    pause = SECTIONS["Service"]["RestartSec"][0]

    assert 200 <= int(pause.removesuffix("ms")) <= 1000


def test_the_watchdog_sees_a_hung_director_within_half_a_minute():
    assert int(SECTIONS["Service"]["WatchdogSec"][0]) <= 30


@pytest.mark.kernel  # to read a unit, systemd-analyze has to write to /run
def test_systemd_has_nothing_to_remark(judge, tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/sbin/lvs-nat", "/bin/true"))

    assert judge("systemd-analyze", "verify", unit) == (0, "", "")


@pytest.mark.kernel  # where everybody is root: it makes /run/systemd if that is not there
def test_its_sandbox_is_tight(judge):
    code, said, complaint = judge(
        *("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=25", UNIT)
    )

    assert (code, complaint) == (0, ""), said
