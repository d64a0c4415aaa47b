import gzip

import numpy as np
import pytest

from components import files
from components.errors import UserError
from components.models.vector_files import VectorFormat, reading
from components.user_file import UserFile

TOKENS = ["the", "Paris", "naïve", ". . .", "\xa0"]
VECTORS = np.random.default_rng(0).normal(size=(len(TOKENS), 3)).astype(np.float32)
# Bytes of spaces and line breaks within the numbers.
VECTORS[1] = np.frombuffer(b"\x20\x20\x20\x3f\x0a\x0a\x0a\x3f\x20\x0a\x20\x3f", "<f4")


def text(header=False, end="\n", separator=" ") -> bytes:
    rows = [
        separator.join([token, *(f"{number:.9g}" for number in vector)])
        for token, vector in zip(TOKENS, VECTORS, strict=True)
    ]
    first = [f"{len(TOKENS)} 3"] if header else []
    return "".join(row + end for row in [*first, *rows]).encode()


def binary(newline: bytes = b"", tokens=TOKENS[:3]) -> bytes:
    pairs = zip(tokens, VECTORS, strict=False)
    rows = (token.encode() + b" " + vector.tobytes() + newline for token, vector in pairs)
    return f"{len(tokens)} 3\n".encode() + b"".join(rows)


def file_of(folder, name: str, content: bytes) -> UserFile:
    (folder / name).write_bytes(content)
    return UserFile(name, files.resolve(folder / name))


def read(file: UserFile) -> list[tuple[bytes, list[float] | None]]:
    form = VectorFormat.of(file)
    with reading(file, form) as entries:
        made = []
        for token, numbers in entries:
            vector = None if numbers is None else form.vector(numbers)
            made.append((token, None if vector is None else vector.tolist()))
        return made


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("glove.txt", text(), 5),
        ("wiki.vec", text(header=True, end=" \n"), 5),
        ("windows.txt", text(end="\r\n"), 5),
        ("tabs.txt", text(separator="\t"), 5),
        ("aligned.txt", text(separator="  "), 5),
        ("some_aligned.txt", text().replace(b" -", b"  -"), 5),
        ("aligned.vec", b"5   3\n" + text(separator="   "), 5),
        ("marked.txt", b"\xef\xbb\xbf" + text(), 5),
        ("marked.vec", b"\xef\xbb\xbf" + text(header=True), 5),
        ("no_end.txt", text().removesuffix(b"\n"), 5),
        ("word2vec.bin", binary(), 3),
        ("with_breaks.bin", binary(newline=b"\n"), 3),
    ],
)
def test_all_formats_give_the_same(tmp_path, name, content, count, packed):
    if packed:
        name, content = f"{name}.gz", gzip.compress(content)
    file = file_of(tmp_path, name, content)
    assert VectorFormat.of(file).dimension == 3
    expected = [(token.encode(), vector) for token, vector in zip(TOKENS, VECTORS.tolist(), strict=True)]
    assert read(file) == expected[:count]


def test_gensim_reads_what_is_read_here(tmp_path):
    models = pytest.importorskip("gensim.models")
    plain = b"".join(b"%s %s\n" % (token, b"1 2 3") for token in (b"the", b"Paris"))  # without its own spaces
    for name, content in (("a.vec", b"2 3\n" + plain), ("a.bin", binary(b"\n"))):
        file = file_of(tmp_path, name, content)
        theirs = models.KeyedVectors.load_word2vec_format(tmp_path / name, binary=name.endswith(".bin"))
        for token, vector in read(file):
            np.testing.assert_allclose(theirs[token.decode()], vector, rtol=1e-6)


def test_damaged_lines_are_told_apart(tmp_path):
    lines = ["good 1 2 3", "short 1 2", "long 1.5 2 3 4", "words 1 x 3", "huge 1e60 2 3", "", "last 4 5 6"]
    content = "\n".join([*lines, "cut 1"]).encode()
    made = dict(read(file_of(tmp_path, "a.txt", b"8 3\n" + content)))
    assert made == {
        b"good": [1, 2, 3],
        b"short": None,
        b"long 1.5": None,
        b"words": None,
        b"huge": None,
        b"last": [4, 5, 6],
        b"cut": None,
    }


def test_a_token_that_is_no_utf_8_is_passed_on_as_it_is(tmp_path):
    content = b"\xff\xfe 1 2\nb 3 4\n"
    assert read(file_of(tmp_path, "a.txt", content)) == [(b"\xff\xfe", [1, 2]), (b"b", [3, 4])]


def test_a_token_of_a_space_is_one(tmp_path):
    assert read(file_of(tmp_path, "a.txt", b"b  3  4\n  1 2\n")) == [(b"b", [3, 4]), (b" ", [1, 2])]


def test_a_line_without_an_end_is_one_damaged_line(tmp_path):
    content = b"a 1 2\n" + b"x" * (3 << 20) + b"\nb 3 4\n"
    assert read(file_of(tmp_path, "a.txt", content)) == [(b"a", [1, 2]), (b"", None), (b"b", [3, 4])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bin", binary()[:-5], r"a.bin has 2 of the 3 vectors that it promises"),
        ("a.bin", b"3 3\n" + b"x" * (3 << 20), r"a.bin has 0 of the 3 vectors"),
        (
            "a.vec",
            b"1000 3\n" + text(),
            r"a.vec has \d+ of the 1,000 vectors that it promises; get the file again",
        ),
        ("a.bin", text(), "does not begin with the number of vectors .* A text needs another name"),
        ("a.bin", b"\xba\x16\x4f\x2f rest", r"is a model of fastText, expected .*\.vec"),
        ("a.zip", b"PK\x03\x04 rest", "is a zip archive, expected the file in it; unpack it"),
        ("a.txt", b"", "is no file of vectors, expected lines of a token and numbers"),
        ("a.txt", b"only\nwords\n", "is no file of vectors"),
        ("a.gz", gzip.compress(text() * 50)[:-20], "cannot be unpacked: .* Get the file again"),
    ],
)
def test_what_is_no_file_of_vectors_says_why(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        read(file_of(tmp_path, name, content))


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path):
    file = file_of(tmp_path, "a.txt", text())
    planned = UserFile(file.name, file.place, files.sha256(file.place))
    assert read(planned) == read(file)
    (tmp_path / "a.txt").write_bytes(text() + b"more 1 2 3\n")
    with pytest.raises(UserError, match=r"a.txt changed since the run was planned"):
        read(planned)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UserError, match=r"a.txt: there is no such file any more"):
        read(planned)


def test_remote_files_are_streamed_and_checked_by_their_signature():
    place = files.resolve("memory://vectors/a.vec.gz")
    files.write(place, gzip.compress(text(header=True)))
    planned = UserFile("memory://vectors/a.vec.gz", place, files.signature(place))
    assert [token.decode() for token, _ in read(planned)] == TOKENS
    files.write(place, gzip.compress(text()))
    with pytest.raises(UserError, match="changed since the run was planned"):
        read(planned)


def test_only_what_is_asked_for_is_held(tmp_path):
    """Of 40 MB of text little is in memory at any time."""
    import tracemalloc

    numbers = b" ".join([b"0.12345"] * 100)
    with (tmp_path / "large.txt").open("wb") as file:
        for number in range(50_000):
            file.write(b"token%d %s\n" % (number, numbers))
    assert (tmp_path / "large.txt").stat().st_size > 40e6
    form = VectorFormat.of(large := UserFile("large.txt", files.resolve(tmp_path / "large.txt")))
    tracemalloc.start()
    with reading(large, form) as entries:
        assert sum(1 for _ in entries) == 50_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
