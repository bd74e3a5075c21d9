"""All rows of the contract battery, one file of rows a topic."""

from tests.contract.rows_schedules import ROWS as SCHEDULES

CASES = (*SCHEDULES,)
