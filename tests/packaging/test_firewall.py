"""What we give to firewalld and logrotate is what they can use."""

from pathlib import Path
from xml.etree import ElementTree

from lvs_nat.core import rules
from lvs_nat.model import SyncRole

ROOT = Path(__file__).parents[2]


def test_the_service_for_firewalld_opens_what_the_kernel_s_sync_daemon_uses_by_default():
    service = ElementTree.parse(ROOT / "packaging/lvs-nat-sync.xml").getroot()
    text = "--start-daemon backup --mcast-interface eth0 --mcast-group {} --mcast-port {}\n"
    port, destination = service.find("port"), service.find("destination")
    daemons = rules.parse(text.format(destination.get("ipv4"), port.get("port")), "").ruleset

    assert service.tag == "service"
    assert [child.tag for child in service] == ["short", "description", "port", "destination"]
    assert port.attrib == {"protocol": "udp", "port": "8848"}
    assert destination.attrib == {"ipv4": "224.0.0.81"}
    assert list(daemons.daemons) == [SyncRole.BACKUP]


def test_logrotate_takes_our_file(judge, tmp_path):
    place = tmp_path / "lvs-nat"
    place.write_bytes((ROOT / "packaging/lvs-nat.logrotate").read_bytes())
    place.chmod(0o644)
    code, out, err = judge("logrotate", "--debug", "--state", tmp_path / "state", place)

    said = out + err
    assert code == 0, said
    assert "error" not in said
    assert "rotating pattern: /var/log/lvs-nat.log  weekly (8 rotations)" in said
