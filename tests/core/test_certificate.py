import ssl
from datetime import datetime, timezone

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core import certificate
from lvs_nat.core.certificate import Certificate

BEGINS = datetime(2049, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
ENDS = datetime(2050, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
CA = trustme.CA()


def der(*names, **more):
    """Return a certificate that is valid from BEGINS to ENDS, whose dates have two forms."""
    made = CA.issue_cert(*names, not_before=BEGINS, not_after=ENDS, **more)
    return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())


WEB = der("www.example.org", "*.example.com", "192.0.2.1", "fd00::10")


@pytest.mark.parametrize(
    "data, names",
    [
        (WEB, ("www.example.org", "*.example.com", "192.0.2.1", "fd00::10")),
        (der(common_name="www.example.org"), ("www.example.org",)),
        (der("a.example", common_name="b.example"), ("a.example",)),
        (der(common_name="\x1b[2J" + "x" * 60), (r"\x1b[2J" + "x" * 60,)),
    ],
    ids=["alternative names", "a common name", "both", "control bytes"],
)
def test_a_certificate_tells_its_dates_and_names(data, names):
    assert certificate.read(data) == Certificate(BEGINS, ENDS, names)


@pytest.mark.parametrize(
    "names, shown",
    [
        ((), "none"),
        (("a",), "a"),
        (("a", "b", "c"), "a, b, c"),
        (("a", "b", "c", "d", "e"), "a, b, c and 2 more"),
    ],
)
def test_a_few_of_its_names_are_shown(names, shown):
    assert Certificate(BEGINS, ENDS, names).shown == shown


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x00", b"\x30\x80", b"\x30\x02\x30\x00", b"HTTP"]
)
def test_what_is_no_certificate_is_none(data):
    with pytest.raises(ValueError, match=r"no certificate|no element|cut short|no size"):
        certificate.read(data)


@pytest.mark.fuzz
@given(st.integers(0, len(WEB) - 1), st.binary(max_size=4), st.booleans())
def test_damage_is_read_or_refused_and_nothing_else(place, instead, cut):
    damaged = WEB[:place] + instead + (b"" if cut else WEB[place + len(instead) :])
    try:
        found = certificate.read(damaged)
    except ValueError:
        return
    assert isinstance(found, Certificate)
