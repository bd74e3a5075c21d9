"""The folder of a run: what is resumed, what is refused, that nothing is lost."""

import json
import sys

import pytest

from experiments._harness.errors import Finished, UserError
from experiments._harness.results import judge, write_results
from experiments._harness.workdir import command, open_run, saved_config
from tests.harness import toy


def listing(folder):
    """Every file under ``folder`` with its bytes."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_run_writes_its_config(tmp_path):
    run = open_run(toy.config(tmp_path / "deep" / "run", seed=3))
    assert not run.resumed
    record = json.loads((run.folder / "config.json").read_text())
    assert record["experiment"] == "toy"
    assert record["config"]["seed"] == 3
    assert record["command"] == "python -m experiments.toy --seed=3"
    assert record["device"]["count"] >= 1


def test_the_same_config_resumes(tmp_path):
    open_run(toy.config(tmp_path, seed=3))
    before = listing(tmp_path)
    again = toy.config(tmp_path, seed=3, log_every=7, mode="sample", host_devices=1)
    assert open_run(again).resumed
    assert listing(tmp_path) == before


def test_another_config_is_refused_in_one_line_naming_the_fields(tmp_path):
    open_run(toy.config(tmp_path, seed=3))
    before = listing(tmp_path)
    with pytest.raises(UserError) as caught:
        open_run(toy.config(tmp_path, seed=4, decay=0.25))
    message = str(caught.value)
    assert "seed (saved 3, now 4), decay (saved 0.5, now 0.25)" in message
    assert "\n" not in message
    assert listing(tmp_path) == before


def test_a_run_of_another_experiment_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"experiment": "ddpm", "config": {}}')
    with pytest.raises(UserError, match="holds a run of ddpm, not of toy"):
        open_run(toy.config(tmp_path))


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"config": 3}', "\x00"])
def test_a_damaged_config_is_refused_by_name(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json"):
        open_run(toy.config(tmp_path))


def test_a_finished_run_says_so(tmp_path):
    run = open_run(toy.config(tmp_path))
    write_results(run, [judge("c", 1.0, rule="r", confirmed=lambda m: m > 0)])
    before = listing(tmp_path)
    with pytest.raises(Finished, match=r"is finished: see .*report\.md"):
        open_run(toy.config(tmp_path))
    with pytest.raises(UserError, match="seed"):
        open_run(toy.config(tmp_path, seed=1))
    assert listing(tmp_path) == before


def test_resume_never_wants_an_empty_folder_and_deletes_nothing(tmp_path):
    assert not open_run(toy.config(tmp_path / "new", resume="never")).resumed
    before = listing(tmp_path)
    with pytest.raises(UserError, match=r"not empty, and --resume=never"):
        open_run(toy.config(tmp_path / "new", resume="never"))
    assert listing(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds no run \(no config\.json\)"):
        open_run(toy.config(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_hidden_files_do_not_matter(tmp_path):
    (tmp_path / ".gitkeep").write_text("")
    assert not open_run(toy.config(tmp_path, resume="never")).resumed


@pytest.mark.parametrize("below", ["", "below", "below/deeper"])
def test_a_file_is_no_folder(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--workdir=.*file"):
        open_run(toy.config(tmp_path / "file" / below))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(UserError, match="cannot be made: Permission denied"):
        open_run(toy.config(tmp_path / "new"))


@pytest.mark.parametrize(
    ("module", "package"),
    [("matplotlib", "matplotlib"), ("orbax", "orbax-checkpoint")],
)
def test_a_missing_extra_is_named_before_any_folder_is_made(
    tmp_path, monkeypatch, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    said = rf"needs the package {package}: pip install 'kexue_jax\[experiments\]'"
    with pytest.raises(UserError, match=said):
        open_run(toy.config(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


def test_the_saved_config_serves_work_without_training(tmp_path):
    open_run(toy.config(tmp_path, seed=3, num_steps=20, mode="train"))
    config = saved_config(toy.config(tmp_path, mode="sample", log_every=5))
    assert (config.seed, config.num_steps) == (3, 20)
    assert (config.mode, config.log_every) == ("sample", 5)
    with pytest.raises(UserError, match=r"holds no run: looked for .*config\.json"):
        saved_config(toy.config(tmp_path / "none"))


def test_a_saved_config_of_another_time_is_refused(tmp_path):
    open_run(toy.config(tmp_path))
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"decay"', '"dekay"'))
    with pytest.raises(UserError, match="lacks decay"):
        saved_config(toy.config(tmp_path))
    with pytest.raises(UserError, match=r"decay \(saved none, now 0.5\)"):
        open_run(toy.config(tmp_path))


def test_parts_have_their_own_files(tmp_path):
    run = open_run(toy.config(tmp_path))
    assert run.metrics().path.name == "metrics.jsonl"
    assert run.metrics("seed_3").path.name == "metrics_seed_3.jsonl"
    assert run.checkpointer("seed_3").folder == tmp_path / "checkpoints" / "seed_3"


def test_the_command_says_what_differs_from_the_defaults(tmp_path):
    config = toy.config(tmp_path, preset="smoke", num_steps=3, data_dir="a b")
    said = "python -m experiments.toy --num_steps=3 '--data_dir=a b'"
    assert command("toy", config) == said
