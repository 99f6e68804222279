"""Fetches an official archive with TFDS's download manager, after asking briefly whether its host can be reached."""

from __future__ import annotations

import http.client
import threading
import urllib.request
from pathlib import Path

from jaxopt_bench.data.archives import Layout
from jaxopt_bench.errors import UserError

_ANSWER_SECONDS = 5.0  # for each step of the connection
_TOTAL_SECONDS = 6.0  # for all of them; name resolution obeys no timeout of its own


def fetch(layout: Layout, name: str, data_dir: Path) -> Path:
    """Returns the path of the downloaded archive, `layout.url`, under TFDS's `downloads` folder.

    TFDS keeps it there, checks it against the checksum it knows for the URL, and finds it again another time.

    Args:
      layout: where the archive is.
      name: the data set's name.
      data_dir: TFDS's data directory.

    Raises:
      UserError: within 10 seconds if the host does not answer, or later if the download fails; it names the other
        way, `--from`.
    """
    problem = _unreachable(layout.url)
    if problem:
        raise _download_error(layout, name, problem)
    import tensorflow_datasets as tfds

    folder = data_dir / "downloads"
    try:
        for path in folder.iterdir() if folder.exists() else ():
            if path.exists() and not path.is_file() and not path.is_dir():  # TFDS would wait for it, if it is a pipe
                raise UserError(f"{path} is not a regular file. Remove it or move it away.")
        manager = tfds.download.DownloadManager(download_dir=folder, dataset_name=name)
        return Path(manager.download(layout.url))
    except UserError:
        raise
    except Exception as error:  # from requests, urllib3, TFDS (a wrong checksum) or the file system
        raise _download_error(layout, name, f"{type(error).__name__}: {error}") from error


def _unreachable(url: str) -> str | None:
    """Returns why `url` cannot be read, or None if it can, within `_TOTAL_SECONDS`."""
    answers: list[str | None] = []

    def ask() -> None:
        try:
            # urllib takes the proxies from the environment, as the download does.
            with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS):
                answers.append(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.append(str(error))

    # A daemon, so that a resolver that still waits does not hold up the end of the program.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_TOTAL_SECONDS)
    return answers[0] if answers else f"no answer within {_TOTAL_SECONDS:g} seconds"


def _download_error(layout: Layout, name: str, problem: str) -> UserError:
    return UserError(
        f"cannot download {layout.url} ({problem}). Download {layout.archive} or {layout.python_archive} on "
        f"another machine and run `jaxopt-bench data prepare {name} --from PATH`, where PATH is that archive or the "
        f"folder it unpacks to."
    )
