"""The credentials of a request: HTTP Basic and tokens."""

from base64 import b64decode, urlsafe_b64decode

from jobstore.web import documents


def basic_of(authorization: str) -> tuple[str, str] | None:
    """Return the user name and the password of Basic credentials, or None: RFC 7617.

    We ask for UTF-8, but clients such as Python's requests send Latin-1 anyway.
    """
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(credentials.strip(), validate=True)
    except ValueError:
        return None
    try:
        name, _, password = pair.decode().partition(":")
    except UnicodeDecodeError:
        name, _, password = pair.decode("latin-1").partition(":")
    return name, password


def claimed_name(authorization: str) -> str:
    """Return the unverified name in a client's Basic credentials or JSON Web Token."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        name, _ = basic_of(authorization) or ("", "")
        return name
    try:
        _, claims, _ = token.strip().split(".")
        padded = claims + "=" * (-len(claims) % 4)
        name = documents.loads(urlsafe_b64decode(padded))["preferred_username"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return name if isinstance(name, str) else ""
