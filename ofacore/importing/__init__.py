"""``ofa import``: a checkpoint of another project becomes a run of ours."""

from ofacore.importing.run import ImportReport, import_run
from ofacore.importing.writing import ARTIFACT, DICTIONARY, FORM, KEPT

__all__ = ["ARTIFACT", "DICTIONARY", "FORM", "KEPT", "ImportReport", "import_run"]
