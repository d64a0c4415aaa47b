"""Claims and versions, on a disk and in a store that has no folders, locks or renaming."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_models import FILES, claim_of, contents, make_export, model_id, push

from components import files
from components.errors import UserError
from pipeline.serving import served as served_module
from pipeline.serving import versions as versions_module
from pipeline.serving.claims import CLOSED, PUSHED, Claim
from pipeline.serving.predict import find_model
from pipeline.serving.rollback import roll_back
from pipeline.serving.served import Served
from pipeline.serving.server import serving
from pipeline.serving.versions import Content, damage, local_copy, read_note, versions


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["disk", "memory"])
def directory(request, tmp_path):
    place = str(tmp_path / "serving") if request.param == "disk" else f"memory://{uuid.uuid4().hex}/serving"
    return files.resolve(place)


@pytest.fixture
def served(directory):
    return Served(directory, "my model")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


def pushed(served, exported, keep=None, **fields):
    """Pushes without deciding whether it may be; returns the version."""
    while True:
        seen = served.complete_unfinished()
        gone = tuple(each for each in served.given_up(seen) if each != exported.model_id)
        claim = served.claim(seen, claim_of(exported, **{"given_up": gone, **fields}))
        if claim and served.complete(claim, exported.saved_model()):
            break
    if keep:
        served.prune(keep)
    return claim.number


def test_a_push_is_the_next_version_whole(served, root):
    exported = make_export(root, "a", FILES)
    assert served.look().newest is None
    assert pushed(served, exported, rules="{}", tracking="sqlite:///x") == 1
    assert pushed(served, exported) == 2
    seen = served.look()
    assert (sorted(seen.versions), seen.newest, seen.unfinished) == ([1, 2], 2, ())
    assert contents(served.base / "1") == contents(served.base / "2") == FILES
    assert served.damage(seen) == ""
    note, claim = read_note(served.base / "1"), served.claims.of(1)
    assert note == claim.note
    assert (claim.content.model, claim.rules, claim.tracking) == (model_id("a"), "{}", "sqlite:///x")
    assert claim.content == Content.of_export(exported)
    assert Claim.of(claim.as_bytes()) == claim
    assert claim.exported().reference == exported.reference
    assert files.names(served.directory) == ["my model", "my model.rnnpipe"]


def test_versions_are_counted_as_tf_serving_counts_them(tmp_path, root):
    base = tmp_path / "serving" / "name"
    for name in ("3", "0017", "20", "1e3", "-40", "٥٠", ".30"):
        (base / name).mkdir(parents=True)
    for name in ("3", "0017", "1e3", "-40", "٥٠", ".30"):
        (base / name / "saved_model.pb").touch()
    served = Served(files.resolve(tmp_path / "serving"), "name")
    assert versions(served.base) == {3: served.base / "3", 17: served.base / "0017"}
    assert served.look().newest == 17
    assert pushed(served, make_export(root, "a")) == 21


def test_a_version_that_rnnpipe_did_not_push_is_no_models(served):
    files.write(served.base / "4" / "saved_model.pb", b"graph")
    seen = served.look()
    assert (seen.newest, seen.highest) == (4, 4)
    assert served.content(4, seen.versions[4]) is None
    assert (served.damage(seen), served.given_up(seen)) == ("", ())


def test_of_many_who_push_at_once_each_gets_a_number_and_knows_of_the_others(tmp_path, root):
    """Each claim names what its maker saw: nobody claims without having seen the one before.

    On a disk: memory:// itself is not made for several threads.
    """
    served = Served(files.resolve(tmp_path / "serving"), "my model")
    exports = [make_export(root, str(number)) for number in range(12)]
    barrier = threading.Barrier(len(exports))

    def push_one(exported):
        mine = Served(served.directory, served.name)
        barrier.wait(30)
        while True:
            seen = mine.complete_unfinished()
            claim = mine.claim(seen, claim_of(exported, champion={"version": seen.highest}))
            if claim and mine.complete(claim, exported.saved_model()):
                return claim.number

    with ThreadPoolExecutor(len(exports)) as threads:
        numbers = list(threads.map(push_one, exports))
    assert sorted(numbers) == list(range(1, 13))
    for number, exported in zip(numbers, exports, strict=True):
        claim = served.claims.of(number)
        assert claim.content.digest == exported.manifest.digests["model"]
        assert claim.champion == {"version": number - 1}
        assert damage(served.base / str(number), claim.content) == ""
    assert served.look().unfinished == ()


def test_who_is_slower_has_to_look_again(served, root):
    first, second = make_export(root, "a"), make_export(root, "b")
    seen = served.complete_unfinished()
    claim = served.claim(seen, claim_of(first))
    assert claim.number == 1
    assert served.claim(seen, claim_of(second)) is None
    served.complete(claim, first.saved_model())
    assert served.claim(served.complete_unfinished(), claim_of(second)).number == 2


def test_a_claim_whose_answer_was_lost_is_known_by_its_id(served, root, monkeypatch):
    exported, create = make_export(root, "a"), files.create
    for error in (FileExistsError("retried"), ConnectionError("reset")):

        def lost(path, data, error=error):
            create(path, data)
            raise error

        monkeypatch.setattr(files, "create", lost)
        claim = served.claim(served.look(), claim_of(exported))
        assert claim is not None
        assert served.claims.of(claim.number) == claim
        monkeypatch.setattr(files, "create", create)
        assert served.complete(claim, exported.saved_model())


def test_what_was_claimed_and_not_pushed_is_completed_by_the_next(served, root):
    exported = make_export(root, "a", FILES)
    claim = served.claim(served.look(), claim_of(exported))
    other = Served(served.directory, served.name)
    assert (other.look().unfinished, other.look().newest) == ((1,), None)
    seen = other.complete_unfinished()
    assert (seen.newest, seen.unfinished) == (1, ())
    assert contents(served.base / "1") == FILES
    # Who claimed it may come back.
    assert served.complete(claim, exported.saved_model())
    assert contents(served.base / "1") == FILES


@pytest.mark.parametrize("victim", ["variables/variables.index", "saved_model.pb", "rnnpipe.json"])
def test_a_push_that_ends_between_two_files_is_never_seen_and_then_completed(
    served, root, monkeypatch, victim
):
    exported = make_export(root, "a", FILES)
    claim = served.claim(served.look(), claim_of(exported))
    with monkeypatch.context() as patched:
        for name in ("upload", "write"):
            patched.setattr(files, name, fail_at(victim, getattr(files, name)))
        with pytest.raises(KeyboardInterrupt):
            served.complete(claim, exported.saved_model())
    assert versions(served.base) == {}
    assert served.look().unfinished == (1,)
    assert served.complete_unfinished().newest == 1
    assert contents(served.base / "1") == FILES


def fail_at(victim, function):
    def failing(*arguments):
        if any(str(argument).endswith(victim) for argument in arguments):
            raise KeyboardInterrupt
        return function(*arguments)

    return failing


def test_a_push_that_was_not_noted_as_done_is_done(served, root, monkeypatch):
    exported = make_export(root, "a")
    claim = served.claim(served.look(), claim_of(exported))
    with monkeypatch.context() as patched:
        patched.setattr(files, "create", fail_at("1.done.json", files.create))
        with pytest.raises(KeyboardInterrupt):
            served.complete(claim, exported.saved_model())
    assert (served.look().newest, served.look().unfinished) == (1, (1,))
    files.delete([exported.reference.manifest])  # it is not needed any more
    seen = served.complete_unfinished()
    assert (seen.newest, seen.unfinished, served.claims.of(1)) == (1, (), claim)


@pytest.mark.parametrize("how", ["gone", "changed", "no claim"])
def test_what_cannot_be_completed_is_closed_and_never_counts(served, root, how):
    exported = make_export(root, "a")
    other = make_export(root, "b")
    pushed(served, other)
    claim = served.claim(served.look(), claim_of(exported, given_up=(model_id("z"),)))
    path = exported.saved_model() / "saved_model.pb"
    if how == "gone":
        files.delete([exported.reference.manifest])
    elif how == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    else:
        files.write(served.directory / "my model.rnnpipe" / "2.json", b"{}")
    late = Served(served.directory, served.name)
    seen = late.complete_unfinished()
    assert (seen.newest, seen.highest, seen.unfinished) == (1, 2, ())
    assert late.claims.of(2) is None
    assert late.given_up(seen) == ()
    assert pushed(late, other) == 3
    # Who claimed it hears of it, whether before or after the files are there.
    assert not served.complete(claim, path.parent)
    assert sorted(versions(served.base)) == [1, 3]


def test_files_that_come_after_a_claim_was_closed_are_removed(served, root, monkeypatch):
    exported = make_export(root, "a")
    claim = served.claim(served.look(), claim_of(exported))
    publish = versions_module.publish

    def closed_meanwhile(source, place, note, wanted):
        publish(source, place, note, wanted)
        Served(served.directory, served.name).claims.end(1, CLOSED, "a test")

    with monkeypatch.context() as patched:
        patched.setattr(served_module, "publish", closed_meanwhile)
        assert not served.complete(claim, exported.saved_model())
    assert versions(served.base) == {}
    # And if who wrote them did not live to do so, by the next.
    publish(exported.saved_model(), served.base / "1", claim.note, lambda: True)
    assert 1 in versions(served.base)
    late = Served(served.directory, served.name)
    assert late.look().newest is None
    assert late.complete_unfinished().newest is None
    assert versions(served.base) == {}


def test_a_claim_that_only_its_own_machine_can_read_is_left_to_it_for_a_while(served, root, monkeypatch):
    exported = make_export(root, "a")
    wanted = claim_of(exported, host="another")
    claim = served.claim(served.look(), wanted)
    manifest = files.read(exported.reference.manifest)
    files.delete([exported.reference.manifest])
    waits = []

    def completed_elsewhere(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            files.write(exported.reference.manifest, manifest)
            served.complete(claim, exported.saved_model())

    monkeypatch.setattr(served_module.time, "sleep", completed_elsewhere)
    assert Served(served.directory, served.name).complete_unfinished().newest == 1
    assert len(waits) == 3
    # But not for ever.
    claim = served.claim(served.look(), wanted)
    files.delete([exported.reference.manifest])
    monkeypatch.setattr(served_module, "_PATIENCE", -1.0)
    assert served.complete_unfinished().newest == 1
    assert served.claims.of(2) is None
    assert len(waits) == 3


def test_a_number_that_is_taken_at_the_last_moment_is_passed_over(served, root):
    exported = make_export(root, "a")
    claim = served.claim(served.look(), claim_of(exported))
    files.write(served.base / "1" / "saved_model.pb", b"by hand")
    assert not served.complete(claim, exported.saved_model())
    assert pushed(served, exported) == 2
    assert files.read(served.base / "1" / "saved_model.pb") == b"by hand"  # it is not ours
    assert sorted(served.look().versions) == [1, 2]


def test_old_versions_are_kept_by_count_and_claims_for_ever(served, root):
    exported = make_export(root, "a")
    for _ in range(4):
        pushed(served, exported)
    files.write(served.base / "notes" / "x", b"")
    assert pushed(served, exported, keep=2) == 5
    assert sorted(versions(served.base)) == [4, 5]
    assert files.exists(served.base / "notes" / "x")
    assert files.entries(served.base / "3") == []
    seen = served.complete_unfinished()
    assert (sorted(seen.versions), seen.highest) == ([4, 5], 5)
    assert served.claims.of(1).content.model == model_id("a")
    assert pushed(served, exported, keep=2) == 6


def test_what_a_killed_removal_has_left_is_removed(served, root):
    exported = make_export(root, "a", FILES)
    for _ in range(3):
        pushed(served, exported)
    files.delete([served.base / "1" / "saved_model.pb"])
    files.write(served.base / "2" / "x", b"")
    files.write(served.base / "0" / "x", b"somebody else's")
    served.prune(2)
    assert files.entries(served.base / "1") == []
    assert len(contents(served.base / "2")) == len(FILES) + 1
    assert contents(served.base / "0") == {"x": b"somebody else's"}


def test_the_graph_goes_first_where_nothing_can_be_renamed(root, monkeypatch):
    served = Served(files.resolve(f"memory://{uuid.uuid4().hex}"), "m")
    for _ in range(3):
        pushed(served, make_export(root, "a"))
    deleted, delete = [], files.delete

    def noted(paths):
        paths = list(paths)
        deleted.extend(path.name for path in paths)
        delete(paths)

    monkeypatch.setattr(files, "delete", noted)
    served.prune(2)
    assert deleted[0] == "saved_model.pb"
    assert len(deleted) == len(FILES) + 1


def test_the_graph_comes_last(served, root, monkeypatch):
    copied, upload = [], files.upload

    def noted(source, target):
        copied.append(target.name)
        upload(source, target)

    monkeypatch.setattr(files, "upload", noted)
    pushed(served, make_export(root, "a", FILES))
    assert copied[-1] == "saved_model.pb"
    assert len(copied) == len(FILES)


def test_a_copy_that_differs_is_not_served(served, root, monkeypatch):
    exported, upload = make_export(root, "a", FILES), files.upload

    def flip(source, target):
        upload(source, target)
        if source.name == "saved_model.pb":
            files.write(target, source.read_bytes()[:-1] + b"?")

    claim = served.claim(served.look(), claim_of(exported))
    with monkeypatch.context() as patched:
        patched.setattr(files, "upload", flip)
        with pytest.raises(
            UserError, match=r"could not push .*model to .*: the copy of .*saved_model.pb differs"
        ):
            served.complete(claim, exported.saved_model())
    if files.is_local(served.base):
        assert os.listdir(files.local(served.base)) == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path, root):
    (tmp_path / "file").touch()
    served = Served(files.resolve(tmp_path / "file"), "name")
    with pytest.raises(UserError, match=r"could not push to .*file/name: .*set export.directory"):
        served.claim(served.look(), claim_of(make_export(root, "a")))


@pytest.mark.parametrize("content", [b"", b"THE GRAPH", None])
def test_a_served_version_is_known_by_its_files_and_not_by_its_note(tmp_path, root, content):
    served = Served(files.resolve(tmp_path / "serving"), "m")
    exported = make_export(root, "a")
    pushed(served, exported, rules="{}")
    digest = exported.manifest.digests["model"]
    assert served.is_settled(digest, "{}", "")
    graph = served.base / "1" / "saved_model.pb"
    name = "saved_model.pb"
    if content is None:  # another file of the tree, with its size and time
        name = next(each for each in exported.model_files() if each != name)
        graph = served.base / "1" / name
        content = files.read(graph)[::-1]
    stat = files.local(graph).stat()
    files.local(graph).write_bytes(content)
    os.utime(files.local(graph), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not served.is_settled(digest, "{}", "")
    problem = f"m/1 is damaged: {name} was changed after it was pushed"
    with pytest.raises(UserError, match=problem):
        find_model(str(served.base))
    with pytest.raises(UserError, match=problem), serving(str(served.base)):
        pass


def test_damage_is_named_and_big_files_are_read_once(served, root, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", -1)
    pushed(served, make_export(root, "a", FILES))
    assert served.damage(served.look()) == ""
    read, sha256 = [], files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: (read.append(str(path)), sha256(path))[1])
    assert served.damage(served.look()) == ""
    assert read == []
    time.sleep(0.01)
    files.write(served.base / "1" / "assets" / "words.txt", "ö\n🙂\n".encode())
    assert served.damage(served.look()) == "assets/words.txt was changed after it was pushed"
    assert len(read) == 1
    files.delete([served.base / "1" / "assets" / "words.txt"])
    assert served.damage(served.look()) == "assets/words.txt is missing"


def test_a_remote_version_is_copied_to_this_machine_once(root, monkeypatch):
    served = Served(files.resolve(f"memory://{uuid.uuid4().hex}/serving"), "m")
    pushed(served, make_export(root, "a", FILES))
    copy = local_copy(served.base / "1")
    assert contents(files.resolve(copy)) == FILES
    monkeypatch.setattr(files, "download", None)
    assert local_copy(served.base / "1") == copy
    monkeypatch.undo()
    pushed(served, make_export(root, "b", {**FILES, "saved_model.pb": b"other"}))
    files.write(served.base / "2" / "saved_model.pb", b"OTHER")
    with pytest.raises(UserError, match=r"m/2 is damaged: saved_model.pb is not what was pushed"):
        local_copy(served.base / "2")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"content": []}', b"[" * 100_000])
def test_what_is_served_goes_on_without_a_damaged_claim_or_note(served, root, content, caplog):
    pushed(served, make_export(root, "a"))
    pushed(served, make_export(root, "b"))
    late = Served(served.directory, served.name)
    claims, note = served.directory / "my model.rnnpipe", served.base / "2" / "assets.extra" / "rnnpipe.json"
    files.write(claims / "2.json", content)
    assert f"{claims / '2.json'}: " in _warned(lambda: late.claims.of(2), None, caplog)
    assert late.content(2, served.base / "2").model == model_id("b")  # a copy still says what it is
    files.write(note, content)
    assert f"{note}: " in _warned(lambda: late.content(2, served.base / "2"), None, caplog)
    files.write(claims / "1.done.json", content)
    assert f"{claims / '1.done.json'}: " in _warned(lambda: late.claims.state(1), PUSHED, caplog)
    pushed(late, make_export(root, "c"))
    assert late.look().newest == 3


def _warned(call, expected, caplog):
    caplog.clear()
    assert call() == expected
    return caplog.text


def test_a_model_that_was_rolled_back_stays_so_without_the_claim(served, root):
    for name in ("a", "b"):
        pushed(served, make_export(root, name))
    roll_back(str(served.base))
    files.write(served.directory / "my model.rnnpipe" / "3.json", b"")
    late = Served(served.directory, served.name)
    assert late.given_up(late.look()) == (model_id("b"),)


def test_marks_are_made_once_and_for_all(served, root):
    pushed(served, make_export(root, "a"), rules="{}", tracking="one")
    for _ in range(2):
        for kind, value in (("accepted", "always"), ("meant", "other"), ("registered", "one")):
            served.claims.mark(1, kind, value)
    seen = served.look()
    assert [served.claims.accepted(1, each) for each in ("{}", "always", "x")] == [True, True, False]
    assert [served.claims.meant(1, each) for each in ("one", "other", "x")] == [True, True, False]
    assert [served.claims.registered(1, each) for each in ("one", "other")] == [True, False]
    assert served.claims.registries(1) == ["one", "other"]
    assert (seen.unfinished, seen.highest) == ((), 1)


def test_a_mark_that_cannot_be_made_is_told(served, monkeypatch):
    def refuse(*arguments):
        raise OSError("read-only")

    monkeypatch.setattr(files, "create", refuse)
    with pytest.raises(UserError, match=r"could not note in .*read-only.*allow this user to write there"):
        served.claims.mark(1, "registered", "x")


def test_what_was_given_up_is_handed_on_until_it_is_pushed(served, root):
    exported = make_export(root, "a")
    pushed(served, exported, given_up=(model_id("b"), model_id("c")))
    assert served.given_up(served.look()) == (model_id("b"), model_id("c"))
    pushed(served, make_export(root, "b"))
    assert served.given_up(served.look()) == (model_id("c"),)
    files.write(served.base / "9" / "saved_model.pb", b"by hand")
    assert served.given_up(served.look()) == (model_id("c"),)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from components import files
from made_models import push
upload = files.upload
def some(source, target):
    if source.name == sys.argv[4]:
        Path(str(target)).parent.mkdir(parents=True, exist_ok=True)
        Path(str(target)).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    upload(source, target)
files.upload = some
push(Path(sys.argv[1]), sys.argv[2], "k")
"""


