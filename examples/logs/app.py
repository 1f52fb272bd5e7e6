"""A host: `python -m examples.logs.app HOST LOG_FILE PORT_FILE`. A web server that knows nothing of Kafka.

It logs as programs do, with `logging` into a file: one line of JSON for each entry, a traceback in the entry it belongs
to. Such a line is written in one piece and is whole once its line end is there.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from examples import children

log = logging.getLogger("web")


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time_ms": int(record.created * 1000),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class Pages(BaseHTTPRequestHandler):
    """/page/N exists, /crash raises, anything else is not found."""

    def do_GET(self) -> None:
        try:
            status = self.look_up()
        except Exception:
            status = 500
            log.exception("GET %s 500", self.path)
        else:
            log.log(logging.INFO if status == 200 else logging.WARNING, "GET %s %d", self.path, status)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def look_up(self) -> int:
        if self.path == "/crash":
            raise ConnectionError("the database does not answer")
        return 200 if self.path.startswith("/page/") else 404

    def log_message(self, _format: str, *_arguments: object) -> None:
        """Instead of the library's own lines on stderr: ours, above."""


def serve(host: str, log_file: Path, port_file: Path) -> int:
    handler = logging.FileHandler(log_file)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        # shutdown() waits for serve_forever, which runs in the thread that got the signal.
        signal.signal(signal.SIGTERM, lambda *_signal: threading.Thread(target=server.shutdown).start())
        log.info("%s listens", host)
        new = port_file.with_suffix(".new")
        new.write_text(str(server.server_port))
        new.replace(port_file)
        server.serve_forever(poll_interval=0.05)
    log.info("%s has stopped", host)
    return 0


if __name__ == "__main__":
    sys.exit(children.main(serve, str, children.path, children.path))
