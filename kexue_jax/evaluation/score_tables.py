"""Published scores of GLUE and SuperGLUE, every cell with its source."""

from typing import NamedTuple

import numpy as np

from kexue_jax._base import checks
from kexue_jax.evaluation.leaderboard import collapse_metrics


class ScoreTable(NamedTuple):
    """Scores of m systems on k tasks as they were published.

    systems, tasks: names. official: how many of the first tasks the benchmark's own
    average counts (the others are diagnostic). cells: the published texts. scores
    [m, k] with two metrics of a task averaged, NaN where nothing was published;
    reported [m, k]. published [m]: the benchmark's own average, NaN where not known.
    sources: the source of every cell, m rows of k.
    """

    systems: tuple[str, ...]
    tasks: tuple[str, ...]
    official: int
    cells: tuple[tuple[str, ...], ...]
    scores: np.ndarray
    reported: np.ndarray
    published: np.ndarray
    sources: tuple[tuple[str, ...], ...]


_MTDNN = "arXiv 1901.11504, table of GLUE test results"
_COPY = "public copy of the GLUE leaderboard, end of 2021"
_RECALLED = (
    "GLUE leaderboard, end of 2021, from memory; checked only by the average of the row"
)
_SPOT = "arXiv 2110.07904, leaderboard of 2022-02-09"
_RECALLED_SUPER = "SuperGLUE leaderboard, early 2022, from memory; not checked"
_SEABORN = "github.com/mwaskom/seaborn-data, glue.csv"

_GLUE = "CoLA SST-2 MRPC STS-B QQP MNLI-m MNLI-mm QNLI RTE WNLI AX"
_SUPERGLUE = "BoolQ CB COPA MultiRC ReCoRD RTE WiC WSC AX-b AX-g"

# Per system: the cells, the benchmark's own average, the sources of the cells.
_GLUE_2021 = {
    "Turing NLR v5": (
        "72.6 97.6 93.8/91.7 93.7/93.3 76.4/91.1 92.6 92.4 97.9 94.1 95.9 57.0",
        91.2,
    ),
    "ERNIE": (
        "75.5 97.8 93.9/91.8 93.0/92.6 75.2/90.9 92.3 91.7 97.3 92.6 95.9 51.7",
        91.1,
    ),
    "StructBERT+CLEVER": (
        "75.3 97.7 93.9/91.9 93.5/93.1 75.6/90.8 91.7 91.5 97.4 92.5 95.2 49.1",
        91.0,
    ),
    "DeBERTa/TuringNLRv4": (
        "71.5 97.5 94.0/92.0 92.9/92.6 76.2/90.8 91.9 91.6 99.2 93.2 94.5 53.2",
        90.8,
    ),
    "MacALBERT+DKM": (
        "74.8 97.0 94.5/92.6 92.8/92.6 74.7/90.6 91.3 91.1 97.8 92.0 94.5 52.6",
        90.7,
    ),
    "T5": (
        "71.6 97.5 92.8/90.4 93.1/92.8 75.1/90.6 92.2 91.9 96.9 92.8 94.5 53.1",
        90.3,
    ),
    "Human": (
        "66.4 97.8 86.3/80.8 92.7/92.6 59.5/80.4 92.0 92.8 91.2 93.6 95.9 –",
        87.1,
    ),
}
_GLUE_2019 = {
    "BERT-large": (
        "60.5 94.9 89.3/85.4 87.6/86.5 72.1/89.3 86.7 85.9 92.7 70.1 65.1 39.6",
        80.5,
    ),
    "MT-DNN": (
        "62.5 95.6 91.1/88.2 89.5/88.8 72.7/89.6 86.7 86.0 93.1 81.4 65.1 40.3",
        82.7,
    ),
    "Human": _GLUE_2021["Human"],
}
_SUPERGLUE_2022 = {
    "Turing NLR v5": (
        "92.0 95.9/97.6 98.2 88.4/63.0 96.4/95.9 94.1 77.1 97.3 67.8 93.3/95.5",
        None,
    ),
    "ERNIE 3.0": (
        "91.0 98.6/99.2 97.4 88.6/63.2 94.7/94.2 92.6 77.4 97.3 68.6 92.7/94.7",
        90.6,
    ),
    "T5+UDG": (
        "91.4 95.8/97.6 98.0 88.3/63.0 94.2/93.5 93.0 77.9 96.6 69.1 92.7/91.9",
        None,
    ),
    "DeBERTa/TuringNLRv4": (
        "90.4 95.7/97.6 98.4 88.2/63.7 94.5/94.1 93.2 77.5 95.9 66.7 93.3/93.8",
        90.3,
    ),
    "Human": (
        "89.0 95.8/98.9 100.0 81.8/51.9 91.7/91.3 93.6 80.0 100.0 76.6 99.3/99.7",
        89.8,
    ),
    "T5": (
        "91.2 93.9/96.8 94.8 88.1/63.3 94.1/93.4 92.5 76.9 93.8 65.6 92.7/91.9",
        89.3,
    ),
}
_GLUE_MODELS = {
    "ERNIE": ("75.5 97.8 93.9 93.0 75.2 92.3 97.3 92.6", None),
    "T5": ("71.6 97.5 92.8 93.1 75.1 92.2 96.9 92.8", None),
    "RoBERTa": ("67.8 96.7 92.3 92.2 74.3 90.8 95.4 88.2", None),
    "BERT": ("60.5 94.9 89.3 87.6 72.1 86.7 92.7 70.1", None),
    "BiLSTM+ELMo": ("32.1 89.3 84.7 70.3 61.1 67.2 75.5 57.4", None),
    "BiLSTM+CoVe": ("18.5 81.9 78.7 64.4 60.6 65.4 70.8 52.7", None),
    "BiLSTM+Attn": ("18.6 83.0 83.9 72.8 60.1 67.6 74.3 58.4", None),
    "BiLSTM": ("11.6 82.8 81.8 70.3 62.5 65.6 74.6 57.4", None),
}

