"""The fixtures of the model side."""

from model_fixtures import *  # noqa: F403
