"""Fixtures that every test may use."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# A run in the background may have been told to ignore Ctrl-C, and what it starts would too; some tests send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")  # while it is open an event loop runs, in which other modules could not start theirs
def browser() -> Iterator:
    """A headless Chromium from the system; tests that need it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=CHROMIUM.split())
        yield opened
        opened.close()


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """A script that a test runs in this process sets handlers for the rest of the process, which is that of the tests here."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of its own, 64 MB: `small_disk(free)` fills it up to so many free bytes and gives its folder. Only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")

    def fill(free: int = 1 << 30) -> Path:
        ballast = folder / ".ballast"
        ballast.unlink(missing_ok=True)
        disk = os.statvfs(folder)
        ballast.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - free)))
        return folder

    try:
        yield fill
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """`read_only(folder)` makes a folder read-only, for root too; skipped where that needs a mount and this is not root."""
    made: list[Path] = []

    def protect(folder: Path) -> None:
        for options in (["--bind", folder], ["-o", "remount,ro,bind"]):
            if subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode:
                pytest.skip("a folder can be made read-only for everyone by root only")
        made.append(folder)

    try:
        yield protect
    finally:
        for folder in made:
            subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real annotation files; tests that need it are skipped where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real annotation files (../shared/data) are not here")
    return folder


class ToyRecipe:
    """A recipe that asks nobody: a few samples of every format for each object, one rejected and one that points nowhere."""

    name = "toy"
    prompts = ()
    settings = {"size": "small"}

    async def run(self, scene, llms):
        from comvint_hf.types import Sample

        blank = Sample(scene=scene, evidence=tuple(thing.tag for thing in scene.objects))
        samples = []
        for thing in scene.objects:
            where = [(f"Where is the {thing.name}?", f"The <st>{thing.name}<ed>[{thing.tag}] is here.")]
            samples.append(blank.write(where, task="referring_qa"))
            samples.append(
                blank.write([("Is it there?", "Yes."), ("How many are there?", "One.")], format="bool", topic="counting")
            )
        samples.append(blank.write([("Which one?\nA. a\nB. b", "B. b")], task="cross_modal", format="choice", judge="toy-judge"))
        samples.append(blank.write([("Why?", "Because.")]).reject("too short: one word"))
        samples.append(blank.write([("Where?", "At <st>nowhere<ed>[o99].")]))
        return samples


@pytest.fixture(scope="session")
def toy_recipe():
    """A recipe of the same shape as the real ones that needs no language model."""
    return ToyRecipe()


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory, toy_recipe):
    """Build a small dataset of rendered scenes with the toy recipe: `toy_dataset(scenes=12)` gives its folder.

    Equal arguments give the same folder, so do not change it, or ask for a copy with `fresh=True`.
    """
    import shutil

    from comvint_hf import build, load_scenes
    from comvint_hf.generation.llm import LLMs, ScriptedLLM

    made = {}

    def make(scenes: int = 12, fresh: bool = False, **options) -> Path:
        key = (scenes, *sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("toys") / f"toy-{scenes}"
            options = {"shard_scenes": 10, "split": 0.3, "progress": False, **options}
            build(load_scenes(f"shapes:{scenes}"), toy_recipe, LLMs.one(ScriptedLLM([])), made[key], **options)
        if not fresh:
            return made[key]
        return Path(shutil.copytree(made[key], tmp_path_factory.mktemp("copy") / made[key].name))

    return make
