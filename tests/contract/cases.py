"""All rows of the contract battery, one file of rows a topic."""

from tests.contract.rows_continuous import ROWS as CONTINUOUS
from tests.contract.rows_evaluation import ROWS as EVALUATION
from tests.contract.rows_guidance import ROWS as GUIDANCE
from tests.contract.rows_likelihood import ROWS as LIKELIHOOD
from tests.contract.rows_losses import ROWS as LOSSES
from tests.contract.rows_models import ROWS as MODELS
from tests.contract.rows_optim import ROWS as OPTIM
from tests.contract.rows_process import ROWS as PROCESS
from tests.contract.rows_sampling import ROWS as SAMPLING
from tests.contract.rows_schedules import ROWS as SCHEDULES
from tests.contract.rows_steps import ROWS as STEPS

CASES = (
    *SCHEDULES,
    *PROCESS,
    *LOSSES,
    *LIKELIHOOD,
    *STEPS,
    *SAMPLING,
    *CONTINUOUS,
    *GUIDANCE,
    *EVALUATION,
    *OPTIM,
    *MODELS,
)
