"""The methods and the probes, and which sections of params.yaml each method reads."""

OF_METHOD: dict[str, tuple[str, ...]] = {
    "random": (),
    "bm25": (),
    "embedding": (),
    "likelihood": (),
    "base": (),
    "icl": (),
    "cot": (),
    "react": (),
    "ft": ("adapter", "train"),
    "channel": ("adapter", "train"),
    "masking": ("adapter", "train", "masking"),
    "mta": ("adapter", "train", "mta"),
}
"""Every method, in the order of tables, and the sections that its training reads; evaluation reads the first of them."""
EVALUATED_WITH = {"icl": ("icl",), "cot": ("reasoning",), "react": ("reasoning",)}
"""The sections that the evaluation of some methods reads beside those of every method."""
MODEL_FREE = ("random", "bm25")
"""The methods that select without the backbone."""
SELECTING = (*MODEL_FREE, "embedding", "likelihood", "channel")
"""The methods that name no candidate themselves: nothing is generated, and no name is scored."""
MAIN_JOB = ("random", "bm25", "base", "ft", "mta")
"""The methods of `eval_cd`; `eval_methods` has all of them."""
PROBED = ("base", "ft", "mta")
"""The methods that the probes ask."""
PROBES = ("abstention", "rotation", "injection", "adaptation")
"""The probes; the last is evaluated by a rule of its own."""
MODULE = {name: name for name in ("random", "bm25", "embedding", "likelihood", "icl", "cot", "react")} | {"channel": "likelihood"}
"""The module of evaluation/methods that answers for a method; `direct` for all others."""
