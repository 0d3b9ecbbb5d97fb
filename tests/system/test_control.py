"""Who asks by the control socket, as the kernel knows him."""

import subprocess
import sys

import pytest

ASK = """
import os, socket
os.setgroups({groups})
os.setresgid(65534, 65534, 65534)
from lvs_nat.system.control import Conversation
print(sorted(Conversation(socket.socketpair()[0]).gids))
"""


@pytest.mark.kernel  # as root, who may be in any group
@pytest.mark.parametrize(
    ("groups", "known"),
    [
        ([], [65534]),
        ([4242, 4243], [4242, 4243, 65534]),
        (list(range(1, 257)), [*range(1, 257), 65534]),
        (list(range(1, 258)), [65534]),  # more than can be asked for
    ],
    ids=["none", "two", "256", "more"],
)
def test_all_groups_of_who_asks_are_known(groups, known):
    command = [sys.executable, "-c", ASK.format(groups=groups)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == (f"{known}\n", "")
