"""Flags derived from a config: precedence, strictness, one line, exit statuses."""

import dataclasses

import pytest

from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.errors import Finished, Stopped
from experiments._harness.settings import same_run
from tests.harness import toy


def run(*argv, main=None):
    """The exit status, and the configs that main saw."""
    seen = []

    def note(config):
        seen.append(config)
        if main is not None:
            main(config)

    return launch(note, toy.Config, toy.PRESETS, "A toy.", argv=argv), seen


def test_defaults_and_the_name_of_the_folder():
    status, [config] = run()
    assert status == 0
    assert config == toy.Config(workdir="runs/toy")


def test_an_explicit_flag_beats_the_preset_and_the_preset_the_default():
    _, [config] = run("--preset=smoke")
    assert (config.num_steps, config.fancy, config.decay) == (3, True, 0.5)
    _, [config] = run("--preset=smoke", "--num_steps=10", "--nofancy")
    assert (config.num_steps, config.fancy, config.preset) == (10, False, "smoke")
    _, [config] = run("--num_steps=7", "--preset=smoke")
    assert config.num_steps == 7


def test_values_of_every_type():
    argv = ["--seed", "5", "--shift=-2", "--fancy", "--mode=sample", "--data_dir=a b"]
    _, [config] = run(*argv)
    assert (config.seed, config.shift, config.fancy) == (5, -2.0, True)
    assert (config.mode, config.data_dir) == ("sample", "a b")
    assert isinstance(config.shift, float)


BAD = {
    "seed": ["-1", "1.5", "x", "", "nan", "4294967296", "1e3", " ", "9" * 5000],
    "num_steps": ["0", "-3", "inf", "ten", "", "2147483648", "3.0"],
    "learning_rate": ["0", "-1", "nan", "inf", "-inf", "", "fast", "1e999"],
    "decay": ["-0.1", "1.1", "nan", "inf", "", "half"],
    "shift": ["nan", "inf", "-inf", "", "x", "1,5"],
    "fancy": ["maybe", "2", "", "yes!", "None"],
    "mode": ["", "Train", "trainn", "train ", "0"],
    "resume": ["", "always", "AUTO", "1", "auto,never"],
    "preset": ["", "smok", "SMOKE", "0", "default,smoke"],
    "workdir": ["", "  ", "a\nb", "a\0b", "\udc80", "x" * 5000],
    "data_dir": ["", "\t", "a\rb", "\x7f", "x" * 5000],
    "compile_cache": ["", " ", "a\nb", "\0", "x" * 5000],
    "host_devices": ["-1", "1025", "two", "", "1.0"],
}


@pytest.mark.parametrize("flag", BAD)
def test_bad_values_end_in_one_line_that_names_the_flag(
    flag, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert len(BAD[flag]) >= 5
    for value in BAD[flag]:
        status, seen = run(f"--{flag}={value}")
        captured = capsys.readouterr()
        assert (status, seen) == (2, []), value
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("toy: flag --" + flag)
        assert "wanted" in captured.err or len(value) > 1000
    assert list(tmp_path.iterdir()) == []


def test_every_flag_of_the_base_is_among_the_bad_values():
    assert {f.name for f in dataclasses.fields(BaseConfig)} <= BAD.keys()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--learning_rat=1"], "--learning_rat"),
        (["--no"], "--no"),
        (["--verbosity=1"], "--verbosity"),
        (["--flagfile=x"], "--flagfile"),
        (["--undefok=foo", "--foo=1"], "--undefok"),
        (["stray"], "'stray'"),
        (["--seed=1", "--", "--seed=2"], "'--seed=2'"),
        (["--seed=1", "smoke"], "'smoke'"),
        (["--seed"], "--seed"),
        (["--nofancy=3"], "--nofancy=3"),
        ([""], "''"),
    ],
)
def test_unknown_flags_and_stray_arguments(argv, named, capsys):
    status, seen = run(*argv)
    error = capsys.readouterr().err
    assert (status, seen) == (2, [])
    assert error.count("\n") == 1
    assert named in error


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_names_every_flag_with_its_default(flag, capsys):
    status, seen = run(flag)
    captured = capsys.readouterr()
    assert (status, seen, captured.err) == (0, [], "")
    assert captured.out.startswith("A toy.\n")
    for field in dataclasses.fields(toy.Config):
        assert f"--{field.name}=" in captured.out
    for part in ("runs/toy", "--learning_rate=0.1", "a finite number above 0", "smoke"):
        assert part in captured.out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("no such thing"), 1, "toy: no such thing\n"),
        (UserError("two\nlines"), 1, "toy: two\\nlines\n"),
        (KeyboardInterrupt(), 130, "toy: stopped by Ctrl-C"),
        (Stopped(15, "stopped at step 3"), 143, "toy: stopped at step 3\n"),
        (Stopped(2, "stopped at step 3"), 130, "toy: stopped at step 3\n"),
    ],
)
def test_known_ends_are_one_line_and_a_status(error, status, said, capsys):
    def main(config):
        raise error

    assert run(main=main)[0] == status
    message = capsys.readouterr().err
    assert message.startswith(said)
    assert message.count("\n") == 1


