"""Hooks of schemathesis: what a schema cannot say about this server."""

import uuid

import schemathesis


def text(ctx, value):
    """Session descriptions are sent as they are generated: as texts."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


for media in ("application/sdp", "application/trickle-ice-sdpfrag"):
    schemathesis.serializer(media)(text)


def is_positive(case):
    mode = getattr(getattr(case.meta, "generation", None), "mode", None)
    return mode is None or mode.is_positive


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """A sound request uses no other request's `Idempotency-Key`, no cursor and no entity tag that
    the server never gave: how those are refused is held by sdk-spec/conformance."""
    if not is_positive(case):
        return
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key":
            case.headers[name] = uuid.uuid4().hex
        elif name.lower() in ("if-match", "if-none-match") and "sessions" not in case.path:
            del case.headers[name]
    if "wait_seconds" in (case.query or {}):
        case.query["wait_seconds"] = 0  # Nobody learns anything from waiting.
    for name in ("cursor", "after"):
        if name in (case.query or {}):
            del case.query[name]
