"""The table of articles in both directions: rows to names and names to rows."""

import ast
import inspect
import re
import subprocess
import sys
import types
import typing
from typing import Any

import jax
import pytest

from kexue_jax.articles import ARTICLES, TOOLS, Article, cite, table
from tests.house.public import ROOT, public_names

PUBLIC = {n: v for n, v in public_names() if not isinstance(v, types.ModuleType)}
BUILT = [row for row in ARTICLES if row.status == "built"]
NAMED = [(row, name) for row in BUILT for name in row.names]

# The method cards that the table was drawn from; they are not part of the repository.
CARD_STEMS = """
adax adversarial_validation bert_encoder bert_of_theseus child_tuning ddpm gelu
global_pointer gradient_clipping gradient_normalization_gan
gradient_penalty_inequality hierarchical_position information_extraction
initialization johnson_lindenstrauss leaderboard_means linear_attention
mcmc_text_search mitchell mlm_mae_dropout path_kernel performer perturbed_masking
power_comparison recompute repetition_analysis rnn_gradients rope_rerope
sgd_convergence simcse spaces_summarization ssm_hippo taylor_softmax trie_decoding
unilm_simbert vae_density weissi whitening zlpr
"""
CARDS = CARD_STEMS.split()
WITHOUT_ARTICLE = {"bert_encoder"}  # a substrate; the articles it names have rows


def article_line(target: Any) -> str:
    """What a docstring says from ``Article:`` to the next section or empty line."""
    text = inspect.getdoc(target) or ""
    found = re.search(r"\bArticle:(.+?)(?=\n\s*\n|\n\s*[A-Z][a-z]+:|\Z)", text, re.S)
    return found.group(1) if found else ""


def cited(target: Any) -> set[int]:
    """The ids of the articles that a docstring cites on its Article line."""
    line = article_line(target).split("Paper:")[0]
    if "kexue.fm, id not known" in line:
        return {0}
    return {int(number) for number in re.findall(r"(?<![\d.])\d{4,5}(?![\d.]\d)", line)}


