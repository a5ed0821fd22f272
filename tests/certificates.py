"""Certificates for a test, made by Debian's openssl; none is kept, since each would expire."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.packages import needs

needs_openssl = needs("openssl", package="openssl")


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate that vouches for itself, and its key."""

    certificate: Path
    key: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client has that trusts it, and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def put(self, certificate: Path, key: Path) -> None:
        """Put them in the place of others, as a renewal does."""
        for made, place in ((self.certificate, certificate), (self.key, key)):
            fresh = place.with_suffix(".new")
            fresh.write_bytes(made.read_bytes())
            fresh.replace(place)


def certified(folder: Path, name: str = "localhost", *options: str) -> Certified:
    """Make a certificate for a name.

    Args:
        options: those of ``openssl req`` in the place of ``-nodes``, which leaves the key in clear.
    """
    folder.mkdir(exist_ok=True)
    made = Certified(folder / "certificate.pem", folder / "key.pem")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1",
        "-keyout", str(made.key), "-out", str(made.certificate), *(options or ("-nodes",)),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return made
