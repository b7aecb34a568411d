"""A small Hugging Face Hub on loopback: the endpoints by which huggingface_hub makes, fills and reads models.

Regular files travel inside a commit, files of some endings through the LFS protocol, as the Hub has it for what Xet does not
carry. Every commit keeps all files, so that a revision stays what it was. Written for tests of `push` and `pull`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_doubleDoubleDoubleDouble"
LFS = (".parquet", ".safetensors")


@dataclass
class Repository:
    """Commits, oldest first: the id of each, and its files."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=lambda: [("0" * 40, {})])

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a revision means."""
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)

    def commit(self, files: dict[str, bytes]) -> str:
        """Adds a commit of these files."""
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((sha, files))
        return sha


class HubDouble:
    """The server, its repositories by name, and every request as method and path."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def head(self, name: str) -> dict[str, bytes]:
        """The files of a repository's newest commit."""
        return self.repositories[name].commits[-1][1]

    def replace(self, name: str, **files: bytes | None) -> None:
        """A commit that changes files behind their card's back; `__` stands for a slash, None takes a file away."""
        changed = {key.replace("__", "/"): content for key, content in files.items()}
        self.commit(name, changed)

    def commit(self, name: str, changed: dict[str, bytes | None]) -> None:
        """A commit on top of the newest one."""
        held = {**self.head(name), **changed}
        self.repositories[name].commit({key: content for key, content in held.items() if content is not None})

    @contextmanager
    def running(self) -> Iterator[HubDouble]:
        """Inside, the server answers."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def _handler(hub: HubDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(_HubRequest):
        double = hub

    return Handler


class _HubRequest(BaseHTTPRequestHandler):
    double: HubDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._read_body()
        path = self._path()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            return self._info(found[1], found[2] or "main")
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(found[1], found[2], found[3])
        self._fail(404, "EntryNotFound")

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        body = self._read_body()
        oid = self._path().rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != oid:
            return self._fail(400, "wrong checksum")
        self.double.blobs[oid] = body
        self._json({})

    def do_POST(self) -> None:
        body, path = self._read_body(), self._path()
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._fail(401, "")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            asked = [each["path"] for each in json.loads(body)["files"]]
            modes = [
                {
                    "path": each,
                    "uploadMode": "lfs" if each.endswith(LFS) else "regular",
                    "shouldIgnore": False,
                }
                for each in asked
            ]
            return self._json({"files": modes})
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(body)["objects"])
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            return self._commit(found[1], [json.loads(line) for line in body.splitlines() if line.strip()])
        self._fail(404, "RepoNotFound")

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.double.repositories:
            return self._json({"url": f"{self.double.url}/{name}"}, 409)
        self.double.repositories[name] = Repository(
            bool(asked.get("private")) or asked.get("visibility") == "private"
        )
        self._json({"url": f"{self.double.url}/{name}", "name": name})

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        answers = []
        for each in objects:
            answer = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.double.blobs:
                answer["actions"] = {"upload": {"href": f"{self.double.url}/lfs/{each['oid']}"}}
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.double.repositories[name]
        header, files = lines[0]["value"], dict(repository.commits[-1][1])
        if header.get("parentCommit") not in (None, repository.commits[-1][0]):
            return self._fail(412, "PreconditionFailed")
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.double.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        sha = repository.commit(files)
        self._json({"commitUrl": f"{self.double.url}/{name}/commit/{sha}", "commitOid": sha})

    def _readable(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit, or None after an error was sent."""
        repository = self.double.repositories.get(name)
        signed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not signed):
            self._fail(401 if not signed else 404, "RepoNotFound")
            return None
        commit = repository.at(revision)
        if commit is None:
            self._fail(404, "RevisionNotFound")
        return commit

    def _info(self, name: str, revision: str) -> None:
        if (commit := self._readable(name, revision)) is None:
            return
        siblings = [
            {"rfilename": path, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}
            for path, content in sorted(commit[1].items())
        ]
        self._json({"id": name, "modelId": name, "sha": commit[0], "siblings": siblings, "tags": []})

    def _file(self, name: str, revision: str, path: str) -> None:
        if (commit := self._readable(name, revision)) is None:
            return
        content = commit[1].get(path)
        if content is None:
            return self._fail(404, "EntryNotFound")
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit[0]}
        self._answer(200, content, headers | {"Content-Type": "application/octet-stream"})

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.double.requests.append((self.command, path))
        self.double.tokens.add(self.headers.get("Authorization"))
        return path

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, value: object, code: int = 200) -> None:
        self._answer(code, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, code: int, kind: str) -> None:
        self._answer(
            code, json.dumps({"error": kind}).encode(), {"X-Error-Code": kind, "X-Error-Message": kind}
        )

    def _answer(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
