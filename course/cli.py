"""The command ``course``.

Exit status: 0 when all is well, 1 when a check or a notebook failed, 2 when
something foreseen is missing or wrong on this machine.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import requests
import typer
from docker.errors import DockerException
from rich.console import Console

import rootless
from course import ROOT, cleanup, consent, doctor, engine, images
from course.errors import CourseError
from offline import room

FIRST_LESSON = "01_docker"
"""What `start` gets base images for; the other lessons get theirs when they begin."""
REPORTS = ROOT / "reports"
FAILED, MISSING = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # main() says what went wrong
    help="Check, build, run and clean up the course.",
)
engine_app = typer.Typer(no_args_is_help=True, help="The container engine.")
app.add_typer(engine_app, name="engine")
out = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)

Yes = Annotated[bool, typer.Option("--yes", help="Agree to every question.")]


def main() -> None:
    """Run the command; a foreseen fault is a message and exit status 2."""
    try:
        app()
    except CourseError as error:
        errors.print(error.problem, style="red", markup=False)
        if error.fix:
            errors.print(error.fix, markup=False)
        sys.exit(MISSING)
    except (DockerException, requests.ConnectionError) as error:
        errors.print(f"The container engine failed or stopped: {error}", style="red", markup=False)
        errors.print("Look at `course engine status`, then run the same command again.")
        sys.exit(MISSING)


@app.command("doctor")
def doctor_command() -> None:
    """Show whether this machine has what the lessons need; 1 if it has not."""
    findings = doctor.examine()
    out.print(doctor.table(findings))
    if not doctor.is_ready(findings):
        raise typer.Exit(FAILED)


@engine_app.command("up")
def engine_up(yes: Yes = False) -> None:
    """Find a container engine, start one, or install one after asking."""
    found = engine.up(yes=yes)
    out.print(f"Engine {found.version}, found by {found.found_by} ({found.host}).")


@engine_app.command("down")
def engine_down() -> None:
    """Stop the engine if `course engine up` started it."""
    stopped = engine.down()
    out.print("Stopped." if stopped else "No engine was started by the course.")


@engine_app.command("status")
def engine_status() -> None:
    """Show the engine that the lessons would use; 2 if there is none."""
    found = engine.find()
    out.print(f"Engine {found.version}, found by {found.found_by} ({found.host}).")
    if found.host == rootless.HOST:
        for note in rootless.status().notes:
            out.print(note, style="yellow", markup=False)


@engine_app.command("logs")
def engine_logs() -> None:
    """Show what the engine that `course engine up` started has said."""
    out.print(engine.logs(), markup=False, highlight=False)


@app.command("images")
def images_command(
    lesson: Annotated[str | None, typer.Argument(help="Only for 01_docker, say, or lab01.")] = None,
    yes: Yes = False,
) -> None:
    """Get the lessons' base images: pull them, or build stand-ins after asking."""
    _require_known([lesson] if lesson else [])
    wanted = images.LESSON_IMAGES[lesson] if lesson else images.ALL
    found = engine.find()
    client = found.client()
    room.provide(client, wanted, tell=out.print)
    for ref in images.missing(client, wanted):
        size = images.download_mb(ref)
        out.print(f"{ref}: pulling {size:.0f} MB" if size else f"{ref}: pulling")
        reason = images.pull(client, ref)
        if reason is None:
            continue
        out.print(f"{ref} cannot be pulled: {reason}", markup=False)
        if not consent.granted(f"Build a stand-in for {ref} from Debian's packages?", yes=yes):
            raise CourseError(
                f"{ref} is missing.",
                "Run `course images --yes` to build a stand-in, or try again later.",
            )
        with out.status(f"Building a stand-in for {ref}"):
            images.build_stand_in(found, ref)
    for ref in wanted:
        state = images.state(client, ref)
        out.print(f"{ref}: {state.origin}, {state.size_mb} MB")


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Which: 01, or 01_docker.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; 1 if a file is not as it should be.")
    ] = False,
) -> None:
    """Execute the masters in source/ and write the notebooks from them."""
    # Imported here: they load the notebook stack, which the other commands can do without.
    from authoring import build as building
    from authoring import gates, guide
    from authoring.source import masters

    if check:
        found = gates.check(ROOT)
        for line in found:
            out.print(line, markup=False)
        if found:
            raise typer.Exit(FAILED)
        out.print("Every notebook is what its source says.")
        return
    chosen = [m for m in masters() if not names or any(m.name.startswith(n) for n in names)]
    if not chosen:
        raise CourseError(f"No source is called {' or '.join(names or [])}.")
    failed = False
    for master in chosen:
        out.print(master.shown)
        try:
            changed = building.build(master)
        except CourseError as error:
            errors.print(str(error), style="red", markup=False)
            failed = True
            continue
        for path in changed:
            out.print(f"  wrote {path.relative_to(ROOT)}")
    if text := guide.guide(ROOT):
        (ROOT / guide.PATH).write_text(text)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Which: 01, or 01_docker.")] = None,
) -> None:
    """Execute notebooks headlessly; copies and a summary go to reports/."""
    from course import run as running

    results = running.run(running.notebooks(names or []), REPORTS)
    running.show(results, out)
    out.print(f"HTML copies and summaries are in {REPORTS.relative_to(ROOT)}/.")
    if any(result.failure for result in results):
        raise typer.Exit(FAILED)


