"""The real servers that the tests ask: each a context manager that gives the ports it has."""

import shutil
from contextlib import contextmanager
from types import SimpleNamespace

from tests.checks.servers import HOST, Place, endpoint, found, free_ports, program, relocated

USER, PASSWORD = "someone", "geheim"
ADMIN = "cn=admin,dc=example,dc=org"


def _given(place, server, **ports):
    """Return what a test knows of a running server: its endpoints, its process, its place."""
    named = {name: endpoint(port) for name, port in ports.items()}
    return SimpleNamespace(place=place, server=server, **named)


@contextmanager
def nginx(authority):
    plain, secure, old, expired = ports = free_ports(4)
    with Place() as place:
        www = place.folder("www")
        (www / "index.html").write_text("I am well\n")
        (www / "page.shtml").write_text('<!--#echo var="document_uri" --> is made in chunks\n')
        (www / "large").write_bytes(b"begin" + b"." * (1 << 20) + b"end")
        (www / "state.json").write_text('{"state": "ok", "queue": [0, 1]}')
        users = place.file("users", f"{USER}:{{PLAIN}}{PASSWORD}\n")
        temporary = "".join(
            f"{kind}_temp_path {place / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        pairs = {
            "good": place.file("good.pem", pem(authority.issue())),
            "expired": place.file("expired.pem", pem(authority.issue(begins=-9, ends=-2))),
        }
        conf = place.file("nginx.conf", f"""
            daemon off;
            pid {place / "pid"};
            error_log {place / "error.log"} info;
            worker_processes 1;
            events {{ worker_connections 100; }}
            http {{
                access_log {place / "access.log"};
                {temporary}
                root {www};
                ssi on;
                ssi_types *;
                ssl_certificate {pairs["good"]};
                ssl_certificate_key {pairs["good"]};
                ssl_protocols TLSv1.2 TLSv1.3;
                server {{
                    listen {HOST}:{plain};
                    location /moved {{ return 302 /; }}
                    location /elsewhere {{ return 301 https://www.example.org/; }}
                    location /ill {{ return 503; }}
                    location /nothing {{ return 204; }}
                    location /private {{
                        auth_basic private;
                        auth_basic_user_file {users};
                        try_files /index.html =404;
                    }}
                }}
                server {{ listen {HOST}:{secure} ssl http2; }}
                server {{ listen {HOST}:{old} ssl; ssl_protocols TLSv1.2; }}
                server {{
                    listen {HOST}:{expired} ssl;
                    ssl_certificate {pairs["expired"]};
                    ssl_certificate_key {pairs["expired"]};
                }}
            }}
        """)  # fmt: skip
        command = (program("nginx"), "-p", place.path, "-e", place / "error.log", "-c", conf)
        with place.running(*command, ports=ports) as server:
            yield _given(place, server, plain=plain, secure=secure, old=old, expired=expired)


def pem(certificate):
    return certificate.private_key_and_cert_chain_pem.bytes().decode()


@contextmanager
def exim(authority):
    plain, secure = ports = free_ports(2)
    with Place() as place:
        place.folder("spool")
        place.own_name("Debian-exim", "exim", "root", "mail", place.user)
        # The packaged one belongs to root with the set-user-ID bit, and would become root.
        copy = place / "exim4"
        shutil.copyfile(program("exim4"), copy)
        copy.chmod(0o755)
        certificate = place.file("server.pem", pem(authority.issue()))
        conf = place.file("conf", f"""
            primary_hostname = mail.example.org
            local_interfaces = {HOST}
            daemon_smtp_ports = {plain} : {secure}
            tls_on_connect_ports = {secure}
            tls_advertise_hosts = *
            tls_certificate = {certificate}
            spool_directory = {place / "spool"}
            log_file_path = {place.path}/%s.log
            exim_user = {place.user}
            exim_group = {place.user}
            never_users =
            keep_environment =
            acl_smtp_rcpt = refuse
            begin acl
            refuse:
              deny
            begin authenticators
            plain:
              driver = plaintext
              public_name = PLAIN
              server_condition = ${{if eq{{$auth3}}{{{PASSWORD}}}}}
              server_set_id = $auth2
        """.replace("\n            ", "\n"))  # fmt: skip
        with place.running(copy, "-bdf", "-C", conf, ports=ports) as server:
            yield _given(place, server, plain=plain, secure=secure)


