"""What the readers of a run's JSON and CSV files rely on, as pydantic models of schema 2. Further keys are allowed."""

from rsr_tf.experiment.schemas.evaluation import Evaluation
from rsr_tf.experiment.schemas.measurements import Artefacts, History, Metadata, Stages, Sweep, Transfer, ZOOTable
from rsr_tf.experiment.schemas.verdict import Verdict

MODELS = {
    "evaluation": Evaluation,
    "verdict": Verdict,
    "artefacts": Artefacts,
    "sweep": Sweep,
    "zoo": ZOOTable,
    "transfer": Transfer,
    "stages": Stages,
    "rsr": Metadata,
}
"""Model of a JSON file by the first word of its name."""

__all__ = ["MODELS", "History"]
