"""Where we differ from ipvsadm on purpose: the one table, for the tests and for docs/rules.md."""

from typing import NamedTuple

from lvs_nat.core.spelling import spell

REFUSED = "refused"
NOTHING = ""
SERVICE = "-A -t 10.0.0.1:80 -s rr\n"


class Difference(NamedTuple):
    """What *rules* come to: refused, or the table as `ipvsadm -S -n` or we spell it."""

    rules: str
    theirs: str
    ours: str
    why: str


DIFFERENCES = (
    # What we understand and ipvsadm does not.
    Difference(
        "# web",
        REFUSED,
        NOTHING,
        "A file may be commented; ipvsadm -R ends at the line, and loads what stood before it.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s rr # web",
        REFUSED,
        SERVICE,
        "So may a line.",
    ),
    Difference(
        "/sbin/ipvsadm -A -t 10.0.0.1:80 -s rr",
        REFUSED,
        SERVICE,
        "As the lines of shell scripts begin; ipvsadm -R knows only the bare word ipvsadm.",
    ),
    Difference(
        "-A -u 10.0.0.1:5060 -s rr -p 60 pe sip ops",
        REFUSED,
        "-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip -o\n",
        "ipvsadm 1.26 (EL6) saves --pe and -o as bare words, which its own -R refuses.",
    ),
    Difference(
        "-A -f -1 -s rr",
        REFUSED,
        "-A -f 4294967295 -s rr\n",
        "ipvsadm -S writes marks from 2147483648 on so. A warning asks for the real number.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s rr\n-a -r 192.168.0.1:http -t 10.0.0.1:80 -m",
        REFUSED,
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w 1\n",
        "Options stand in any order; the protocol of a port name is the service's.",
    ),
    # What ipvsadm writes in a way that loses something.
    Difference(
        "-A -f 4294967295 -s rr",
        "-A -f -1 -s rr\n",
        "-A -f 4294967295 -s rr\n",
        "Firewall marks are unsigned: ipvsadm cannot restore what it wrote.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s sh -b flag-3",
        "-A -t 10.0.0.1:80 -s sh -b \n",
        "-A -t 10.0.0.1:80 -s sh -b flag-3\n",
        "The same: what ipvsadm wrote has no flag after -b, and the service is lost.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -x 10 -y 5",
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w 1\n",
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w 1 -x 10 -y 5\n",
        "ipvsadm does not save thresholds.",
    ),
    Difference(
        "--set 900 120 300",
        NOTHING,
        "--set 900 120 300\n",
        "Nor timeouts (we write them first) nor sync daemons (we write them last).",
    ),
    # What means something else to ipvsadm than its writer is likely to mean.
    Difference(
        "-A -t 10.1:80 -s rr",
        "-A -t 10.0.0.1:80 -s rr\n",
        REFUSED,
        "A short address is what a torn or mistyped one looks like: 192.168.1 would be taken for"
        " 192.168.0.1.",
    ),
    Difference(
        "-A -t 192.168.0.010:80 -s rr",
        "-A -t 192.168.0.8:80 -s rr\n",
        REFUSED,
        "A leading zero makes a number octal, where that makes it another number.",
    ),
    Difference(
        "-A -t [10.0.0.1]:80 -s rr -p",
        "-A -t 10.0.0.1:0 -s rr -p 360\n",
        REFUSED,
        "ipvsadm loses the port after an IPv4 address in brackets.",
    ),
    Difference(
        "-A -t 2001:db8::1:80 -s rr -p",
        "-A -t [2001:db8::1:80]:0 -s rr -p 360\n",
        REFUSED,
        "An address that could end in a port: brackets tell which is meant.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s rr -p 60 -M 24",
        "-A -t 10.0.0.1:80 -s rr -p 60 -M 0.0.0.24\n",
        REFUSED,
        "A prefix length is not an IPv4 netmask.",
    ),
    Difference(
        "-A -M 64 -p 60 -t [2001:db8::1]:80 -s rr",
        "-A -t [2001:db8::1]:80 -s rr -p 60\n",
        REFUSED,
        "ipvsadm forgets -M when the IPv6 service comes after it.",
    ),
    Difference(
        "-A -f 1 -s rr -p 60 -M 255.255.255.0 -6",
        "-A -f 1 -6 -s rr -p 60\n",
        REFUSED,
        "The same with -6.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s rr\n-a -r 192.168.0.1 -t 10.0.0.1:80 -m",
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.0.1:0 -m -w 1\n",
        REFUSED,
        "ipvsadm makes the port 0 when -r comes before the service.",
    ),
    Difference(
        "-v\n-A -t 10.0.0.1:80 -s rr",
        NOTHING,
        REFUSED,
        "-v and -h end ipvsadm -R, with exit status 0 and the rest unread.",
    ),
    # What ipvsadm skips.
    Difference(
        "-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:80 -s wlc\n-A -t 10.0.0.2:80 -s rr",
        "-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.2:80 -s rr\n",
        REFUSED,
        "What the kernel refuses (here: a service added twice), ipvsadm -R reports and skips;"
        " its exit status is that of the last line.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 --bogus\n-A -t 10.0.0.2:80 -s rr",
        "-A -t 10.0.0.2:80 -s rr\n",
        REFUSED,
        "So it does with an unknown option.",
    ),
    Difference(
        "-A -t 10.0.0.1:80 -s=",
        "-A -t 10.0.0.1:80 -s wlc\n",
        REFUSED,
        "A value is missing.",
    ),
    Difference(
        "-A -f 5 -6 -6 -s rr",
        "-A -f 5 -6 -s rr\n",
        REFUSED,
        "No option stands twice.",
    ),
    # What only the kernel that is there can know.
    Difference(
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i\n"
        "--start-daemon backup --mcast-interface nosuch",
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i -w 1 --tun-type ipip\n",
        "-A -t 10.0.0.1:80 -s rr\n"
        "-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i -w 1 --tun-type ipip\n"
        "--start-daemon backup --mcast-interface nosuch --syncid 0\n",
        "The interface of a sync daemon, a route to a tunnel's other end, a scheduler's module:"
        " what the kernel refuses then is reported when the rules are applied.",
    ),
)

