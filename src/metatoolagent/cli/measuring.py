"""Commands that turn predictions into metrics."""

from typing import Annotated

import typer

from metatoolagent import params
from metatoolagent.cli.options import (
    Catalog,
    Log,
    Out,
    Parameters,
    Predictions,
    VariantPredictions,
    by_method,
    by_variant,
    one_by_method,
    require_key,
    require_known,
)


def metrics(
    split: str,
    prediction: Predictions,
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn predictions into metrics with intervals and paired tests; SPLIT begins their keys."""
    del log
    require_key("split", split)
    from metatoolagent.evaluation import metrics as stage

    given = params.given(parameters)
    stage.measure(split, by_method(prediction), given.section(params.Metrics).bootstrap, given.seed, out)


def metrics_external(
    prediction: VariantPredictions,
    catalog: Catalog,
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn predictions on a benchmark into metrics with intervals and paired tests."""
    del log
    from metatoolagent.evaluation import external

    given = params.given(parameters)
    external.measure(by_variant(prediction), catalog, given.section(params.Metrics).bootstrap, given.seed, out)


def metrics_probe(
    probe: str,
    prediction: Annotated[list[str], typer.Option(help="METHOD=FILE, once for each method.")],
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Turn predictions of PROBE into metrics: abstention, rotation, injection or adaptation."""
    del log
    require_known("probe", probe, list(params.PROBES))
    from metatoolagent.evaluation.probes import measuring

    given = params.given(parameters)
    measuring.measure(probe, one_by_method(prediction), given.section(params.Metrics).bootstrap, given.seed, out)


def breakdowns(
    split: str,
    prediction: Predictions,
    catalog: Catalog,
    out: Out,
    parameters: Parameters = None,
    log: Log = None,
) -> None:
    """Measure the accuracy by domain, kind of question, position and style of name."""
    del log
    require_key("split", split)
    from metatoolagent.evaluation import breakdowns as stage

    given = params.given(parameters)
    stage.measure(split, by_method(prediction), catalog, given.section(params.Metrics).bootstrap, given.seed, out)
