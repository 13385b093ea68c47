"""Self-signed certificates, made by openssl, and TLS contexts for servers that use them."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import program


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, which are also the authority that signed it."""

    crt: Path
    key: Path


def a_certificate(folder: Path, name: str = "server", *subjects: str) -> Certificate:
    """Make a certificate for these subjects, such as `DNS:localhost`. The default is 127.0.0.1 and ::1."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    subjects = subjects or ("IP:127.0.0.1", "IP:::1")
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-addext",
        f"subjectAltName={','.join(subjects)}",
    ]
    command += ["-keyout", str(made.key), "-out", str(made.crt)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def server_tls(own: Certificate, client: Certificate | None = None) -> ssl.SSLContext:
    """The context of a server. `client`: the only client certificate that it accepts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.crt, own.key)
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.crt)
    return context
