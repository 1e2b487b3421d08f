"""What was read before is found again, if it is the same and whole; and a cache never makes a run fail."""

import errno
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim.errors import InputError
from engagex_sim.log import LogBlocks, read_blocks, read_log
from engagex_sim.settings import LogSettings

TRIGGERS = "guid,date,trigger,type\n" + "".join(f"u{i},2024-05-{i + 1:02d} 09:00:00,{i % 3},a\n" for i in range(20))
ACTIONS = "guid,date,result\n" + "".join(f"u{i},2024-05-{i + 1:02d} 09:05:00,{i % 2}\n" for i in range(15))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, text in (("triggers", TRIGGERS), ("actions", ACTIONS)):
        (tmp_path / f"{name}.csv").write_text(text)
        os.utime(tmp_path / f"{name}.csv", (1_700_000_000, 1_700_000_000))
    return tmp_path / "triggers.csv", tmp_path / "actions.csv"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def read(files: tuple[Path, Path], cache: Path, **settings: object) -> LogBlocks:
    return read_blocks(*files, settings=LogSettings.model_validate(settings), cache=cache, rows_per_block=5)


def entries(cache: Path) -> list[Path]:
    """All entries; nothing else may lie around but the digests."""
    return sorted(path for path in cache.iterdir() if path.name != "digests")


def assert_whole(blocks: LogBlocks, files: tuple[Path, Path]) -> None:
    log, expected = blocks.whole(), read_log(*files)
    np.testing.assert_array_equal(log.trigger_time, expected.trigger_time)
    np.testing.assert_array_equal(log.action_trigger, expected.action_trigger)
    assert log.user_id.tolist() == expected.user_id.tolist() and log.notes == expected.notes


def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the files are read again")

    monkeypatch.setattr("engagex_sim.log.build.judge", refuse)
    monkeypatch.setattr(hashlib, "file_digest", refuse)


