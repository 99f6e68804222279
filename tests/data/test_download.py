"""Downloading from a server that responds, and from hosts that do not."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxopt_bench.data import download, prepare
from jaxopt_bench.data.archives import LAYOUTS
from jaxopt_bench.errors import UserError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(small_cifar100: Path) -> Iterator[str]:
    """The address of a server that provides the small archive."""
    handler = functools.partial(Quiet, directory=str(small_cifar100.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def from_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(LAYOUTS, "cifar100", dataclasses.replace(LAYOUTS["cifar100"], url=url))


def test_a_downloaded_archive_is_prepared(served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_url(monkeypatch, f"{served}/archive.tar.gz")
    folder = prepare("cifar100", data_dir=tmp_path / "tfds")
    assert (folder / "cifar100-train.array_record-00000-of-00001").is_file()
    assert list((tmp_path / "tfds" / "downloads").rglob("*.tar.gz")), "the archive is kept where TFDS looks for it"


def test_a_file_that_the_server_does_not_have_is_an_error(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_url(monkeypatch, f"{served}/cifar-100-binary.tar.gz")
    with pytest.raises(UserError, match=r"404.*prepare cifar100 --from PATH"):
        prepare("cifar100", data_dir=tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


def test_a_download_without_a_connection_fails_within_ten_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_url(monkeypatch, "https://jaxopt-bench.invalid/cifar-100-binary.tar.gz")  # RFC 2606: never resolves
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot download .* --from PATH"):
        prepare("cifar100", data_dir=tmp_path / "tfds")
    assert time.monotonic() - start < 10
    assert not (tmp_path / "tfds").exists()


def test_a_host_that_accepts_but_never_responds_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        from_url(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/cifar-100-binary.tar.gz")
        with pytest.raises(UserError, match=r"timed out.* --from PATH"):
            prepare("cifar100", data_dir=tmp_path / "tfds")


def test_a_name_resolution_that_hangs_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_TOTAL_SECONDS", 0.3)

    def hang(*_: object, **__: object) -> None:
        time.sleep(3)
        raise socket.gaierror("gave up")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no answer within 0.3 seconds"):
        prepare("cifar100", data_dir=tmp_path / "tfds")
    assert time.monotonic() - start < 2.5


def test_the_default_time_limits_are_below_ten_seconds_and_shorter_for_one_step() -> None:
    assert download._ANSWER_SECONDS < download._TOTAL_SECONDS < 10
