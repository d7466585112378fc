"""One writer's folder below `staging/`: the files of one snapshot on their way to the shelf.

Each writer has a folder of its own, whose name ends in a random id. So two writers of one snapshot
never write to the same file, whether or not a lease keeps them apart. What a dead writer has
verified or begun is moved to the next writer's folder (see `leftovers`).
"""

from __future__ import annotations

import dataclasses
import errno
import os
import uuid

from modelshelf.shelf import layout
from modelshelf.shelf.digests import BLOCK_BYTES
from modelshelf.shelf.files import (
    READ_ONLY_FOLDER_MODE,
    explain_os_errors,
    make_folders,
    set_mode,
    sync_to_disk,
    write_json,
)
from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.values import File, Snapshot
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.partial_file import READ_ONLY_MODE, PartialFile

_ANY_WRITE = 0o222


class Staging:
    """A writer's folder for one snapshot.

    Args:
        shelf: The shelf's folder.
        snapshot: What is to be published.

    Attributes:
        path: The folder.
    """

    def __init__(self, shelf: str, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._sha256: dict[str, str] = {}
        writer = uuid.uuid4().hex[:12]
        relative = layout.staging_folder(snapshot.repo_id, snapshot.id, writer)
        with explain_os_errors(shelf):
            self.path = make_folders(shelf, relative)
            record = os.path.join(self.path, layout.WRITER_FILE)
            write_json(record, ProcessIdentity.of_this_process().to_json())

    def path_of(self, file: File) -> str:
        """Where a finished file lies. Its folder is made if need be.

        Raises:
            ShelfError: The folder could not be made.
        """
        folder = os.path.dirname(file.path)
        if folder:
            with explain_os_errors(self.path):
                make_folders(self.path, folder.replace("/", os.sep))
        return os.path.join(self.path, *file.path.split("/"))

    def unfinished_files(self) -> list[File]:
        """The files that are not there, whole and verified."""
        return [file for file in self.snapshot.files if file.path not in self._sha256]

    def open_partial(self, file: File) -> PartialFile:
        """A file of this folder, to be written."""
        return PartialFile(self.path_of(file), file, self._record_finished)

    def _record_finished(self, file: File, sha256: str) -> None:
        self._sha256[file.path] = sha256

    def copy(self, file: File, source: str, meter: Meter, length: int | None = None) -> PartialFile:
        """Write a file, or its first bytes, from a copy that lies elsewhere, and hash them.

        Args:
            file: The file.
            source: The path of the copy.
            meter: Counts the bytes.
            length: How many bytes to copy; None for all.

        Raises:
            OSError: The copy cannot be read, or is shorter.
            ShelfError: This file cannot be written.
        """
        part = self.open_partial(file)
        part.resume(0)
        buffer = memoryview(bytearray(BLOCK_BYTES))
        length = file.size if length is None else length
        try:
            with open(source, "rb", buffering=0) as reader:
                while part.done < length and (
                    count := reader.readinto(buffer[: min(BLOCK_BYTES, length - part.done)])
                ):
                    part.append(buffer[:count])
                    meter.add(done=count)
            if part.done < length:
                raise OSError(errno.EIO, "it ended early", source)  # noqa: TRY301
        except BaseException:
            part.close()
            raise
        return part

    def move_in(self, file: File, source: str, sha256: str) -> bool:
        """Move a file here that a dead writer has finished and verified.

        Returns:
            False if it is not there any more.
        """
        path = self.path_of(file)
        try:
            os.rename(source, path)
        except FileNotFoundError:
            return False
        self._record_finished(file, sha256)
        return True

    def link(self, file: File, source: str, sha256: str) -> bool:
        """Give a verified file of this filesystem a second name here (a hard link).

        Both names are the same file. So it is made read-only: a write to the other name would
        change what is published.

        Returns:
            False if the filesystem refuses.
        """
        path = self.path_of(file)
        try:
            os.link(os.path.realpath(source), path)
        except OSError:
            return False
        try:
            if os.stat(path).st_mode & _ANY_WRITE:
                os.chmod(path, READ_ONLY_MODE)
            sync_to_disk(path)
        except OSError:
            # Another user owns it and could change it later, so it must not be published.
            os.unlink(path)
            return False
        self._record_finished(file, sha256)
        return True

    def seal(self) -> Snapshot:
        """Make the folder ready to be published: read-only, synced, without any other file.

        Returns:
            The snapshot with the sha256 of each file.

        Raises:
            ShelfError: A file is missing: another writer claimed this folder.
        """
        with explain_os_errors(self.path):
            for file in self.snapshot.files:
                path = self.path_of(file)
                if os.lstat(path).st_size != file.size:
                    raise OSError(errno.EIO, "it has another size than was written", path)
            self._sync_tree()
        files = tuple(
            dataclasses.replace(file, sha256=self._sha256[file.path])
            for file in self.snapshot.files
        )
        return dataclasses.replace(self.snapshot, files=files)

    def _sync_tree(self) -> None:
        """Delete all other files, and make the folders read-only and durable, from below."""
        for folder, subfolders, file_names in os.walk(self.path, topdown=False):
            for name in file_names:
                path = os.path.join(folder, name)
                if os.path.relpath(path, self.path).replace(os.sep, "/") not in self._sha256:
                    os.unlink(path)
            for name in subfolders:
                set_mode(os.path.join(folder, name), READ_ONLY_FOLDER_MODE)
            sync_to_disk(folder)

    def was_claimed(self) -> bool:
        """Whether another writer took this folder for a dead writer's and renamed it."""
        return not os.path.exists(os.path.join(self.path, layout.WRITER_FILE))

    def is_empty(self) -> bool:
        """Whether nothing was written that the next pull could use."""
        return not any(
            name != layout.WRITER_FILE
            for _, _, file_names in os.walk(self.path)
            for name in file_names
        )
