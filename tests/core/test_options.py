"""Words become a command with options, as popt reads them for ipvsadm."""

import pytest

from lvs_nat.core.options import Line, read


@pytest.mark.parametrize(
    "words, line",
    [
        ("-A -t 10.0.0.1:80", Line("-A", "", {"-t": "10.0.0.1:80"})),
        ("-A -t10.0.0.1:80 -srr", Line("-A", "", {"-t": "10.0.0.1:80", "-s": "rr"})),
        ("-A -t=10.0.0.1:80 -s=rr", Line("-A", "", {"-t": "10.0.0.1:80", "-s": "rr"})),
        ("-At 10.0.0.1:80", Line("-A", "", {"-t": "10.0.0.1:80"})),
        ("-At=10.0.0.1:80", Line("-A", "", {"-t": "10.0.0.1:80"})),
        ("--add-service --tcp-service=v", Line("-A", "", {"-t": "v"})),
        ("--add-service --tcp-service v", Line("-A", "", {"-t": "v"})),
        (
            "-a -t v -r r -mw5",
            Line("-a", "", {"-t": "v", "-r": "r", "-m": "", "-w": "5"}),
        ),
        ("-a -t v -r r -w -1", Line("-a", "", {"-t": "v", "-r": "r", "-w": "-1"})),
        ("-A -t v -p", Line("-A", "", {"-t": "v", "-p": ""})),
        ("-A -t v -p 5", Line("-A", "", {"-t": "v", "-p": "5"})),
        ("-A -p -t v", Line("-A", "", {"-p": "", "-t": "v"})),
        ("-A -t v --persistent=5", Line("-A", "", {"-t": "v", "-p": "5"})),
        ("-A -t v -o", Line("-A", "", {"-t": "v", "-o": ""})),
        ("-A -t v ops", Line("-A", "", {"-t": "v", "-o": ""})),
        (
            "-A -t v -p 5 pe sip ops",
            Line("-A", "", {"-t": "v", "-p": "5", "--pe": "sip", "-o": ""}),
        ),
        ("-A -f 5 -6", Line("-A", "", {"-f": "5", "-6": ""})),
        ("-l -nc", Line("-L", "", {"-n": "", "-c": ""})),
        ("-C", Line("-C", "", {})),
        ("--set 1 2 3", Line("--set", "1", {}, ("2", "3"))),
        ("--start-daemon=master --syncid 5", Line("--start-daemon", "master", {"--syncid": "5"})),
    ],
)
def test_a_line_is_read_as_ipvsadm_reads_it(words, line):
    assert read(words.split()) == line


@pytest.mark.parametrize(
    "words, problems",
    [
        ("-t v -A", ["a rule begins with its command: write -A before -t"]),
        ("echo hi", ["echo is not a command: begin the rule with -A, -a or another"]),
        ("--add-servr -t v", ["--add-servr is not an option: write --add-server"]),
        ("--", ["-- is not an option: take it away"]),
        ("-A -a -t v", ["-a is a second command: write it on a line of its own"]),
        ("-A -t v --tcp w", ["--tcp is not an option: write --tcp-service"]),
        ("-A -t v --scheduller=rr", ["--scheduller is not an option: write --scheduler"]),
        ("-A -t v --bogus", ["--bogus is not an option: take it away"]),
        ("-A -t v -T w", ["-T is not an option: did you mean -t?"]),
        ("-A -t v -oq", ["-q in -oq is not an option: take it away"]),
        ("-A -t v -ops", ["-ops begins like short options: write --ops"]),
        ("-A -t v -scheduler rr", ["-scheduler begins like short options: write --scheduler"]),
        ("-A -t v -o=1", ["-o takes no value: write it without =1"]),
        ("-A -t v --ops=1", ["--ops takes no value: write it without =1"]),
        ("-A -t v --scheduler=", ["--scheduler has no value after it: write one"]),
        ("-A -t v -s=", ["-s has no value after it: write one"]),
        ("-A -t v -s", ["-s has no value after it: write one"]),
        ("-A -t v -s rr -s rr", ["-s stands twice: leave one"]),
        ("-A -t v -u w", ["-t and -u: a rule has one service, leave one"]),
        ("-A -t v -o ops", ["-o stands twice: leave one"]),
        ("-A -t v pe", ["--pe has no value after it: write one"]),
        ("-A -t v extra", ["unexpected word extra: take it away"]),
        ("-a -t v -r r ops", ["unexpected word ops: take it away"]),
        ("-A -- -t v", ["unexpected word -t: take it away"]),
        ("-A -t v \\", ["unexpected word \\: write the whole rule on one line"]),
        ("-A -t v ; -A -t w", ["; joins no rules: write one rule on a line"]),
        ("-A", ["-A needs a service: write -t, -u, --sctp-service or -f with it"]),
        ("-a -t v", ["-a needs a real server: write -r ADDRESS:PORT with it"]),
        ("-A -t v -r r", ["-A takes no -r (--real-server): it belongs on an -a line of its own"]),
        (
            "-a -t v -r r -s rr",
            ["-a takes no -s (--scheduler): it belongs on the service's -A line"],
        ),
        ("-C -t v", ["-C takes no -t (--tcp-service): take it away"]),
        ("-a -t v -r r -mg", ["-m and -g: a rule has one forwarding method, leave one"]),
        (
            "-A -t v -6",
            ["-6 is for -f alone, an address says by itself which kind it is: take it away"],
        ),
        ("-A -6 -f 1", ["-6 stands before -f, which ipvsadm refuses: write it after -f MARK"]),
        (
            "-A -t v --bogus --tcp w -s",
            [
                "--bogus is not an option: take it away",
                "--tcp is not an option: write --tcp-service",
                "-s has no value after it: write one",
            ],
        ),
        ("-A -t v " + "-" * 90, [f"{'-' * 57}... is not an option: take it away"]),
    ],
)
def test_words_that_make_no_rule_are_all_named_with_what_to_write(words, problems):
    assert list(read(words.split()).problems) == problems