def experiments() -> dict[str, set[int]]:
    """The experiments, and the ids that each cites in its module's docstring."""
    folder, found = ROOT / "experiments", {}
    for path in (*folder.glob("[!_]*.py"), *folder.glob("[!_]*/__main__.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        ids = re.findall(r"kexue\.fm/archives/(\d+(?:(?:,\s| and )\d+)*)", doc)
        name = path.relative_to(folder).parts[0].removesuffix(".py")
        numbers = set(map(int, re.findall(r"\d+", " ".join(ids))))
        early = {0} if "(kexue.fm, an early post)" in doc else set()
        found[f"experiments.{name}"] = numbers | early
    return found


def result_types(names: tuple[str, ...]) -> list[Any]:
    """The classes that the functions among ``names`` give back."""
    functions = [PUBLIC[name] for name in names if inspect.isfunction(PUBLIC[name])]
    results = [typing.get_type_hints(f).get("return") for f in functions]
    return [c for hint in results for c in (hint, *typing.get_args(hint))]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_ids_are_unique_and_sorted() -> None:
    ids = [row.id for row in ARTICLES]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("row", ARTICLES, ids=lambda row: str(row.id))
def test_row_is_well_formed(row: Article) -> None:
    assert row.title and row.title.isascii() and row.title == row.title.strip()
    assert row.title_zh == row.title_zh.strip()
    assert row.date == "" or re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", row.date)
    assert row.card in CARDS
    for values in (row.names, row.tests, row.experiments):
        assert isinstance(values, tuple) and len(set(values)) == len(values)


def test_later_ids_are_later_articles() -> None:
    dates = [row.date for row in ARTICLES if row.date]
    assert dates == sorted(dates)


def test_every_card_is_covered() -> None:
    assert len(CARDS) == 39
    assert {row.card for row in ARTICLES} | WITHOUT_ARTICLE == set(CARDS)


def test_articles_that_cards_name_in_passing_have_a_row() -> None:
    ids = {row.id for row in ARTICLES}
    assert {4439, 5383, 5409, 6418, 7500, 8159, 8610, 8978, 9529, 10145, 11530} <= ids


def test_planned_rows_claim_nothing() -> None:
    for row in ARTICLES:
        if row.status == "planned":
            assert row.names == row.tests == row.experiments == ()


@pytest.mark.parametrize(("row", "name"), NAMED, ids=lambda v: getattr(v, "id", v))
def test_name_is_public_and_cites_its_row(row: Article, name: str) -> None:
    target = PUBLIC[name]
    # A result type may leave the citing to the function that gives it.
    assert row.id in cited(target) or (
        inspect.isclass(target) and target in result_types(row.names)
    )


@pytest.mark.parametrize("row", BUILT, ids=lambda row: str(row.id))
def test_tests_of_built_rows_exist(row: Article) -> None:
    assert row.tests
    for path in row.tests:
        assert path.startswith("tests/") and (ROOT / path).is_file(), path


def test_experiments_and_rows_name_each_other() -> None:
    cited_by = experiments()
    assert {name for row in ARTICLES for name in row.experiments} <= set(cited_by)
    for name, ids in cited_by.items():
        assert ids == {row.id for row in ARTICLES if name in row.experiments}, name


def test_every_public_name_is_in_a_row_or_a_tool() -> None:
    named, tools = {name for _, name in NAMED}, {tool.name for tool in TOOLS}
    assert named | tools == set(PUBLIC)
    assert not named & tools


def test_every_article_that_a_docstring_cites_lists_the_name() -> None:
    rows = {row.id: row for row in ARTICLES}
    for name, target in PUBLIC.items():
        for number in cited(target):
            assert number in rows, f"{name} cites {number}, which has no row"
            assert name in rows[number].names, f"{number} does not list {name}"


def test_tools_have_no_article_and_say_where_they_are_from() -> None:
    for name, source in TOOLS:
        assert source and not cited(PUBLIC[name]), name


@pytest.mark.parametrize("name", PUBLIC)
def test_cite_gives_every_article_and_paper(name: str) -> None:
    text, target = cite(name), PUBLIC[name]
    assert text == cite(f"kexue_jax.{name}")
    if inspect.isfunction(target) or inspect.isclass(target):
        assert text == cite(target)
    for row in ARTICLES:
        assert (row.reference in text.splitlines()) == (name in row.names)
    for paper in re.findall(r"\d{4}\.\d{4,5}", article_line(target)):
        assert paper in text


def test_cite_takes_a_jitted_function() -> None:
    from kexue_jax.diffusion import kexue_schedule

    assert cite(jax.jit(kexue_schedule)) == cite("diffusion.kexue_schedule")


def test_reference_names_author_title_place_and_date() -> None:
    row = next(row for row in ARTICLES if row.id == 9119)
    assert row.reference == (
        "Su Jianlin, DDPM = tearing down + building up (生成扩散模型漫谈（一）：DDPM "
        "= 拆楼 + 建楼), kexue.fm/archives/9119, 2022-06-13"
    )
    bare = Article(0, "A title", "", "", "gelu")
    assert bare.reference == "Su Jianlin, A title, kexue.fm, id not known"


@pytest.mark.parametrize(
    "wrong", ["", "q_sample", "diffusion.no_such", "diffusion.", len, jax.jit, Article]
)
def test_cite_refuses_what_is_not_ours(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^cite: `f` must be a public .*got") as error:
        cite(wrong)
    assert repr(wrong) in str(error.value)


@pytest.mark.parametrize("wrong", [None, 9119, ["diffusion.q_sample"]])
def test_cite_refuses_what_is_no_function(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"^cite: `f` .*got a {type(wrong).__name__}"):
        cite(wrong)


def test_command_prints_the_table() -> None:
    done = run("-m", "kexue_jax.articles")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == table() + "\n"
    assert len(lines) == len(ARTICLES) + 2
    planned = len(ARTICLES) - len(BUILT)
    assert lines[-1] == (
        f"{len(ARTICLES)} articles, {len(BUILT)} built, {planned} planned"
    )
    pairs = zip(ARTICLES, lines[1:-1], strict=True)
    assert len({line.index(f"  {row.card} ") for row, line in pairs}) == 1


@pytest.mark.parametrize("argument", ["--verbose", "ddpm", "", "--", "-x=1"])
def test_command_refuses_arguments_in_one_line(argument: str) -> None:
    done = run("-m", "kexue_jax.articles", argument)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and repr(argument) in done.stderr


def test_command_helps_in_one_line() -> None:
    done = run("-m", "kexue_jax.articles", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_import_costs_neither_jax_nor_flax() -> None:
    code = (
        "import sys, kexue_jax.articles as a; a.table();"
        "print(sorted({'jax', 'flax', 'numpy', 'optax'} & sys.modules.keys()))"
    )
    assert run("-c", code).stdout == "[]\n"
