"""Kinds of check are found in their modules, and all that they need can be loaded beforehand."""

import subprocess
import sys

import pytest

from lvs_nat.checks import kinds
from lvs_nat.checks.kind import Kind


@pytest.mark.parametrize("kind", kinds.MODULES)
def test_every_question_has_a_kind(kind):
    assert isinstance(kinds.load(kind), Kind)


def test_what_is_preloaded_is_all_that_a_question_is_ever_loaded_for():
    program = (
        "import sys; from lvs_nat.checks import kinds; kinds.preload();"
        "sys.path[:] = []; sys.meta_path[:] = [];"
        "import ssl, urllib.parse, hashlib, lvs_nat.checks.secure, dns.message, h2.connection;"
        "from datetime import datetime; datetime.strptime('2026', '%Y')"
    )

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_page_is_asked_for_without_openssl():
    program = (
        "import sys; from lvs_nat.checks import kinds; from lvs_nat.core.questions import Http;"
        "from lvs_nat.core.setup import Check, Target; from lvs_nat.model import Endpoint;"
        "http = kinds.load(Http().kind);"
        "http.prepare(Target(Endpoint.parse('192.0.2.1:80'), Check(Http(text='well'))));"
        "print(*{'_ssl', '_hashlib'} & sys.modules.keys())"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("\n", "")
