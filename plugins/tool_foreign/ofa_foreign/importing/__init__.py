"""``ofa import``: a checkpoint of another project becomes a run of ours."""

from ofa_foreign.importing.run import ImportReport, import_run
from ofa_foreign.importing.writing import ARTIFACT, DICTIONARY, FORM, KEPT

__all__ = ["ARTIFACT", "DICTIONARY", "FORM", "KEPT", "ImportReport", "import_run"]
