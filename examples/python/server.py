"""A partner's server: gives its users room tokens, takes Conclave's webhooks."""

import base64
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook

ENV = os.environ
BODY_BYTES_MAX = 64 * 1024


def handle_of(user):
    """Conclave knows people by an opaque handle that only this server can resolve."""
    digest = hmac.digest(ENV["APP_SECRET"].encode(), user.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def mint(room, user):
    grants = {"publish": ["camera", "microphone", "screen"], "subscribe": True}
    request = urllib.request.Request(
        f"{ENV['CONCLAVE_URL']}/v1/rooms/{urllib.parse.quote(room, safe='')}/tokens",
        json.dumps({"handle": handle_of(user), "grants": grants}).encode(),
        {"Authorization": f"Bearer {ENV['CONCLAVE_KEY']}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as problem:  # It tells the remedy.
        return problem.code, problem.read()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            body = self.rfile.read(max(0, min(int(self.headers["Content-Length"]), BODY_BYTES_MAX)))
            status, answer = 404, b""
            if self.path == "/token":
                # Your own login decides who `user` is: never take it from the page as here.
                status, answer = mint(**json.loads(body))
            elif self.path == "/webhook":
                event = Webhook(ENV["CONCLAVE_WEBHOOK_SECRET"]).verify(body, dict(self.headers))
                print(event["type"], event.get("room", ""), event["id"], flush=True)
                status = 204  # The same id may come again.
        except Exception:  # A wrong signature, no JSON.
            status, answer = 400, b""
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", int(ENV.get("PORT", "8080"))), Handler).serve_forever()