def test_a_finished_run_says_so_on_stdout(capsys):
    def main(config):
        raise Finished("all done")

    assert run(main=main)[0] == 0
    assert capsys.readouterr() == ("toy: all done\n", "")


def test_a_bug_keeps_its_traceback():
    def main(config):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main=main)


def test_without_argv_the_command_line_is_read_and_the_process_ends(monkeypatch):
    monkeypatch.setattr("sys.argv", ["toy", "--seed=x"])
    with pytest.raises(SystemExit, match="2"):
        launch(lambda config: None, toy.Config, {}, "A toy.")


def test_a_config_is_checked_however_it_is_made():
    with pytest.raises(UserError, match=r"--decay=2\.0: wanted a finite number"):
        toy.Config(decay=2.0)
    with pytest.raises(UserError, match="--num_steps=True: wanted an integer"):
        toy.Config(num_steps=True)
    with pytest.raises(UserError, match="--mode=x: wanted one of train, sample"):
        dataclasses.replace(toy.Config(), mode="x")
    assert isinstance(toy.Config(learning_rate=1).learning_rate, float)


@pytest.mark.parametrize("values", [{"nothing": 1}, {"num_steps": 0}, {"fancy": 1}])
def test_a_wrong_preset_is_a_bug(values):
    with pytest.raises(ValueError, match="preset 'p' is wrong"):
        launch(lambda config: None, toy.Config, {"p": values}, "A toy.", argv=[])


def test_a_field_without_a_setting_is_a_bug():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        plain: int = 3

    with pytest.raises(TypeError, match=r"Config\.plain"):
        launch(lambda config: None, Config, {}, "A toy.", argv=[])


def test_the_fields_that_make_another_run_are_named():
    saved = dataclasses.asdict(toy.Config())
    other = toy.Config(workdir="w", resume="never", log_every=9, decay=0.25, seed=4)
    assert same_run(saved, toy.Config(workdir="elsewhere", data_dir="d")) == []
    assert same_run(saved, other) == [
        "seed (saved 0, now 4)",
        "decay (saved 0.5, now 0.25)",
    ]
    del saved["decay"]
    assert same_run({**saved, "old": 1}, toy.Config()) == [
        "decay (saved none, now 0.5)",
        "old (no longer a setting)",
    ]


def test_one_process_reads_many_experiments():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(BaseConfig):
        num_steps: float = setting(1.0, "another type under the same name")

    seen = []
    assert launch(seen.append, Other, {}, "B.", argv=["--num_steps=2.5"]) == 0
    assert run("--num_steps=2")[1][0].num_steps == 2
    assert seen[0].num_steps == 2.5
