"""Prints each alert that Alertmanager sends, as one line of JSON."""

import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receive(BaseHTTPRequestHandler):
    """What a pager, a chat room or a retraining job would do with an alert."""

    def do_POST(self) -> None:
        """Take one message; it may hold several alerts."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received = datetime.now(UTC).isoformat(timespec="milliseconds")
        for alert in message["alerts"]:
            line = {
                "received": received,
                "alert": alert["labels"]["alertname"],
                "feature": alert["labels"].get("feature"),
                "severity": alert["labels"].get("severity"),
                "status": alert["status"],
                "summary": alert["annotations"]["summary"],
            }
            print(json.dumps(line), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *parts: object) -> None:
        """Nothing but the alerts."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", 9000), Receive).serve_forever()
