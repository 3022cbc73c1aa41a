"""The Lua scripts are files of the package, found wherever it is installed."""

import hashlib
import zipfile
from pathlib import Path

import child

import chuk_artifacts
from chuk_artifacts.catalog.redis import scripts

PACKAGE = Path(chuk_artifacts.__file__).parent
FOLDER = Path(scripts.__file__).parent


def test_each_file_is_loaded():
    """Each file but the prelude is a script of its own, named as the file."""
    loaded = {name.lower(): script for name, script in vars(scripts).items() if isinstance(script, scripts.Script)}
    prelude = (FOLDER / "prelude.lua").read_text("utf-8")
    assert set(loaded) == {path.stem for path in FOLDER.glob("*.lua")} - {"prelude"}
    for name, script in loaded.items():
        assert script.text.startswith(prelude)
        assert script.text.endswith((FOLDER / f"{name}.lua").read_text("utf-8"))
        assert script.sha == hashlib.sha1(script.text.encode()).hexdigest()


def test_a_zip_file_holds_them(tmp_path):
    """A package imported from a zip file finds the same scripts."""
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(PACKAGE.rglob("*")):
            if path.suffix in {".py", ".lua"}:
                target.write(path, path.relative_to(PACKAGE.parent))
    code = f"""
        import sys
        sys.path.insert(0, {str(archive)!r})
        from chuk_artifacts.catalog.redis import scripts
        print(scripts.__file__, scripts.ADD.sha)
        """
    file, sha = child.run(code).split()
    assert file.startswith(str(archive))
    assert sha == scripts.ADD.sha
