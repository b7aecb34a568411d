"""Tells others how a night ended: GitHub Actions by its files and commands, anybody else by a webhook."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from polyneuron.eval.nightly.announce import MOST_SUMMARY_BYTES, annotation, annotations, fitted, message
from polyneuron.eval.nightly.sections import ModelNight
from polyneuron.neuron_core.common.redact import redacted_within
from polyneuron.pipelines.run.progress import say, show
from polyneuron.pipelines.run.record import reason_of

WEBHOOK = "POLYNEURON_WEBHOOK_URL"
"""The variable that names where a night is announced; the URL is itself a secret, and goes nowhere else."""
_TIMEOUT_S = 10.0


class _Undelivered(Exception):
    """Why a message did not arrive, in words that hold nothing of the URL."""


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would arrive elsewhere as an empty GET."""

    def redirect_request(self, *arguments: Any) -> None:
        """Refuses, so that the answer counts as an error."""


def announce(nights: Sequence[ModelNight], summary: Path) -> None:
    """Appends the Markdown `summary` to GITHUB_STEP_SUMMARY, prints annotations under GITHUB_ACTIONS, and posts a message to the
    URL in POLYNEURON_WEBHOOK_URL, as far as these variables are set. What fails is a warning."""
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if on_github:
        for line in annotations(nights):
            print(line, flush=True)
    if step := os.environ.get("GITHUB_STEP_SUMMARY"):
        with tried("The summary of the step was not written", on_github):
            _append(Path(step), summary)
    if url := os.environ.get(WEBHOOK, "").strip():
        with tried(f"The message to {WEBHOOK} was not delivered", on_github):
            _post(url, redacted_within(message(nights, _run_url())))
            say(f"announced to the URL in {WEBHOOK}")


@contextmanager
def tried(what_failed: str, on_github: bool = False) -> Iterator[None]:
    """Turns an exception inside into a warning, also as an annotation `on_github`."""
    try:
        yield
    except Exception as error:
        why = str(error) if isinstance(error, _Undelivered | OSError) else reason_of(error, what_failed)
        show(f"Warning: {what_failed}: {why}")
        if on_github:
            print(annotation("warning", what_failed, why), flush=True)


def links_of_workflow() -> dict[str, str]:
    """The page on which GitHub shows the workflow's run, by the name `workflow`; nothing elsewhere."""
    return {"workflow": url} if (url := _run_url()) else {}


def _append(step: Path, summary: Path) -> None:
    n_held = step.stat().st_size if step.exists() else 0
    text = fitted(summary.read_text(encoding="utf-8"), MOST_SUMMARY_BYTES - n_held - 1, summary.name)
    with step.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}" if n_held else text)


def _run_url() -> str | None:
    """Where GitHub shows the run of the workflow; None elsewhere."""
    parts = [os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}" if all(parts) else None


def _post(url: str, body: dict[str, Any]) -> None:
    """Posts JSON. Raises _Undelivered unless the answer is 2xx."""
    data = json.dumps(body).encode()
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise _Undelivered("it is no URL that begins with https:// or http://")
        request = Request(url, data, {"Content-Type": "application/json"}, method="POST")
        with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_S):
            return
    except HTTPError as error:
        raise _Undelivered(f"the server answered {error.code}") from None
    except TimeoutError:
        raise _Undelivered(f"the server did not answer within {_TIMEOUT_S:g} s") from None
    except URLError as error:
        why = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise _Undelivered(why or "the server cannot be reached") from None
    except (HTTPException, OSError, ValueError):
        raise _Undelivered("the URL cannot be used, or the connection broke") from None