@app.command("check")
def check_command(name: Annotated[str, typer.Argument(help="Which lab: 01, or its name.")]) -> None:
    """Run your notebook of a lab from top to bottom and show its points; 1 if some are missing.

    It runs as it is saved, in a folder of its own. The lab's containers are removed first.
    """
    from course import lab

    verdicts, complete = lab.run(name)
    out.print(verdicts, markup=False, highlight=False)
    if not complete:
        raise typer.Exit(FAILED)


@app.command()
def progress() -> None:
    """Show the points of all labs as they were last checked."""
    from course import lab

    out.print(lab.progress(), markup=False, highlight=False)


@app.command("grade")
def grade_command(
    lab: Annotated[str, typer.Argument(help="Which: 01.")],
    submissions: Annotated[Path, typer.Argument(help="The folder with the copies.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where results and reports go.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many at once.")] = (
        os.cpu_count() or 1
    ),
    tests: Annotated[Path | None, typer.Option(help="A folder with checks of your own.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="The exercise from which on the lab was handed out.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Judge running containers too: an engine for each copy.")
    ] = False,
) -> None:
    """Grade a class: one locked-down container a copy; run again to go on."""
    from grading.grade import grade
    from grading.report import summary

    results = grade(
        lab,
        submissions,
        out_folder,
        jobs=jobs,
        tests=tests,
        checkpoint=checkpoint,
        with_live=live,
    )
    for line in summary(results):
        out.print(line, markup=False)
    out.print(f"Grades, gradebooks and feedback are in {out_folder}/.", markup=False)


@app.command("release")
def release_command(
    lab: Annotated[str, typer.Argument(help="Which: 01.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the file goes.")] = Path(),
    checkpoint: Annotated[
        str | None, typer.Option(help="Give the answers before this exercise.")
    ] = None,
) -> None:
    """Make the bundle for students: the lab and its public checks."""
    from grading.release import release

    path = release(lab, out_folder, checkpoint=checkpoint)
    out.print(f"Wrote {path}.", markup=False)


@app.command("bundle")
def bundle_command(
    out_folder: Annotated[Path, typer.Option("--out", help="Where the archive goes.")],
    lessons: Annotated[
        list[str] | None, typer.Argument(help="Only for 01_docker, say, and lab01.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option(help="Its Python, such as 3.13; may be repeated.")
    ] = None,
) -> None:
    """Make the archive for a room without a network: course, packages, base images."""
    from offline.make import make

    _require_known(lessons or [])
    here = "{}.{}".format(*sys.version_info)
    path = make(lessons or list(images.LESSON_IMAGES), out_folder, python or [here], out.print)
    out.print(f"Wrote {path}, {path.stat().st_size / 1e6:.0f} MB.", markup=False)


@app.command()
def clean() -> None:
    """Remove what the lessons made in the engine, the stand-ins and reports/.

    Your files in notebooks/workspace/ stay.
    """
    shutil.rmtree(REPORTS, ignore_errors=True)
    try:
        client = engine.find().client()
    except engine.NoEngine:
        out.print("No container engine answers, so there is nothing to remove in one.")
        return
    removed = cleanup.remove(client)
    images.remove_stand_ins(client, removed)
    for name in removed.names:
        out.print(f"removed {name}", markup=False)
    for name, reason in removed.kept.items():
        out.print(f"kept {name}: {reason}", markup=False)
    out.print("Clean.")


@app.command()
def start(yes: Yes = False) -> None:
    """Check the machine, make sure of an engine and the images, open JupyterLab."""
    try:
        engine.up(yes=yes)
        images_command(FIRST_LESSON, yes=yes)
    except CourseError as error:
        # Lesson 00 needs no engine, and its doctor tells what to do about it.
        errors.print(str(error), style="yellow", markup=False)
    out.print(doctor.table(doctor.examine()))
    # The lock decides on versions, and the first screen should be the lesson.
    settings = Path(sys.prefix, "share/jupyter/lab/settings/overrides.json")
    settings.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    settings.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}))
    command = [str(Path(sys.executable).with_name("jupyter-lab"))]
    command.append("--LabApp.default_url=/lab/tree/notebooks/00_welcome.ipynb")
    if os.geteuid() == 0:
        command.append("--allow-root")
    # So that `course` is found in the terminals that JupyterLab opens.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path}
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=env).returncode)


def _require_known(lessons: list[str]) -> None:
    """Stop at a name that no lesson or lab with base images has."""
    if unknown := [name for name in lessons if name not in images.LESSON_IMAGES]:
        raise CourseError(
            f"No base images are known for {', '.join(unknown)}.",
            f"There are some for {', '.join(images.LESSON_IMAGES)}.",
        )