@contextmanager
def dovecot(authority):
    imap, imaps, pop3, pop3s = ports = free_ports(4)
    with Place() as place:
        home = found("imap-login", "usr/lib/dovecot", "usr/libexec/dovecot").parent
        modules = found("modules", "usr/lib/dovecot", "usr/lib64/dovecot").parent
        if not str(home).startswith("/usr"):
            home = modules = relocated(home, place, "d", "/usr/lib/dovecot")
            place.libraries.insert(0, home)
        certificate = place.file("server.pem", pem(authority.issue()))
        users = place.file("users", f"{USER}:{{PLAIN}}{PASSWORD}\n")
        for name in ("run", "state", "home"):
            place.folder(name)
        libraries = ":".join(map(str, place.libraries))
        listeners = "".join(
            f"""
            service {name}-login {{
              chroot =
              inet_listener {name} {{
                port = {port}
              }}
              inet_listener {name}s {{
                port = {secure}
                ssl = yes
              }}
            }}
            """
            for name, port, secure in (("imap", imap, imaps), ("pop3", pop3, pop3s))
        )
        conf = place.file("dovecot.conf", f"""
            protocols = imap pop3
            listen = {HOST}
            base_dir = {place / "run"}
            state_dir = {place / "state"}
            log_path = {place / "dovecot.log"}
            libexec_dir = {home}
            login_plugin_dir = {modules}/modules/login
            mail_plugin_dir = {modules}/modules
            mail_location = maildir:{place / "home"}
            import_environment = {f"LD_LIBRARY_PATH={libraries}" if libraries else ""}
            default_internal_user = {place.user}
            default_internal_group = {place.group}
            default_login_user = {place.user}
            first_valid_uid = 1
            disable_plaintext_auth = no
            auth_failure_delay = 0
            ssl = yes
            ssl_cert = <{certificate}
            ssl_key = <{certificate}
            passdb {{
              driver = passwd-file
              args = {users}
            }}
            userdb {{
              driver = static
              args = uid={place.user} gid={place.group} home={place / "home"}
            }}
            service anvil {{
              chroot =
            }}
            service stats {{
              chroot =
            }}
            {listeners}
        """)  # fmt: skip
        # dovecot itself would look for doveconf where it is installed.
        read = (program("doveconf"), "-m", "master", "-c", conf, "-e")
        with place.running(*read, program("dovecot"), "-F", "-c", conf, ports=ports) as server:
            yield _given(place, server, imap=imap, imaps=imaps, pop3=pop3, pop3s=pop3s)