# Recorded rule sets and lines that the table above explains: which line of theirs by which of ours.
RECORDED = {
    "odd-addresses": "-A -t 10.1:80 -s rr",
    "err-kernel-continues": DIFFERENCES[19].rules,
    "err-unknown-option": DIFFERENCES[20].rules,
    "comments-R": "# web",
    "comments-indented-restore": "# web",
    "-A -t 10.1:80": "-A -t 10.1:80 -s rr",
    "-A -t 010.0.0.1:80": "-A -t 192.168.0.010:80 -s rr",
    "-A -t 10.0.0.1:80 -p 60 -M 24": "-A -t 10.0.0.1:80 -s rr -p 60 -M 24",
    "-A -f 1 -p 60 -M 255.255.255.0 -6": "-A -f 1 -s rr -p 60 -M 255.255.255.0 -6",
    "-A -t 10.0.0.1:80 #comment": "-A -t 10.0.0.1:80 -s rr # web",
    "# comment": "# web",
    "#": "# web",
    "--help": "-v\n-A -t 10.0.0.1:80 -s rr",
    "-v": "-v\n-A -t 10.0.0.1:80 -s rr",
    "-a -r 192.168.0.1:http -t 10.0.0.1:80 -m": DIFFERENCES[5].rules,
    "-a -t 10.0.0.1:80 -r 2001:db8::2 -i": DIFFERENCES[-1].rules,
    "--start-daemon backup --mcast-interface lo --syncid 5": DIFFERENCES[-1].rules,
}


def as_ipvsadm(ruleset):
    """Return the lines that ipvsadm would write: without what the table says it loses."""
    lines = []
    for line in spell(ruleset).splitlines():
        words = line.split(" ")
        if words[0].startswith("--"):
            continue
        for option in ("-x", "-y"):
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
        if "-f" in words and int(words[words.index("-f") + 1]) >= 2**31:
            words[words.index("-f") + 1] = str(int(words[words.index("-f") + 1]) - 2**32)
        if "-b" in words and {"sh", "mh"} & set(words):
            flags = words[words.index("-b") + 1].split(",")
            words[words.index("-b") + 1] = ",".join(flag for flag in flags if flag != "flag-3")
        lines.append(" ".join(words) + "\n")
    return lines


def table():
    """Return the table as docs/rules.md has it."""
    rows = ["| rules | `ipvsadm -R`, then `-S -n` | lvs-nat | why |", "|---|---|---|---|"]
    for rules, theirs, ours, why in DIFFERENCES:
        rows.append(f"| {_cell(rules)} | {_cell(theirs)} | {_cell(ours)} | {why} |")
    return "\n".join(rows) + "\n"


def _cell(text):
    if text == REFUSED:
        return REFUSED
    return "<br>".join(f"`{line.strip()}`" for line in text.splitlines()) or "(empty)"
