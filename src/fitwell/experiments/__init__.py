"""Evidence beyond a run: small extra trainings and measurements that write evidence rows.

Each experiment gives rows `{"experiment": name, ...}` for `Run.evidence`; the rules in
`fitwell.findings` read them. An experiment takes data or plain functions and knows nothing of the
training loop.
"""

from fitwell.experiments.copies import held_out_copies
from fitwell.experiments.domain import domain_classifier
from fitwell.experiments.markov import language_references
from fitwell.experiments.one_batch import one_batch
from fitwell.experiments.range_test import range_test
from fitwell.experiments.reference import reference_models

__all__ = [
    "domain_classifier",
    "held_out_copies",
    "language_references",
    "one_batch",
    "range_test",
    "reference_models",
]
