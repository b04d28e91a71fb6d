"""Checks that a delivery comes from GitHub."""

from __future__ import annotations

import hmac

from dispatch_state.errors import InvalidValue


def signed(secret: str | bytes, body: bytes, signature: str | None) -> bool:
    """Return whether a delivery carries the right signature, compared in constant time.

    Args:
        secret: the secret of the webhook.
        body: the body of the request, byte for byte.
        signature: the header `X-Hub-Signature-256`; None when there was none.

    Raises:
        InvalidValue: the secret is empty, or an argument has another type.
    """
    if not isinstance(secret, str | bytes) or not secret:
        raise InvalidValue("signed(secret): takes text or bytes that are not empty")
    if not isinstance(body, bytes | bytearray) or not isinstance(signature, str | None):
        raise InvalidValue("signed: takes the body as bytes, and the header's text or None")
    try:
        key = secret.encode() if isinstance(secret, str) else secret
    except UnicodeEncodeError:
        raise InvalidValue("signed(secret): contains a lone surrogate, which is not a character") from None
    expected = "sha256=" + hmac.digest(key, body, "sha256").hex()
    return hmac.compare_digest(expected.encode(), (signature or "").encode(errors="replace"))
