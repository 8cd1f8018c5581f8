# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing a GGUF file to a server: looked at before, downloaded where it is elsewhere, uploaded as a blob."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_file import (
    GgufFile,
    check_whole,
    chunks,
    fingerprint,
    inspect,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import weights_of
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Record, same_digest
from ansible_collections.llmops.ollama.plugins.module_utils.model_store import DOWNLOADS
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Board, Report
from ansible_collections.llmops.ollama.plugins.module_utils.remote_file import header_at


def look_at(definition: Definition, record: Record | None, timeout: float, report: Report) -> GgufFile:
    """What a definition's file is. One that a model is made of already, by its record, is not looked into again.

    Raises ``OllamaError`` for one that is missing, no GGUF file, not whole, or not the declared one.
    """
    origin, sha256 = definition.gguf, definition.sha256
    if sha256 and record and record.is_of(sha256):
        return GgufFile(origin, sha256, 0, record.file)
    if definition.is_download:
        header, size = header_at(origin, timeout)
        size = size or header.file_bytes
        check_whole(header, size, origin)
        return GgufFile(origin, sha256, size, "", header)
    mark = "" if sha256 else fingerprint(origin)
    if mark and record and record.file and mark.startswith(record.file):
        return GgufFile(origin, record.base, 0, mark)
    file = inspect(origin, sha256, report)
    # The same content with another time: it keeps its record.
    if record and record.file and same_digest(record.base, file.sha256):
        return GgufFile(origin, record.base, file.size, record.file, file.header)
    return file


def forget_upload(client: Client, models_path: str, sha256: str) -> None:
    """Remove the blob of a file from the store where the server has written it anew, and no model is made of it.

    Newer servers do so with every file that they did not write themselves, and keep the other one for hours.
    """
    used = {blob for tag in client.tags() for blob in weights_of(client.show(str(tag["name"])))}
    if sha256 not in used:
        with contextlib.suppress(OSError):  # it is not ours to remove, or has just gone
            Path(models_path, "blobs", f"sha256-{sha256}").unlink()


class Uploader:
    """Brings files to one server. A download arrives in the file system of ``models_path``, if that is known."""

    def __init__(self, client: Client, board: Board, downloader: Downloader, models_path: str | None = None) -> None:
        self._client, self._board, self._downloader, self._models_path = client, board, downloader, models_path

    def __call__(self, file: GgufFile) -> None:
        """Have the file's bytes on the server. Raises ``OllamaError``."""
        digest = f"sha256:{file.sha256}"
        if self._client.has_blob(digest):
            return
        with self._local(file) as path:
            self._board.resume("uploading")
            self._client.upload_blob(digest, self._counted(path))

    def _counted(self, path: str) -> Iterator[bytes]:
        done = 0
        for chunk in chunks(path):
            yield chunk
            done += len(chunk)
            self._board.moved(done)

    @contextmanager
    def _local(self, file: GgufFile) -> Iterator[str]:
        if not file.is_download:
            yield file.origin
            return
        with self._folder() as folder:
            # What a broken run left under this name is taken up.
            path = Path(folder, f"sha256-{file.sha256}.part")
            self._board.resume("downloading")
            self._downloader.save(file.origin, path, file.sha256, moved=lambda done, total: self._board.moved(done))
            if file.header:
                check_whole(file.header, path.stat().st_size, file.origin)
            yield str(path)
            path.unlink()

    @contextmanager
    def _folder(self) -> Iterator[str]:
        if self._models_path is None:
            with tempfile.TemporaryDirectory() as temporary:
                yield temporary
            return
        folder = Path(self._models_path, DOWNLOADS)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            yield str(folder)
        except OSError as error:
            raise from_os_error(error, folder, "Use become: true, and check models_path.") from error
        finally:
            with contextlib.suppress(OSError):  # what has arrived of a broken download stays
                folder.rmdir()
