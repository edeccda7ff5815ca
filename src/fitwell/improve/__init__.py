"""The main job: baseline, findings, remedies on trial, a better recipe, the final model."""

from fitwell.improve.flow import improve
from fitwell.improve.state import Improvement

__all__ = ["Improvement", "improve"]
