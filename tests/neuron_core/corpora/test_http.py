"""Files behind an http address: streamed, also when the text itself looks like a page of links."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.sources import CorpusSource, iter_texts


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_text_with_links_is_one_file(tmp_path: Path, address: str) -> None:
    lines = ['He wrote <a href="/other.txt">this</a>.', "See http://127.0.0.1/other.txt too.", "ประโยค"]
    (tmp_path / "sw.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "other.txt").write_text("another file\n")
    assert list(iter_texts(CorpusSource(kind="files", path=f"{address}/{{language}}.txt"), "sw")) == lines


def test_an_address_with_nothing_behind_it(address: str) -> None:
    with pytest.raises(CorpusError, match=r"There is no corpus at http.*gone\.txt"):
        list(iter_texts(CorpusSource(kind="files", path=f"{address}/gone.txt"), "en"))