@pytest.mark.parametrize("victim", ["variables.index", "saved_model.pb"])
def test_what_a_killed_push_left_on_a_disk_is_never_seen_and_later_removed(tmp_path, root, victim):
    model = make_export(root, "k", FILES).saved_model()
    base = tmp_path / "serving" / "my model"
    script = [sys.executable, "-c", KILLED, model, base, str(Path(__file__).parent), victim]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(script, env=environment, check=False).returncode == -9
    (left,) = base.iterdir()
    assert left.name.startswith(".")
    assert push(model, base, "k") == 2  # the claim named no artifact, and was closed
    assert left.exists(), "it could be a push that is still going on"
    (base / f".{uuid.uuid4().hex}" / "variables").mkdir(parents=True)  # which somebody is writing
    long_ago = time.time() - 3700
    (base / ".git").mkdir()
    for path in (left, *left.rglob("*"), base / ".git"):
        os.utime(path, (long_ago, long_ago))
    assert push(model, base, "k") == 3
    assert not left.exists()
    assert len(list(base.iterdir())) == 4  # two versions, what is being written, and .git


def test_the_note_does_not_disturb_tf_serving(served, root):
    pushed(served, make_export(root, "a"))
    noted = json.loads(files.read(served.base / "1" / "assets.extra" / "rnnpipe.json"))
    assert (noted["number"], noted["model"]) == (1, list(model_id("a")))


