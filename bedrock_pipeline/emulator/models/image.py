"""Images in bodies.

What belongs here: whether an image is one that the service takes, and what a model sees of it. Source of the limits:
"Converse", Amazon Bedrock API reference, `ImageBlock`.
"""

import base64
import binascii
import hashlib
import math

FORMATS = ("png", "jpeg", "gif", "webp")
MOST_IMAGES = 20
_MOST_BYTES = 3_750_000
_FIRST = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff", "gif": b"GIF8", "webp": b"RIFF"}
#: Bytes per emulated token, up to what a model makes of an image of full size.
_BYTES_PER_TOKEN, _MOST_TOKENS = 750, 1600


def seen(kind: str, encoded: object, *, most_bytes: int = _MOST_BYTES) -> tuple[str, int]:
    """What a model sees of an image, as text that differs as images do; and its tokens.

    Raises:
        ValueError: why the service would reject it.
    """
    if not isinstance(encoded, str):
        raise ValueError("Input should be a valid string")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("Invalid base64 data") from None
    if len(data) > most_bytes:
        raise ValueError(f"image exceeds {most_bytes} bytes: {len(data)} bytes")
    if not data.startswith(_FIRST[kind]):
        raise ValueError(f"the image is not of the media type image/{kind}")
    shown = hashlib.sha256(data).hexdigest()[:8]
    return f"[{kind} {shown}]", min(_MOST_TOKENS, math.ceil(len(data) / _BYTES_PER_TOKEN))
