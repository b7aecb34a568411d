"""The tables that say which runs there were, what they wrote, and whom they told. Imports nothing heavy."""

from polyneuron.eval.store.table_spec import table_of
from polyneuron.neuron_core.common.columns import Columns

MODEL: Columns = {"model": ("string", "The model's name in the study.")}

RUNS = table_of(
    "runs",
    "run_id",
    "One row a run: when, with what, and how it ended. The only table with times, which are ISO 8601.",
    [
        {
            "run_id": ("string", "Name of the run: when it started, and a random part."),
            "unit": ("string", "The same."),
            "started_at": ("string", "When it started."),
            "finished_at?": ("string", "When it ended; null while it runs."),
            "status": (
                "string",
                "running, finished, partly failed, failed or interrupted; of a night: ok, regression or not judged.",
            ),
            "config_json?": ("string", "The resolved configuration as JSON, without credentials."),
            "versions_json?": ("string", "Versions of Python, Polyneuron and the libraries that compute."),
            "hardware_json?": (
                "string",
                "Processor, system, cores and memory of the machine that was asked.",
            ),
            "seeds_json?": ("string", "The study's seed."),
            "timings_json?": ("string", "Seconds by stage, those of models at work side by side in one sum."),
            "failures_json?": (
                "string",
                "The models that failed, each with stage and reason; null until all models have been worked on, and of a night.",
            ),
            "command?": ("string", "The command line, without credentials."),
        }
    ],
)

STUDIES = table_of(
    "studies",
    "run_id model table unit",
    "One row per unit of work that a run wrote or found done.",
    [
        {
            "run_id": ("string", "The run to which the unit belongs; another one may have written it."),
            "unit": ("string", "The unit of the table `table`."),
        },
        MODEL,
        {
            "table": (
                "string",
                "The table in which the unit lies, the last one that is written if it has several.",
            )
        },
    ],
)

TRACKED = table_of(
    "tracked",
    "run_id model tracker project told",
    "One row per thing that a run told a tracker, so that a later run does not tell it again.",
    [
        MODEL,
        {
            "tracker": ("string", "The tracker's name, such as wandb."),
            "project": ("string", "The tracker's project."),
            "tracked_run": (
                "string",
                "The tracker's id of the run, with which later runs on the store go on.",
            ),
            "told": ("string", "What was told."),
        },
    ],
)
