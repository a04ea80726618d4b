"""The page: one HTML file with all its data and code in it, which opens without a network.

Text of the data goes into the page in two ways, and both are safe for any text: Jinja escapes it in HTML, and writes JSON
with `<`, `>` and `&` as escapes, so that no text can end a script; the page's own code only ever sets text content.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.table import Table

from metatoolagent.artifacts import publishing, verify
from metatoolagent.catalog.croissant import are_ours
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.look import VEGA_LITE
from metatoolagent.params import OF_METHOD
from metatoolagent.reporting import browser, findings, probes, programme, provenance, tables
from metatoolagent.reporting.numbers import Metrics, difference, p_value, resolved

FILE = "index.html"
SECTIONS = {
    "candidates": ["candidates"],
    "parts": ["domain", "kind", "position", "style"],
    "siblings": ["siblings", "confusions"],
    "training": ["training_loss", "training_right"],
}
"""The figures of each section of the page."""


@dataclass(frozen=True)
class Sources:
    """What the page is made from."""

    figures: Path
    captions: Path
    metrics: Sequence[Path]
    predictions: browser.Files
    catalogs: Mapping[str, Path]
    probes: Sequence[Path] = ()
    """The metrics of the probes that were measured."""
    programme: Mapping[str, Path] = field(default_factory=dict)
    """The folder of each chain or sweep target that has run."""
    targets: Sequence[str] = ()
    """The targets beyond `eval_cd` whose results it shows."""
    missing: Sequence[str] = ()
    """The targets whose results the page lacks."""

    def results(self) -> list[Path]:
        """Return the artifacts that it shows."""
        files = [path for methods in self.predictions.values() for paths in methods.values() for path in paths]
        outcomes = [folder / file for folder in self.programme.values() for file in programme.FILES]
        return [*self.metrics, *files, *self.probes, *outcomes]

    def inputs(self) -> list[Path]:
        """Return the artifacts that it is made from."""
        return [*self.results(), *sorted(self.figures.glob("*.json"))]


def publish(sources: Sources, params: Mapping[str, Any], out: Path) -> None:
    """Publish `index.html`.

    Args:
        sources: what it is made from.
        params: params.yaml, to be shown.
        out: the folder.

    Raises:
        UserError: as `render`.
    """
    with publishing(out, (FILE,), producer="page", inputs=sources.inputs()) as paths:
        paths[FILE].write_text(render(sources, params), encoding="utf-8")


def render(sources: Sources, params: Mapping[str, Any]) -> str:
    """Return the page.

    Raises:
        UserError: E-CORRUPT or E-MISSING; E-METRICS or E-SPLITS if the metrics are not those of a page; as `browser.content`.
    """
    metrics, artifacts = tables.read(sources.metrics, tables.ACCURACY), provenance.artifacts(sources.results())
    require_compared(metrics)
    names = ["accuracy", *(name for names in SECTIONS.values() for name in names)]
    environment = Environment(
        loader=PackageLoader("metatoolagent.reporting", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {}  # Jinja's own would sort the splits, of which the first is shown first
    return environment.get_template("page.html").render(
        headline=findings.headline(metrics),
        tools=findings.TOOLS[params["eval_tasks"]["part"]],
        found=findings.sentences(metrics, params["eval_tasks"]["part"]),
        rows=rows(metrics),
        comparisons=comparisons(metrics),
        figures={name: figure(sources.figures / f"{name}.json", sources.captions) for name in names},
        sections=SECTIONS,
        splits=findings.splits(metrics),
        pools=findings.pools(metrics),
        kinds=any(key.endswith((".free.real.n", ".free.simulated.n")) for key in metrics),
        outcomes=plain([tables.outcomes(metrics)]),
        probes=plain(probes.tables(tables.read(sources.probes))),
        programme=[programme.read(name, folder) for name, folder in sources.programme.items()],
        targets=sources.targets,
        missing=sources.missing,
        tasks=browser.content(sources.predictions, sources.catalogs),
        params=json.dumps(params, indent=1),
        artifacts=artifacts,
        environments=provenance.environments(artifacts),
        versions=provenance.versions(),
        machine=provenance.machine(),
        commit=provenance.commit(),
        ours=are_ours([Path(params["ingest"][key]) for key in ("tools", "questions")]),
        vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE).replace("</script", "<\\/script"),
    )


def require_compared(metrics: Metrics) -> None:
    """Refuse metrics in which the page would find nothing: it tells of split cd, and compares mta with ft and both with others.

    Raises:
        UserError: E-SPLITS (exit code 66) with what is lacking.
    """
    lacking = [] if "cd" in findings.splits(metrics) else ["split cd"]
    for split in findings.splits(metrics):
        there = set(findings.methods(metrics, split))
        needed = {"ft", "mta"} | ({"base"} if split == "cd" else set())
        lacking += [f"{split} {name}" for name in OF_METHOD if name in needed - there]
    if lacking:
        what, fix = (
            "the metrics lack what the page tells of",
            "name those of the rules metrics: snakemake --cores all report does",
        )
        raise UserError("E-SPLITS", what, "option --metrics", shown(", ".join(lacking)), fix, exit_code=Exit.ARTIFACT)


def figure(path: Path, captions: Path) -> dict[str, Any]:
    """Return a figure with its caption and the columns of its table.

    Raises:
        UserError: E-CORRUPT or E-MISSING.
    """
    content: dict[str, Any] = json.loads(verify(path).read_text(encoding="utf-8"))
    return content | {"caption": (captions / f"{path.stem}.rst").read_text(encoding="utf-8").strip()}


def rows(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the rows of the table of methods: one for each split, part of `tables.PARTS` and method."""
    found = []
    for split in findings.splits(metrics):
        for part, told in tables.PARTS.items():
            for method in findings.methods(metrics, split):
                key = f"{split}.{method}"
                if f"{key}.free.{part}.n" in metrics:
                    found.append(
                        {
                            "split": split,
                            "pool": told,
                            "method": method,
                            **{reading: _share(metrics, f"{key}.{reading}.{part}") for reading in ("free", "scored")},
                            "invalid": _invalid(metrics, key, part),
                            "n": int(metrics[f"{key}.free.{part}.n"]),
                        }
                    )
    return found


