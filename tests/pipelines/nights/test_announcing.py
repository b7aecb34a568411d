"""A night is announced where the environment says, and whatever becomes of that, the night ends as it ended."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from polyneuron.eval.nightly import announce as announcements
from polyneuron.pipelines.nights import announcing
from polyneuron.pipelines.nights.announcing import WEBHOOK, announce
from tests.eval.nightly.test_render import ALL, judgement, verdict

SECRET = "T000-B000-hunter2Secret"


class Listener:
    """An HTTP server on loopback that keeps what is posted to it."""

    def __init__(self, code: int = 200, location: str = "") -> None:
        self.requests: list[tuple[str, str, str, bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kind = self.headers.get("Content-Type") or ""
                listener.requests.append((self.command, self.path, kind, body))
                self.send_response(code)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = _answer

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/{SECRET}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (WEBHOOK, "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_SERVER_URL", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    path = tmp_path / "nightly-tue.md"
    path.write_text("# Nightly benchmarks: regression\n", encoding="utf-8")
    return path


def test_nothing_is_said_where_nothing_asks_for_it(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    announce([ALL], summary)
    assert capsys.readouterr() == ("", "")


def test_the_summary_is_appended_to_what_other_steps_wrote(
    summary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "step"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    announce([ALL], summary)
    assert step.read_text() == summary.read_text()
    announce([ALL], summary)
    assert step.read_text() == f"{summary.read_text()}\n{summary.read_text()}"
    monkeypatch.setattr(announcing, "MOST_SUMMARY_BYTES", step.stat().st_size + 40)
    announce([ALL], summary)
    assert "The rest is in" not in step.read_text() and step.stat().st_size <= announcing.MOST_SUMMARY_BYTES


def test_annotations_are_printed_on_github_alone(
    summary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    announce([ALL], summary)
    lines = capsys.readouterr().out.splitlines()
    assert lines == announcements.annotations([ALL]) and lines[0].startswith("::error title=org/m.base")


def test_the_message_arrives_as_json_with_a_link_to_the_run(
    summary: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WEBHOOK, f" {listener.url}\n")
    for name, value in (("SERVER_URL", "https://github.com"), ("REPOSITORY", "a/b"), ("RUN_ID", "7")):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    announce([ALL], summary)
    ((method, path, kind, body),) = listener.requests
    assert (method, path, kind) == ("POST", f"/services/{SECRET}", "application/json")
    run_url = "https://github.com/a/b/actions/runs/7"
    assert json.loads(body) == announcements.message([ALL], run_url)
    said = "".join(capfd.readouterr())
    assert f"announced to the URL in {WEBHOOK}" in said and SECRET not in said and "127.0.0.1" not in said


def test_credentials_do_not_leave_with_the_message(
    summary: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEBHOOK, listener.url)
    reason = f"https://host/x?token={SECRET} answered 401, as did {listener.url}"
    announce([judgement(verdict("not judged", reason=reason))], summary)
    ((*_, body),) = listener.requests
    assert b"answered 401" in body and SECRET.encode() not in body


def test_a_failure_to_deliver_is_a_warning_without_the_url(
    summary: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    silent = socket.create_server(("127.0.0.1", 0))
    unanswered = f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}"
    goal = Listener()
    failing, redirecting = Listener(code=500), Listener(code=302, location=goal.url)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    answers = {
        failing.url: "the server answered 500",
        redirecting.url: "the server answered 302",
        f"http://127.0.0.1:{port}/{SECRET}": "Connection refused",
        unanswered: "",
        f"file:///etc/{SECRET}": "https://",
        SECRET: "https://",
        f"http://a:b:{SECRET}/": "cannot be used",
        f"https://[{SECRET}": "cannot be used",
        f"http://{SECRET}\u2028.invalid/": "",
    }
    for url, words in answers.items():
        monkeypatch.setenv(WEBHOOK, url)
        monkeypatch.setattr(announcing, "_TIMEOUT_S", 0.5 if url == unanswered else 60)
        announce([judgement(verdict())], summary)
        printed, said = capfd.readouterr()
        assert f"Warning: The message to {WEBHOOK} was not delivered: " in said and words in said, url
        assert printed.startswith("::warning title=") and words.replace(":", ":") in printed
        assert SECRET not in printed + said
    assert not goal.requests and [method for method, *_ in redirecting.requests] == ["POST"]
    for server in (goal, failing, redirecting):
        server.close()
    silent.close()


def test_a_step_summary_that_cannot_be_written_is_a_warning(
    summary: Path,
    tmp_path: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    monkeypatch.setenv(WEBHOOK, listener.url)
    announce([ALL], summary)
    assert "The summary of the step was not written" in capfd.readouterr().err
    assert len(listener.requests) == 1
