"""Chain of thought (Wei et al. 2022, arXiv 2201.11903): the backbone reasons in a sentence or two, then names the tool."""

from metatoolagent.evaluation.job import Answer, Job
from metatoolagent.evaluation.methods.reasoning import Style, reasoned

STYLE = Style(
    instruction="Choose the one tool that answers the request. First reason in one or two sentences about what the request"
    " needs. Then end with a line that holds the tool's name only:\nTool: NAME\n\nTools:\n",
    opening="",
    marker="Tool:",
)


def prepare(job: Job) -> Answer:
    """Load the model."""
    return reasoned(job, STYLE)
