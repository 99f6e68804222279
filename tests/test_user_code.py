"""Code of users is found, run once for each text, and identified together with the modules beside it."""

from __future__ import annotations

import pathlib
import sys
import typing

import pytest

from jaxopt_bench import user_code
from jaxopt_bench.errors import UserError


def load(path: pathlib.Path, name: str = "answer") -> user_code.Loaded:
    return user_code.load_object("optimizer", f"{path}:{name}")


def write(folder: pathlib.Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_modules_beside_a_file_can_be_imported(tmp_path):
    write(
        tmp_path,
        mine="from beside import ONE\nimport package.inner\ndef answer():\n    import late\n    return ONE, late.TWO\n",
        beside="ONE = 1\n",
        late="TWO = 2\n",
        package__inner="from . import deeper\n",
        package__deeper="",
    )
    (tmp_path / "package" / "__init__.py").touch()
    before = list(sys.path)
    assert load(tmp_path / "mine.py").value() == (1, 2)
    assert sys.path == before


@pytest.mark.parametrize("changed", ["mine", "beside", "late", "package__inner", "package__deeper"])
def test_the_digest_of_a_file_covers_each_text_that_it_imports(changed, tmp_path):
    texts = {
        "mine": "from beside import ONE\nimport package.inner\n\ndef answer():\n    import late\n",
        "beside": "ONE = 1\n",
        "late": "",
        "package__inner": "from . import deeper\n",
        "package__deeper": "",
        "unrelated": "",
    }
    write(tmp_path, **texts)
    first = load(tmp_path / "mine.py")
    write(tmp_path, unrelated="# changed")
    assert load(tmp_path / "mine.py").code == first.code
    write(tmp_path, **{changed: texts[changed] + "# changed"})
    assert load(tmp_path / "mine.py").code != first.code
    write(tmp_path, **texts)
    assert load(tmp_path / "mine.py").code == first.code


def test_a_changed_module_beside_a_file_is_run_again(tmp_path):
    """Python's bytecode cache would not notice the change: it has the same length, and is made in the same second."""
    write(tmp_path, mine="import beside\n\ndef answer():\n    return beside.ONE\n", beside="ONE = 1\n")
    first = load(tmp_path / "mine.py").value
    write(tmp_path, beside="ONE = 2\n")
    assert load(tmp_path / "mine.py").value() == 2
    assert first() == 1


def test_two_folders_may_have_modules_of_the_same_name(tmp_path):
    for number in (1, 2):
        folder = tmp_path / str(number)
        write(folder, mine="import beside\n\ndef answer():\n    return beside.ONE\n", beside=f"ONE = {number}\n")
    found = [load(tmp_path / str(number) / "mine.py").value for number in (1, 2)]
    assert [function() for function in found] == [1, 2]


def test_a_module_of_this_process_is_not_replaced_by_one_beside_a_file(tmp_path):
    import optax

    write(tmp_path, mine="import optax\n\ndef answer():\n    return optax.ONE\n", optax="ONE = 1\n")
    assert load(tmp_path / "mine.py").value() == 1
    assert sys.modules["optax"] is optax


def test_a_file_alone_is_identified_by_its_text(tmp_path):
    import hashlib

    write(tmp_path, mine="def answer():\n    return 42\n")
    loaded = load(tmp_path / "mine.py")
    assert loaded.code == hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()[:12]
    assert (loaded.reference, loaded.file) == ("mine.py:answer", str(tmp_path / "mine.py"))


@pytest.mark.parametrize("text", ["import absent_module", "raise SystemExit", "def broken(:", "1 / 0"])
def test_a_file_that_cannot_be_run_is_refused_and_can_be_repaired(text, tmp_path):
    write(tmp_path, mine=text)
    with pytest.raises(UserError, match=r"mine\.py:answer' cannot be imported: \w+"):
        load(tmp_path / "mine.py")
    write(tmp_path, mine="def answer():\n    return 42\n")
    assert load(tmp_path / "mine.py").value() == 42


def test_files_of_one_name_keep_their_own_modules(tmp_path):
    """Type hints are looked up by the name of the module, long after the file was run."""
    for number in (1, 2):
        write(tmp_path / str(number), mine=f"class Own:\n    number = {number}\n\ndef answer() -> 'Own': ...\n")
    functions = [load(tmp_path / str(number) / "mine.py").value for number in (1, 2)]
    assert [typing.get_type_hints(function)["return"].number for function in functions] == [1, 2]


def test_a_loaded_function_is_described_like_its_reference(tmp_path):
    write(tmp_path, mine="def answer():\n    return 1\n")
    found = load(tmp_path / "mine.py")
    assert user_code.describe(found.value) == found


@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        (
            "def answer(): ...",
            "mine.py",
            r"names a file, but no function or class in it\. Expected mine.py:NAME\. Possible names: answer",
        ),
        ("import os\ndef answer(): ...", "mine.py:anser", "did you mean answer"),
        ("x = 1\nraise ValueError('no')", "mine.py:answer", r"cannot be imported: mine.py, line 2: ValueError: no"),
        ("x = ", "mine.py:answer", r"cannot be imported: SyntaxError: .*mine.py, line 1"),
        ("raise SystemExit(3)", "mine.py:answer", r"cannot be imported: mine.py, line 1: SystemExit: 3"),
        ("", "absent.py:answer", r"absent.py is not a file"),
    ],
)
def test_code_that_cannot_be_loaded_is_refused_with_the_place_of_the_mistake(
    text, reference, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, mine=text)
    with pytest.raises(UserError, match=message):
        user_code.load_object("model", reference)