CHANGES = ("create", "write", "upload", "delete")  # of components.files, whatever changes something


@pytest.mark.parametrize("after", [False, True])
def test_a_push_may_end_at_any_step_and_the_next_one_goes_on(directory, root, monkeypatch, after):
    """What is served is whole at any time, a claim has one outcome, and nothing is left to do by hand."""
    first, second = make_export(root, "a", FILES), make_export(root, "b", {**FILES, "saved_model.pb": b"b"})
    step = 0
    while True:
        served = Served(directory, f"model {step}")
        for _ in range(2):
            pushed(served, first, keep=2)
        steps = [step]
        with monkeypatch.context() as patched:
            for name in CHANGES:
                patched.setattr(files, name, killing(getattr(files, name), steps, after))
            try:
                pushed(served, second, keep=2, given_up=(model_id("z"),))
            except KeyboardInterrupt:
                ended = True
            else:
                ended = False
        whole(served)
        late = Served(directory, served.name)
        seen = late.complete_unfinished()
        whole(late)
        claimed = late.claims.of(3)
        assert seen.newest == (2 if claimed is None else 3)
        assert late.given_up(seen) == (() if claimed is None else (model_id("z"),))
        assert pushed(late, first, keep=2) == seen.highest + 1
        assert len(late.look().versions) == 2
        whole(late)
        step += 1
        if not ended:
            break
    assert step > len(FILES)


def killing(function, steps, after):
    def counting(*arguments):
        steps[0] -= 1
        if steps[0] == -1 and not after:
            raise KeyboardInterrupt
        result = function(*arguments)
        if steps[0] == -1:
            raise KeyboardInterrupt
        return result

    return counting


def whole(served):
    found = Served(served.directory, served.name)
    for number, place in found.look().versions.items():
        assert damage(place, found.content(number, place)) == ""
