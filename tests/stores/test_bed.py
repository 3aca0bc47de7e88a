"""BED files: read, written, refused."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seamless_dask_cache import value_checksum
from seamless_dask_cache.stores import (
    Interval,
    IntervalTrack,
    bed_reading,
    bed_writing,
    read_bed,
    write_bed,
)
from seamless_dask_cache.stores.bed_format import EXTRAS
from seamless_dask_cache.stores.bed_lines import first_width, parse_lines

BED12 = (
    "chr1\t100\t500\tgene one\t960\t+\t120\t480\t0,0,255\t2\t50,60\t0,340\n"
    "chr1\t200\t500\t.\t.\t.\t200\t200\t0\t1\t300,\t0,\n"
)


def read(tmp_path, text, name="file.bed"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_bed(path)


# Reading ------------------------------------------------------------------------------------------


def test_all_columns_are_read(tmp_path):
    """Six with a meaning of their own, six as text."""
    track = read(tmp_path, BED12)
    first, second = track
    assert first == Interval("chr1", 100, 500, "gene one", 960.0, "+")
    assert second == Interval("chr1", 200, 500) and str(track.label) == "file"
    assert track.extras == EXTRAS
    columns = track.columns
    for column in (*columns.listed(), *track.query("chr1", 0).columns.listed()):
        assert not column.flags.writeable
    assert track["chr1"].extras["blockSizes"].tolist() == ["50,60", "300,"]


@pytest.mark.parametrize(
    "text",
    [
        "chr1\t1\t2\nchr2\t3\t4\n",
        "chr1\t1\t2\nchr2\t3\t4",
        "chr1 1 2\nchr2   3 4 \n",
        "chr1 1 2\nchr2\t3\t4\n",
        "chr1\t1\t2\r\nchr2\t3\t4\r\n",
        "chr1 1 2\r\n\r\nchr2 3 4",
        "#chrom\tstart\tend\nchr1\t1\t2\n# more\nchr2\t3\t4\n#",
        "browser\nchr1\t1\t2\ntrack\nchr2\t3\t4\n",
        "browser position chr1\ntrack name=x\nchr1\t1\t2\n\n \t \ntrack\nchr2\t3\t4\n",
        "\n\nchr1\t1\t2\ntrack\tname=y\n\nchr2\t3\t4\nbrowser\n",
        "\ufeff# one\nchr1\t1\t2\nchr2\t3\t4\n",
        "\ufeffchr1 1 2\nchr2\t3\t4\n",
        "\ufeffchr1\t1\t2\nchr2\t 3\t0004\n",
        "chr1\x0b1\x0b2\nchr2 3 4\n",
    ],
)
def test_what_is_the_same_for_a_genome_browser_is_the_same_here(tmp_path, text):
    """Tabs or white space, LF or CR LF, comments, and lines for a browser, anywhere."""
    assert list(read(tmp_path, text)) == [Interval("chr1", 1, 2), Interval("chr2", 3, 4)]


@pytest.mark.parametrize(
    "name", ["a b", "a#b", '"quoted', '"q"', "", "NA", "#", "null", "track x", "é"]
)
def test_names_in_files_with_tabs_stay_whole(tmp_path, name):
    track = read(tmp_path, f"chr1\t1\t2\t{name}\t5\nchr1\t5\t6\tother\t.\n")
    assert track["chr1"].names.tolist() == [name, "other"]
    assert track["chr1"].scores[0] == 5 and np.isnan(track["chr1"].scores[1])


@pytest.mark.parametrize("chrom", ["tracker", "browser_1", "0x", "chr#1", "chr 1", " track"])
def test_chromosomes_may_look_like_other_lines(tmp_path, chrom):
    assert read(tmp_path, f"{chrom}\t1\t2\n").chroms == (chrom,)


def test_nothing_between_tabs_is_a_missing_value(tmp_path, monkeypatch):
    """As "." is; many lines at once, and line by line."""
    text = "c\t1\t2\t\t\t\nc\t1\t2\tn\t5\t\nc\t1\t2\tn\t\t-\n"
    expected = [
        Interval("c", 1, 2),
        Interval("c", 1, 2, "n", 5.0),
        Interval("c", 1, 2, "n", strand="-"),
    ]
    assert list(read(tmp_path, text)) == expected
    assert list(read(tmp_path, text + "c\t3\t4\t0x\t.\t."))[:3] == expected
    monkeypatch.setattr(bed_reading, "parse_lines", None)
    assert len(read(tmp_path, text)) == 3


def test_zero_has_no_sign(tmp_path):
    """A score of "-0" has the identity of "0"."""
    one, other = (read(tmp_path, f"c\t1\t2\tn\t{zero}\n") for zero in ("0", "-0"))
    assert one == other and value_checksum(one) == value_checksum(other)


def test_lines_do_not_end_in_cr_alone(tmp_path):
    """Neither in a file that has other line ends, nor in one that has none."""
    old = "chr1\t1\t2\rchr2\t3\t4\r"
    for text, line in ((old, 1), ("chr1\t1\t2\n" + old, 2), (f"chr1\t1\t2\n{old[:-1]}\n", 2)):
        with pytest.raises(ValueError, match=rf"line {line}: expected lines that end in LF or CR"):
            read(tmp_path, text)


def test_an_empty_file_is_an_empty_track(tmp_path):
    for text in ("", "\n", "# nothing\n", "track name=x"):
        assert len(read(tmp_path, text)) == 0


@pytest.mark.parametrize("piece_bytes", [1, 7, 50, 10_000])
def test_pieces_do_not_show(tmp_path, piece_bytes, monkeypatch):
    """Wherever a file is cut, and though one piece has names and strands and another none."""
    text = "# one\n" + BED12 + "# two\r\n" + BED12.replace("chr1", "chr2").replace("gene one", "b")
    whole = read(tmp_path, text)
    monkeypatch.setattr(bed_reading, "_PIECE_BYTES", piece_bytes)
    assert read(tmp_path, text) == whole and len(whole) == 4
    with pytest.raises(ValueError, match=r"file.bed, line 6: .*not 'x'"):
        read(tmp_path, text.replace("chr2\t200", "chr2\tx"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("chr1\t1", "expected 3 to 12 columns, not 2"),
        ("\t".join(map(str, range(13))), "expected 3 to 12 columns, not 13"),
        ("chr1\t5\t9\tname\t1\t+\t1", "expected 6 columns as in the lines before, not 7"),
        ("chr1\t5\t4\tname\t1\t+", "expected an end at or after the start 5, not 4"),
        ("chr1\t-5\t4\tname\t1\t+", "expected start from 0 to 9223372036854775807, not -5"),
        ("chr1\t5\t9223372036854775808\tname\t1\t+", "expected end from 0 to"),
        ("chr1\tx\t4\tname\t1\t+", "expected an integer as start, not 'x'"),
        ("chr1\t.\t4\tname\t1\t+", "expected an integer as start, not '.'"),
        ("chr1\t1\t4.5\tname\t1\t+", "expected an integer as end, not '4.5'"),
        ("chr1\t0x1\t4\tname\t1\t+", "expected an integer as start, not '0x1'"),
        ("chr1\t1\t4\tname\thigh\t+", "expected a number or '.' as score, not 'high'"),
        ("chr1\t1\t4\tname\t1_0\t+", "as score, not '1_0'"),
        ("chr1\t1\t4\tname\t \t+", "as score, not ' '"),
        ("chr1\t\t4\tname\t1\t+", "expected an integer as start, not ''"),
        ("chr1\t1\t4\tname\t1\t ", "as strand, not ' '"),
        ("chr1\t1\t4\tname\t1\t*", "expected '+', '-' or '.' as strand, not '*'"),
        ("\t1\t4\tname\t1\t+", "expected the name of a chromosome"),
        ("chr1\t1\t4\tna\rme\t1\t+", "no other CR"),
    ],
)
def test_a_wrong_line_is_an_error_that_names_it(tmp_path, line, expected):
    """File, number and text of the line, and what was expected."""
    good = "chr1\t1\t2\tgood\t1\t+\n"
    with pytest.raises(ValueError, match=rf"file.bed, line 4: .*{re.escape(expected)}") as error:
        read(tmp_path, f"# a comment\n{good}\n{line}\n{good}")
    assert repr(line)[1:-1] in str(error.value)


def test_a_line_that_is_no_utf8_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: expected UTF-8 .*\\\\xff"):
        read(tmp_path, b"chr1\t1\t2\tok\nchr1\t1\t2\t\xff\n")


@pytest.mark.parametrize("suffix", [".bed", ".gz", ".bed.gz"])
def test_compression_is_told_by_content(tmp_path, suffix):
    """Several members, whatever the name; a damaged file is an error that names it."""
    content = gzip.compress(b"chr1\t1\t2\nchr1") + gzip.compress(b"") + gzip.compress(b"\t3\t4\n")
    assert len(read(tmp_path, content, "zipped" + suffix)) == 2
    for damaged in (content[:-9], content[:30], content[:12] + b"x" + content[13:]):
        with pytest.raises(ValueError, match=r"zipped.*damaged gzip"):
            read(tmp_path, damaged, "zipped" + suffix)


numbers = st.sampled_from(["0", "7", " 8", "12", "-3", "+4", "x", "", ".", "0x9", "1e3", "٣"])
fields = st.sampled_from(["chr1", "a b", "#", ".", "", '"', "track", "1.5", "nan", "+", "-1", "é"])
lines = st.one_of(
    st.tuples(st.sampled_from(["c", "d"]), numbers, numbers, *[fields] * 3).map("\t".join),
    st.tuples(st.just("c"), st.just("1"), numbers).map(" ".join),
    st.tuples(st.just("c"), st.just("1"), st.just("9")).map("\t".join),
    st.sampled_from(["", " ", "# x", "track x", "browser", "tracks\t1\t2", "\t\t", "c\t1\t2\r"]),
)


@given(st.lists(lines, max_size=4).map("\n".join))
@settings(max_examples=800, deadline=None)
def test_many_lines_at_once_are_read_as_one_by_one(tmp_path_factory, text):
    """What pyarrow takes is exactly what the rules for single lines give, and nothing else."""
    path = tmp_path_factory.getbasetemp() / "any.bed"
    content = text.encode()
    path.write_bytes(content)
    try:
        slow = parse_lines(content, 1, first_width(content))
    except ValueError as error:
        with pytest.raises(ValueError) as found:
            read_bed(path)
        assert str(found.value) == f"{path}, {error}"
        return
    assert read_bed(path, "t") == IntervalTrack("t", slow)


spaced = st.lists(
    st.sampled_from(["c", "d", "1", "2", "30", "x", " ", "  ", "\n", "\v", "\f", "# ", "\r\n"]),
    max_size=12,
).map("".join)


@given(st.lists(st.one_of(spaced, st.sampled_from(["c 1 2 x", "c 3 4 ", "c 3 4 y "])), max_size=9))
@example(["chr1 1 2 x", "chr1 3 4 "])
@example(["c 1 2 x", "c 3 4 x\vy"])
@example(["c 1 2 x", "c 3 4 x", "c 3 4 "])
@settings(max_examples=400, deadline=None)
def test_lines_with_spaces_are_read_in_pieces_as_in_one(tmp_path_factory, lines):
    """And as one by one: the same track, or the same error."""
    path = tmp_path_factory.getbasetemp() / "spaced.bed"
    content = "\n".join(lines).encode()
    path.write_bytes(content)
    told = []
    for piece_bytes in (64, 8, 1 << 25):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bed_reading, "_PIECE_BYTES", piece_bytes)
            told.append(_read_or_told(lambda: read_bed(path, "t")))
    exactly = _read_or_told(lambda: parse_lines(content, 1, first_width(content)))
    if isinstance(exactly, str):
        assert told == [f"{path}, {exactly}"] * 3
    else:
        assert told == [IntervalTrack("t", exactly)] * 3


def _read_or_told(read_all):
    try:
        return read_all()
    except ValueError as error:
        return str(error)


def test_reading_the_common_case_does_not_go_line_by_line(tmp_path, monkeypatch):
    """Nor do comments, CR LF, spaces and a last line without an end."""
    monkeypatch.setattr(bed_reading, "parse_lines", None)
    for text in (BED12, "# c\ntrack x\nchr1 1 2\r\nchr1 3 4", "chr1\t1\t2\ta#b\n"):
        assert len(read(tmp_path, text)) > 0


def test_a_missing_library_is_named_with_its_extra(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = sys.modules['pyarrow.csv'] = None\n"
        "from seamless_dask_cache.stores import IntervalTrack, read_bed, write_bed\n"
        "for act in (lambda: read_bed('x.bed'),\n"
        "            lambda: write_bed(IntervalTrack('t', [('c', 1, 2)]), 'x.bed')):\n"
        "    try: act()\n"
        "    except ImportError as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout.count("pyarrow: pip install 'seamless-dask-cache[genomics]'") == 2
    assert not list(tmp_path.iterdir())


# Writing ------------------------------------------------------------------------------------------

positions = st.one_of(st.integers(0, 50), st.integers(0, 2**63 - 1))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), max_size=6)
chroms = texts.filter(
    lambda text: (
        text and text[0] not in "#\ufeff" and text.split()[:1] not in (["track"], ["browser"])
    )
)
columns = {
    "name": texts,
    "score": st.one_of(st.floats(), st.integers(0, 1000)),
    "strand": st.sampled_from("+-."),
    **dict.fromkeys(EXTRAS, texts),
}


@st.composite
def tracks(draw):
    """Tracks with any number of columns, and with gaps in them."""
    number = draw(st.integers(0, 6))
    kinds = [kind for kind in ("name", "score", "strand") if draw(st.booleans())]
    kinds += EXTRAS[: draw(st.sampled_from([0, 0, 0, 1, 2, 6]))]
    table = {}
    for chrom in draw(st.lists(chroms, max_size=2, unique=True)):
        pairs = draw(
            st.lists(st.tuples(positions, positions).map(sorted), min_size=number, max_size=number)
        )
        table[chrom] = {
            "start": [start for start, _ in pairs],
            "end": [end for _, end in pairs],
            **{
                kind: draw(st.lists(columns[kind], min_size=number, max_size=number))
                for kind in kinds
            },
        }
    return IntervalTrack("t", table)


@given(tracks(), st.sampled_from(["", ".gz"]), st.sampled_from([1, 3, 1 << 18]))
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_as_an_equal_track(tmp_path_factory, track, suffix, at_once):
    """Whatever columns there are, and whatever is in them."""
    path = tmp_path_factory.getbasetemp() / f"round.bed{suffix}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bed_writing, "_LINES_AT_ONCE", at_once)
        write_bed(track, path)
    back = read_bed(path, "t")
    # Columns of text that no interval is left to have are not in the file.
    assert back == track if len(track) else len(back) == 0


def test_a_file_of_twelve_columns_is_written_as_it_was(tmp_path):
    track = read(tmp_path, BED12)
    write_bed(track, tmp_path / "again.bed")
    assert (tmp_path / "again.bed").read_text() == BED12


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (("c", 1, 2), "c\t1\t2\n"),
        (("c", 1, 2, "n"), "c\t1\t2\tn\n"),
        (("c", 1, 2, "", 1000), "c\t1\t2\t.\t1000\n"),
        (("c", 1, 2, "", None, "-"), "c\t1\t2\t.\t.\t-\n"),
    ],
)
def test_there_are_as_many_columns_as_are_needed(tmp_path, row, text):
    write_bed(IntervalTrack("t", [row]), tmp_path / "a.bed")
    assert (tmp_path / "a.bed").read_text() == text


def test_equal_tracks_give_equal_compressed_files(tmp_path, monkeypatch):
    """No time and no name stand in them."""
    track = read(tmp_path, BED12)
    write_bed(track, tmp_path / "a.bed.gz")
    monkeypatch.setattr("time.time", lambda: 5e8)
    write_bed(IntervalTrack("other", track), tmp_path / "b.gz")
    content = (tmp_path / "a.bed.gz").read_bytes()
    assert content == (tmp_path / "b.gz").read_bytes() and content[4:8] == bytes(4)
    assert gzip.decompress(content).decode() == BED12


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"#c": ([1], [2])}, "'#c'"),
        ({"track": ([1], [2])}, "'track'"),
        ({"browser x": ([1], [2])}, "browser x"),
        ({"a\tb": ([1], [2])}, r"a\\tb"),
        ({" ": {"start": [1], "end": [2], "name": ["a\nb"]}}, r"a\\nb"),
        ({"c": {"start": [1], "end": [2], "thickStart": ["\r"]}}, r"\\r"),
        ({"c": {"start": [1], "end": [2], "thickEnd": ["1"]}}, "not for thickEnd"),
        ({"c": {"start": [1], "end": [2], "gene": ["x"]}}, "not for gene"),
        ({"c": {"start": [1, 2], "end": [2, 3], "name": ["a", "\ud800"]}}, r"pair in '\\ud800'"),
        ({"c": {"start": [1], "end": [2], "thickStart": ["\udfff"]}}, r"pair in '\\udfff'"),
        ({"\ud800": ([1], [2])}, r"pair in '\\ud800"),
    ],
)
def test_what_would_not_come_back_is_refused_and_the_old_file_stays(tmp_path, table, message):
    """Nothing is lost silently, and no part of a file is left behind."""
    path = tmp_path / "a.bed"
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        write_bed(IntervalTrack("t", table), path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_is_no_track_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"of an IntervalTrack, not of \[\('c', 1, 2\)\]"):
        write_bed([("c", 1, 2)], tmp_path / "a.bed")
    assert not list(tmp_path.iterdir())
