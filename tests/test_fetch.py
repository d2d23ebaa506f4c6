"""Downloads against a server of our own that cuts, lies, errs and redirects."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from generative.data import fetch
from generative.errors import UsageError

CONTENT = bytes(range(256)) * 4000  # 1 MB
SHA = hashlib.sha256(CONTENT).hexdigest()
NAME = "file.gz"


class Server(ThreadingHTTPServer):
    """Serves CONTENT under /<behaviour>/<name> and remembers the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        getattr(self, "do_" + self.path.split("/")[1])(start)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def ranged(self, start: int, body: bytes, length: int) -> None:
        if start >= len(CONTENT):
            return self.answer(416, b"")
        headers = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        return self.answer(206 if start else 200, body, Content_Length=str(length), **headers)

    def do_good(self, start: int) -> None:
        self.ranged(start, CONTENT[start:], len(CONTENT) - start)

    def do_cut(self, start: int) -> None:  # breaks after 300,000 bytes each time
        self.ranged(start, CONTENT[start : start + 300_000], len(CONTENT) - start)

    def do_no_ranges(self, _: int) -> None:
        self.answer(200, CONTENT)

    def do_packed(self, start: int) -> None:  # a .gz file that the server declares to be an encoding
        self.answer(200, CONTENT, Content_Encoding="gzip")

    def do_other(self, _: int) -> None:
        self.answer(200, b"something else")

    def do_lying(self, start: int) -> None:  # says more than it has, and has no more when asked
        self.ranged(start, CONTENT[start : len(CONTENT) // 2], 10 * len(CONTENT))

    def do_loop(self, _: int) -> None:
        self.answer(302, b"", Location=self.path)

    def do_missing(self, _: int) -> None:
        self.answer(404, b"no")

    def do_silent(self, _: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        threading.Event().wait(2)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    (tmp_path / "to").mkdir()
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def get(server: Server) -> Callable[..., Path]:
    def get(*behaviours: str) -> Path:
        return fetch.fetch(NAME, SHA, [server.url(b) for b in behaviours], Path("to"), "things")

    return get


def part() -> Path:
    return fetch.PARTS / f"{SHA}.part"


def test_whole_file_arrives_and_leaves_no_partial(get: Callable[..., Path]) -> None:
    assert get("good").read_bytes() == CONTENT
    assert [path.name for path in Path("to").iterdir()] == [NAME]
    assert not part().exists()


def test_goes_on_where_the_connection_broke(get: Callable[..., Path], server: Server) -> None:
    assert get("cut").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_goes_on_with_what_a_killed_process_left(get: Callable[..., Path], server: Server) -> None:
    fetch.PARTS.mkdir(parents=True)
    part().write_bytes(CONTENT[:123_456])
    assert get("good").read_bytes() == CONTENT
    assert server.asked == [(f"/good/{NAME}", "bytes=123456-")]


@pytest.mark.parametrize("left", [CONTENT, b"rubbish" * 10, b"rubbish" * 1_000_000], ids=["whole", "wrong", "too long"])
def test_what_was_left_may_be_whole_or_wrong(get: Callable[..., Path], left: bytes) -> None:
    fetch.PARTS.mkdir(parents=True)
    part().write_bytes(left)
    assert get("good").read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(get: Callable[..., Path], server: Server) -> None:
    fetch.PARTS.mkdir(parents=True)
    part().write_bytes(CONTENT[:1000])
    assert get("no_ranges").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_gz_file_is_not_unpacked_on_the_way(get: Callable[..., Path]) -> None:
    assert get("packed").read_bytes() == CONTENT


def test_wrong_content_leaves_nothing_and_says_what_came(get: Callable[..., Path], server: Server) -> None:
    with pytest.raises(UsageError) as error:
        get("other")
    came = hashlib.sha256(b"something else").hexdigest()
    for said in (NAME, server.url("other"), SHA, came, "14 bytes"):
        assert said in str(error.value)
    assert not list(Path("to").iterdir())
    assert not part().exists()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("lying", "the connection broke"), ("loop", "redirects without end"), ("missing", "answered 404"), ("silent", "no data for")],
)
def test_a_bad_source_is_passed_over_for_the_next(
    get: Callable[..., Path], behaviour: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "SILENCE", 0.3)
    assert get(behaviour, "good").read_bytes() == CONTENT
    assert reason in capsys.readouterr().err


def test_when_all_fail_each_is_named_with_its_reason(get: Callable[..., Path], server: Server) -> None:
    with pytest.raises(UsageError) as error:
        get("missing", "loop", "lying")
    for behaviour, reason in {"missing": "404", "loop": "redirects", "lying": "broke"}.items():
        assert any(server.url(behaviour) in line and reason in line for line in str(error.value).splitlines())
    assert not list(Path("to").iterdir())


def test_a_mirror_folder_is_looked_at_first(
    get: Callable[..., Path], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "things").mkdir(parents=True)
    (mirror / "things" / NAME).write_bytes(CONTENT)
    monkeypatch.setenv(fetch.MIRROR, str(mirror))
    assert get("good").read_bytes() == CONTENT
    assert server.asked == []
    assert (mirror / "things" / NAME).read_bytes() == CONTENT


def test_a_mirror_may_be_an_address(get: Callable[..., Path], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.MIRROR, server.url("good"))
    assert get("missing").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == [f"/good/things/{NAME}"]


@pytest.mark.parametrize("stands_there", [b"wrong", None])
def test_a_mirror_without_the_right_file_is_passed_over(
    get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands_there: bytes | None
) -> None:
    mirrored = tmp_path / "mirror" / "things" / NAME
    mirrored.parent.mkdir(parents=True)
    if stands_there is not None:
        mirrored.write_bytes(stands_there)
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path / "mirror"))
    assert get("good").read_bytes() == CONTENT
    Path("to", NAME).unlink()
    with pytest.raises(UsageError, match="no such file" if stands_there is None else "wrong content") as error:
        get("missing")
    assert str(mirrored) in str(error.value)
    assert not list(Path("to").iterdir())
    assert stands_there is None or mirrored.read_bytes() == stands_there
