"""ReAct (Yao et al. 2022, arXiv 2210.03629), one step of it: a thought, then the action, which is the name of a tool.

The action's line is the last: to choose a tool, neither its input nor an observation is needed.
"""

from metatoolagent.evaluation.job import Answer, Job
from metatoolagent.evaluation.methods.reasoning import Style, reasoned

STYLE = Style(
    instruction="Answer the request with one of the tools. Use this format:\nThought: what the request needs\n"
    "Action: the name of the one tool to use\n\nTools:\n",
    opening="Thought:",
    marker="Action:",
)


def prepare(job: Job) -> Answer:
    """Load the model."""
    return reasoned(job, STYLE)
