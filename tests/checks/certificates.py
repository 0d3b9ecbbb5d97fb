"""An authority for the tests of TLS, and servers that have its certificates."""

import ssl
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import trustme

NAME = "www.example.org"


class Authority:
    """Signs certificates; *path* is the file that says to trust it, *text* what stands in it."""

    def __init__(self, folder):
        self._ca = trustme.CA()
        self._folder = folder
        self.path = str(folder / "authority.pem")
        self._ca.cert_pem.write_to_path(self.path)
        self.text = self._ca.cert_pem.bytes().decode()

    def issue(self, *names, begins=None, ends=None):
        """Return a certificate for *names*, valid from and until so many days from now."""
        return self._ca.issue_cert(
            *(names or (NAME,)),
            not_before=None if begins is None else day(begins),
            not_after=None if ends is None else day(ends),
        )

    def file(self, name, certificate):
        """Return the path of a file with the certificate and its key."""
        path = self._folder / f"{name}.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    def server(self, certificate, **settings):
        """Return the context of a server with *certificate*, which trusts this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(self.path)
        certificate.configure_cert(context)
        for name, value in settings.items():
            setattr(context, name, value)
        return context


def day(number):
    """Return the moment *number* days from now."""
    return datetime.now(timezone.utc) + timedelta(days=number)


def inside(context, conduct=lambda tls: tls.recv(1)):
    """Return *conduct*, waiting for the client's goodbye by default, as it is inside TLS."""

    def secured(client):
        with suppress(ssl.SSLError):
            tls = context.wrap_socket(client, server_side=True)
            with tls:
                conduct(tls)
                tls.unwrap()

    return secured
