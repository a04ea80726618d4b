"""params.yaml as frozen, checked models: one section a stage, unknown and missing keys refused.

A stage receives only the keys that its rule names, as one JSON text (`--params`), so a stage cannot depend on a
parameter that neither engine knows of. Every name is used as `params.NAME`, wherever in here it stands.
"""

from metatoolagent.params.authored import *
from metatoolagent.params.methods import *
from metatoolagent.params.reading import *
from metatoolagent.params.sections import *
from metatoolagent.params.sweeps import *