def test_the_same_files_are_read_once(files: tuple[Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither rows nor digests are read again, also under settings that change nothing of what is stored."""
    first = read(files, cache)
    assert_whole(first, files)
    assert first.folder.parent == cache and len(entries(cache)) == 1
    nothing_is_read(monkeypatch)
    for settings in ({}, {"burn_in_days": 3}, {"start": "free"}):
        again = read(files, cache, **settings)
        assert again.folder == first.folder and again.notes == first.notes
        np.testing.assert_array_equal(again.whole().trigger_time, first.whole().trigger_time)


def test_a_cached_log_outlives_its_object(files: tuple[Path, Path], cache: Path) -> None:
    with read(files, cache) as blocks:
        folder = blocks.folder
    assert folder.is_dir()


def test_a_copy_of_the_files_elsewhere_is_the_same_log(
    files: tuple[Path, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is the content, and the names, which reports repeat."""
    read(files, cache)
    (tmp_path / "other").mkdir()
    copies = tuple((tmp_path / "other" / path.name) for path in files)
    for path, copy in zip(files, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr("engagex_sim.log.build.judge", None)
    assert len(read((copies[0], copies[1]), cache)) > 1


@pytest.mark.parametrize("keep_time", [True, False])
def test_changed_files_are_read_anew(files: tuple[Path, Path], cache: Path, keep_time: bool) -> None:
    """A change is seen by the size or by the time of the file."""
    read(files, cache)
    more = "u3,2024-05-20 09:00:00,1,a\n" if keep_time else ""
    files[0].write_text(TRIGGERS.replace("u17,2024-05-18", "u17,2024-05-19") + more)
    if keep_time:
        os.utime(files[0], (1_700_000_000, 1_700_000_000))
    assert_whole(read(files, cache), files)
    assert len(entries(cache)) == 2


def test_a_file_that_changes_within_moments_is_read_anew(files: tuple[Path, Path], cache: Path) -> None:
    """The digest of a file that is only just written is not relied on: its time may stay the same."""
    files[0].write_text(TRIGGERS)
    moment = files[0].stat().st_mtime_ns
    read(files, cache)
    files[0].write_text(TRIGGERS.replace("u17,2024-05-18", "u17,2024-05-19"))
    os.utime(files[0], ns=(moment, moment))
    assert_whole(read(files, cache), files)


@pytest.mark.parametrize("settings", [{"cap_days": 3}, {"match_window_hours": 1}, {"triggers_are": "opportunities"}])
def test_other_settings_are_another_log(files: tuple[Path, Path], cache: Path, settings: dict[str, object]) -> None:
    read(files, cache)
    read(files, cache, **settings)
    assert len(entries(cache)) == 2


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("header.npz", Path.unlink),
        ("header.npz", cut_off),
        ("header.npz", lambda path: path.write_bytes(b"")),
        ("block_00001.npz", Path.unlink),
        ("block_00001.npz", cut_off),
    ],
)
def test_a_damaged_entry_is_noticed_and_read_anew(
    files: tuple[Path, Path], cache: Path, name: str, damage: Callable[[Path], object]
) -> None:
    damage(read(files, cache).folder / name)
    again = read(files, cache)
    assert again.notes[-1] == f"The stored copy of this log in {cache} was damaged; the log has been read anew."
    assert_whole(again, files)
    assert len(entries(cache)) == 1 and read(files, cache).notes == again.notes[:-1]


def test_any_altered_bit_of_a_block_is_noticed(files: tuple[Path, Path], cache: Path) -> None:
    """At the latest when the block is loaded; the next run reads the log anew."""
    blocks = read(files, cache)
    path = blocks.folder / "block_00001.npz"
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert_whole(LogBlocks(blocks.folder), files)  # a bit that nothing depends on, such as a time of writing
        except InputError as error:
            assert "is damaged; run again to read it anew" in str(error)
            break
    else:
        pytest.fail("no alteration was noticed")
    assert "was damaged" in read(files, cache).notes[-1]


def test_a_header_that_was_altered_is_noticed(files: tuple[Path, Path], cache: Path) -> None:
    flip(read(files, cache).folder / "header.npz")
    assert_whole_with_note(read(files, cache), files)


def assert_whole_with_note(blocks: LogBlocks, files: tuple[Path, Path]) -> None:
    assert "was damaged" in blocks.notes[-1]
    assert_whole(blocks, files)


def read_in_another_process(files: tuple[Path, Path], cache: Path) -> list[int]:
    return [int(time) for time in read(files, cache).whole().trigger_time]


def test_processes_that_read_at_once_do_not_disturb_each_other(files: tuple[Path, Path], cache: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = [pool.submit(read_in_another_process, files, cache) for _ in range(3)]
        assert {tuple(one.result()) for one in found} == {tuple(read_log(*files).trigger_time.tolist())}
    assert len(entries(cache)) == 1


def test_who_is_slower_takes_the_entry_of_who_was_faster(
    files: tuple[Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engagex_sim.log.cache as module

    publish = module._publish

    def late(folder: Path, entry: Path) -> None:
        monkeypatch.setattr(module, "_publish", publish)
        read(files, cache)
        publish(folder, entry)

    monkeypatch.setattr(module, "_publish", late)
    assert_whole(read(files, cache), files)
    assert len(entries(cache)) == 1


def test_a_refused_log_leaves_nothing_behind(files: tuple[Path, Path], cache: Path) -> None:
    files[1].write_text(ACTIONS.replace(",1\n", ",0\n"))
    with pytest.raises(InputError, match=r"No row of actions\.csv has result 1"):
        read(files, cache)
    assert entries(cache) == []


def test_what_killed_runs_left_behind_is_removed(files: tuple[Path, Path], cache: Path) -> None:
    for name in ("old", "new"):
        (cache / f".building-{name}").mkdir(parents=True)
    os.utime(cache / ".building-old", (1_700_000_000, 1_700_000_000))
    read(files, cache)
    assert [path.name for path in cache.glob(".*")] == [".building-new"]


def test_a_file_that_changes_while_it_is_read_is_refused(
    files: tuple[Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engagex_sim.log.build as module

    judge = module.judge

    def grows(*arguments: object) -> object:
        files[0].write_text(TRIGGERS + "u1,2024-05-01,1,a\n")
        return judge(*arguments)

    monkeypatch.setattr(module, "judge", grows)
    with pytest.raises(InputError, match=r"triggers\.csv changed while it was read; run again"):
        read(files, cache)
    assert entries(cache) == []


def test_a_cache_that_cannot_be_written_is_done_without(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with read(files, tmp_path / "file" / "cache") as blocks:
        assert "cannot keep the log (Not a directory); it is read anew each time" in blocks.notes[-1]
        assert len(blocks.whole().trigger_time) == 20


def test_a_full_disk_is_one_sentence(files: tuple[Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the cache is done without; where there is no room at all the run stops."""
    import engagex_sim.log.build as module

    write = module.write_block

    def full_in_the_cache(folder: Path, number: int, block: object) -> int:
        if folder.parent == cache:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(folder, number, block)

    monkeypatch.setattr(module, "write_block", full_in_the_cache)
    with read(files, cache) as blocks:
        assert "(No space left on device)" in blocks.notes[-1]
    assert entries(cache) == []
    monkeypatch.setattr(module, "write_block", lambda *_: full_in_the_cache(cache / "any", 0, None))
    with pytest.raises(InputError, match=r"not enough room or memory to read the log \(No space left on device\)"):
        read_blocks(*files)


def test_too_little_memory_is_one_sentence(files: tuple[Path, Path], cache: Path) -> None:
    for where in (None, cache):
        with pytest.raises(InputError, match=r"(?i)memory") as error:
            read_blocks(*files, memory=1_000_000, cache=where)
        assert "\n" not in str(error.value)


def test_data_frames_are_not_cached(files: tuple[Path, Path], cache: Path) -> None:
    frame = pd.read_csv(files[0])
    with read_blocks(frame, files[1], cache=cache) as blocks:
        assert len(blocks.whole().trigger_time) == 20
    assert not cache.exists()


def test_a_missing_file_is_said_as_without_a_cache(files: tuple[Path, Path], cache: Path) -> None:
    files[0].unlink()
    with pytest.raises(InputError, match=r"There is no file .*triggers\.csv"):
        read(files, cache)