@contextmanager
def vsftpd(authority):
    (plain,) = ports = free_ports(1)
    with Place() as place:
        certificate = place.file("server.pem", pem(authority.issue()))
        settings = {
            "listen": "YES",
            "background": "NO",
            "listen_address": HOST,
            "listen_port": plain,
            "run_as_launching_user": "YES",
            "anonymous_enable": "YES",
            "ftp_username": place.user,
            "secure_chroot_dir": place.folder("empty"),
            "seccomp_sandbox": "NO",
            "ssl_enable": "YES",
            "allow_anon_ssl": "YES",
            "rsa_cert_file": certificate,
            "xferlog_enable": "YES",
            "vsftpd_log_file": place / "vsftpd.log",
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        conf = place.file("vsftpd.conf", text)
        with place.running(program("vsftpd"), conf, ports=ports) as server:
            yield _given(place, server, plain=plain)


@contextmanager
def redis(authority, *more):
    plain, secure = ports = free_ports(2)
    with Place() as place:
        certificate = place.file("server.pem", pem(authority.issue()))
        command = (
            program("redis-server"), "--bind", HOST, "--port", plain, "--tls-port", secure,
            "--tls-cert-file", certificate, "--tls-key-file", certificate, "--tls-ca-cert-file",
            place.file("ca.pem", authority.text), "--tls-auth-clients", "no", "--save", "", *more,
        )  # fmt: skip
        with place.running(*command, ports=ports) as server:
            yield _given(place, server, plain=plain, secure=secure)


@contextmanager
def memcached():
    (plain,) = ports = free_ports(1)
    with Place() as place:
        command = (program("memcached"), "-l", HOST, "-p", plain, "-U", "0", "-v")
        with place.running(*command, ports=ports) as server:
            yield _given(place, server, plain=plain)


@contextmanager
def mariadb(authority):
    (plain,) = ports = free_ports(1)
    with Place() as place:
        certificate = place.file("server.pem", pem(authority.issue()))
        trusted = place.file("ca.pem", authority.text)
        share = found("mysql_system_tables.sql", "usr/share/mysql", "usr/share/mariadb").parent
        data = place.folder("data")
        command = (
            program("mariadbd"), "--no-defaults", f"--basedir={share.parent.parent}",
            f"--lc-messages-dir={share}", f"--datadir={data}", "--innodb-buffer-pool-size=8M",
            "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        tables = ("system_tables", "performance_tables", "system_tables_data")
        sql = "".join((share / f"mysql_{name}.sql").read_text() for name in tables)
        place.run(*command, "--bootstrap", said=f"create database mysql;\nuse mysql;\n{sql}")
        users = place.file("users.sql", "".join(
            f"CREATE USER '{user}' IDENTIFIED BY '{password}';\n"
            for user, password in (("check", ""), (USER, PASSWORD))
        ))  # fmt: skip
        settings = (
            f"--port={plain}", f"--bind-address={HOST}", f"--socket={place / 'socket'}",
            f"--pid-file={place / 'pid'}", f"--init-file={users}", "--skip-name-resolve",
            f"--ssl-cert={certificate}", f"--ssl-key={certificate}", f"--ssl-ca={trusted}",
        )  # fmt: skip
        with place.running(*command, *settings, ports=ports) as server:
            yield _given(place, server, plain=plain)


@contextmanager
def postgresql(authority, secure):
    (plain,) = ports = free_ports(1)
    with Place() as place:
        certificate = place.file("server.pem", pem(authority.issue()), 0o600)
        password = place.file("password", PASSWORD)
        data = place.folder("data")
        place.own_name("postgres")
        place.run(
            program("initdb"), f"--pgdata={data}", f"--username={USER}", "--auth=scram-sha-256",
            f"--pwfile={password}", "--no-sync", "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        settings = {"fsync": "off", "log_connections": "off", "max_connections": "10"}
        if secure:
            settings |= {"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": certificate}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = (program("postgres"), "-D", data, "-h", HOST, "-p", plain, "-k", place.path)
        ready = "ready to accept connections"  # it listens before, and lets nobody in
        with place.running(*command, *options, ports=ports, ready=ready) as server:
            yield _given(place, server, plain=plain)


@contextmanager
def slapd(authority):
    plain, secure = ports = free_ports(2)
    with Place() as place:
        certificate = place.file("server.pem", pem(authority.issue()))
        conf = place.file("slapd.conf", f"""
include {found("core.schema", "etc/ldap/schema", "etc/openldap/schema")}
modulepath {found("back_mdb.so", "usr/lib/ldap", "usr/lib64/openldap").parent}
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {certificate}
TLSCACertificateFile {place.file("ca.pem", authority.text)}
database mdb
suffix "dc=example,dc=org"
rootdn "{ADMIN}"
rootpw {PASSWORD}
directory {place.folder("data")}
""")  # fmt: skip
        listening = f"ldap://{HOST}:{plain} ldaps://{HOST}:{secure}"
        command = (program("slapd"), "-d", "stats", "-f", conf, "-h", listening)
        with place.running(*command, ports=ports) as server:
            yield _given(place, server, plain=plain, secure=secure)


@contextmanager
def grpcio(authority, **states):
    """Run grpcio's own server, once plain and once inside TLS; *states* are its services'."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    leaf = authority.issue()
    pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    for name, word in states.items():
        servicer.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(word))
    if states:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    plain = server.add_insecure_port(f"{HOST}:0")
    secure = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield _given(None, server, plain=plain, secure=secure)
    finally:
        server.stop(None).wait()
