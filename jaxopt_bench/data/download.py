"""Downloads an official archive with the download manager of TFDS, after a short test whether its host answers."""

from __future__ import annotations

import http.client
import threading
import urllib.request
from pathlib import Path

from jaxopt_bench.data.archives import Layout
from jaxopt_bench.errors import UserError

_ANSWER_SECONDS = 5.0  # for each step of the connection
_TOTAL_SECONDS = 6.0  # for all steps; name resolution has no timeout of its own


def fetch(layout: Layout, name: str, data_dir: Path) -> Path:
    """Returns the path of the downloaded archive, `layout.url`, under TFDS's `downloads` folder.

    TFDS keeps the archive there, compares it with its known checksum for the URL, and uses it again the next time.

    Args:
      layout: the layout that contains the URL of the archive.
      name: the name of the data set.
      data_dir: the data directory of TFDS.

    Raises:
      UserError: within 10 seconds if the host does not answer, or later if the download fails. The message names the
        alternative, `--from`.
    """
    problem = _unreachable(layout.url)
    if problem:
        raise _download_error(layout, name, problem)
    import tensorflow_datasets as tfds

    folder = data_dir / "downloads"
    try:
        for path in folder.iterdir() if folder.exists() else ():
            if path.exists() and not path.is_file() and not path.is_dir():  # TFDS would wait for a pipe
                raise UserError(f"{path} is not a regular file. Remove it or move it away.")
        manager = tfds.download.DownloadManager(download_dir=folder, dataset_name=name)
        return Path(manager.download(layout.url))
    except UserError:
        raise
    except Exception as error:  # from requests, urllib3, TFDS (a wrong checksum) or the file system
        raise _download_error(layout, name, f"{type(error).__name__}: {error}") from error


def _unreachable(url: str) -> str | None:
    """Returns the reason why `url` cannot be read, or None if it can be read, within `_TOTAL_SECONDS`."""
    answers: list[str | None] = []

    def ask() -> None:
        try:
            # urllib uses the proxies of the environment, like the download.
            with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS):
                answers.append(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.append(str(error))

    # A daemon thread, so that the program can end while name resolution still waits.
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
