from __future__ import annotations

import sys

import pytest

from scanpy_oom.storage.atomic_swap import exchange

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone can exchange paths")


def test_a_folder_and_a_file_change_places(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "inside").write_text("a")
    file.write_text("b")
    assert exchange(folder, file)
    assert folder.read_text() == "b"
    assert (file / "inside").read_text() == "a"


def test_what_is_not_there_is_an_error_that_names_both(tmp_path):
    (tmp_path / "a").write_text("a")
    with pytest.raises(FileNotFoundError) as caught:
        exchange(tmp_path / "a", tmp_path / "b")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "a").read_text() == "a"