_TABLES = {
    "glue_2021": (_GLUE, 10, _GLUE_2021),
    "glue_2019": (_GLUE, 10, _GLUE_2019),
    "superglue_2022": (_SUPERGLUE, 8, _SUPERGLUE_2022),
    "glue_models": ("CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE", 8, _GLUE_MODELS),
}


def score_table(*, name: str) -> ScoreTable:
    """A table of published scores, each cell with its source.

    scores[s, t] = the mean of the metrics of system s on task t. "glue_2021":
    the top of GLUE at the end of 2021 and the human baseline; "glue_2019": BERT and
    MT-DNN; "superglue_2022": the top of SuperGLUE; "glue_models": eight models from
    BiLSTM to ERNIE with one metric a task. In the GLUEs MNLI-m and -mm are two tasks,
    which GLUE's own average counts as one.

    Shapes: m systems, k tasks -> scores, reported [m, k], published [m], NumPy.
    Article: kexue.fm/archives/8783.  Paper: arXiv 1905.00537, 1901.11504, 2110.07904.
    Differs: ``sources`` says which cells were checked against a public copy and which
    only by the average of their row, or not at all.
    Cost: nothing worth naming.
    Raises: TypeError or ValueError unless ``name`` is one of the four.
    Example:
        >>> from kexue_jax.evaluation import score_table
        >>> table = score_table(name="superglue_2022")
        >>> print(table.systems[4], table.cells[4][3], table.scores[4, 3])
        Human 81.8/51.9 66.85
    """
    checks.choice("score_table", "name", name, tuple(_TABLES))
    tasks, official, rows = _TABLES[name]
    cells = tuple(tuple(texts.split()) for texts, _ in rows.values())
    scores, reported = collapse_metrics(cells)
    published = [np.nan if value is None else value for _, value in rows.values()]
    return ScoreTable(
        tuple(rows),
        tuple(tasks.split()),
        official,
        cells,
        scores,
        reported,
        np.array(published),
        tuple(
            _sources(name, system, len(row))
            for system, row in zip(rows, cells, strict=True)
        ),
    )


def _sources(name: str, system: str, count: int) -> tuple[str, ...]:
    """The source of each cell of a row."""
    if name == "glue_models":
        return (_SEABORN,) * count
    if name == "superglue_2022":
        return (_SPOT,) * 8 + (_RECALLED_SUPER,) * 2
    if name == "glue_2019" or system == "Human":
        return (_MTDNN,) * count
    return (_COPY,) * 5 + (_RECALLED,) * 6
