"""The main job: baseline, findings, remedies on trial, a better recipe, the final model."""

from fitwell.improve.flow import improve
from fitwell.improve.state import Improvement, read_improvement

__all__ = ["Improvement", "improve", "read_improvement"]