def comparisons(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the rows of the table of comparisons, those of mta with ft first."""
    keys = [key.removesuffix(".difference") for key in metrics if key.endswith(".difference")]
    order = list(OF_METHOD)

    def place(key: str) -> tuple[Any, ...]:
        split, pair, reading, pool = key.split(".")
        better, _, worse = pair.partition("_vs_")
        return (
            pair != "mta_vs_ft",
            findings.splits(metrics).index(split),
            -order.index(better),
            -order.index(worse),
            pool,
            reading,
        )

    return [_comparison(metrics, key) for key in sorted(keys, key=place)]


def _comparison(metrics: Metrics, key: str) -> dict[str, Any]:
    split, pair, reading, pool = key.split(".")
    smallest = metrics.get(f"{key}.mdd")
    return {
        "split": split,
        "pair": pair.replace("_vs_", " − "),
        "reading": reading,
        "pool": pool,
        "difference": difference(metrics, key),
        "p": p_value(metrics.get(f"{key}.p_holm")),
        "p_tools": p_value(metrics.get(f"{key}.p_tools_holm")),
        "resolved": resolved(metrics, key),
        "mdd": "–" if smallest is None else f"{100 * smallest:.1f}",
        "main": pair == "mta_vs_ft",
    }


def plain(drawn: Sequence[Table]) -> list[dict[str, Any]]:
    """Return those tables of the terminal that have rows as the page shows them."""
    return [
        {
            "title": table.title,
            "about": table.caption or "",
            "columns": [{"name": column.header, "number": column.justify == "right"} for column in table.columns],
            "rows": list(zip(*(column.cells for column in table.columns), strict=True)),
        }
        for table in drawn
        if table.row_count
    ]


def _invalid(metrics: Metrics, key: str, pool: str) -> dict[str, str]:
    if f"{key}.invalid.{pool}.rate" in metrics:
        return _share(metrics, f"{key}.invalid.{pool}", "rate")
    return {"mean": tables.invalid(metrics, key, pool), "interval": ""}


def _share(metrics: Metrics, key: str, mean: str = "accuracy") -> dict[str, str]:
    middle, low, high = (f"{100 * metrics[f'{key}.{name}']:.1f}" for name in (mean, "low", "high"))
    return {"mean": middle, "interval": f"{low}–{high}"}
